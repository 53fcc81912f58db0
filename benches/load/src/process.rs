//! What Linux knows of a process, and on which core it may run.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use rustix::{
    param::clock_ticks_per_second,
    process::Pid,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

/// Which cores are whose: Envoy has one for itself, and all others share the rest. With one core, they share that.
#[derive(Clone, Debug)]
pub struct Cores {
    envoy: Vec<usize>,
    others: Vec<usize>,
}

impl Cores {
    /// Divides the cores that this process may use, and keeps it and what it starts off Envoy's.
    ///
    /// # Errors
    /// When the system does not say or does not let.
    pub fn divide() -> Result<Self> {
        let mine = sched_getaffinity(None)?;
        let all: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| mine.is_set(*core)).collect();
        let (envoy, others) = match all.split_first() {
            Some((first, rest)) if !rest.is_empty() => (vec![*first], rest.to_vec()),
            _ => (all.clone(), all),
        };
        sched_setaffinity(None, &set(&others))?;
        Ok(Self { envoy, others })
    }

    /// Gives a running Envoy its core.
    ///
    /// # Errors
    /// When it has ended.
    pub fn give(&self, pid: u32) -> Result<()> {
        self.give_threads(pid, "")
    }

    /// Gives the workers of a running Envoy its core. The main thread stays with all others.
    ///
    /// # Errors
    /// When it has ended.
    pub fn give_workers(&self, pid: u32) -> Result<()> {
        self.give_threads(pid, "wrk:")
    }

    fn give_threads(&self, pid: u32, names: &str) -> Result<()> {
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let thread = thread?;
            if fs::read_to_string(thread.path().join("comm"))?.starts_with(names) {
                let id: i32 = thread.file_name().to_string_lossy().parse()?;
                sched_setaffinity(Pid::from_raw(id), &set(&self.envoy))?;
            }
        }
        Ok(())
    }

    /// In words.
    #[must_use]
    pub fn describe(&self) -> String {
        match self.envoy == self.others {
            true => "Envoy, load and servers share one core".to_owned(),
            false => format!("Envoy on core {}, load and servers on {:?}", self.envoy[0], self.others),
        }
    }
}

fn set(cores: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    set
}

/// CPU time of all threads of a process so far, in user and system mode (`proc_pid_stat(5)`, utime and stime).
///
/// # Errors
/// When it has ended.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program, in parentheses, may contain anything.
    let (_, rest) = text.rsplit_once(") ").context("/proc/…/stat without a name")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    // The fields 14 and 15 of the whole line; the first two are before the rest.
    let ticks: u64 = fields
        .get(11..13)
        .context("/proc/…/stat is too short")?
        .iter()
        .map(|field| field.parse::<u64>().unwrap_or_default())
        .sum();
    Ok(Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64))
}

/// Resident memory in MB (10⁶ bytes), as `VmRSS` has it.
///
/// # Errors
/// When the process has ended.
pub fn resident(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS: not Linux?")?;
    let kibibytes: f64 = line.split_whitespace().nth(1).context("VmRSS without a number")?.parse()?;
    Ok(kibibytes * 1024.0 / 1e6)
}

//! Where a running Envoy spends its time, by perf: Envoy keeps frame pointers, and so does the code that V8 makes of a
//! module.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

/// Samples a second: a prime number, so that nothing periodic falls in step.
const FREQUENCY: &str = "1999";

/// Samples by where they fell. The parts are disjoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Split {
    /// In the kernel, called by Envoy.
    pub kernel: u64,
    /// In Envoy, not called by a module.
    pub envoy: u64,
    /// In Envoy, called by a module: host calls, and the way there and back.
    pub host_calls: u64,
    /// In a module.
    pub module: u64,
}

/// A recording that is under way.
pub struct Recording {
    perf: Child,
}

/// What a frame of a stack belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    Kernel,
    Module,
    Envoy,
    /// `memmove` and the like, called by any other part.
    Library,
}

// === impl Recording ===

impl Recording {
    /// Why there can be none on this machine, if so.
    #[must_use]
    pub fn obstacle() -> Option<String> {
        let output = Command::new("perf").args(["record", "-q", "-g", "-o", "/dev/null", "true"]).output();
        match output {
            Err(_) => Some("perf is not installed (Debian: linux-perf)".to_owned()),
            Ok(output) if !output.status.success() => {
                Some("perf may not record here (kernel.perf_event_paranoid must be 2 or less)".to_owned())
            }
            Ok(_) => None,
        }
    }

    /// Begins to record a process into `file`.
    ///
    /// # Errors
    /// When perf does not start.
    pub fn begin(pid: u32, file: &Path) -> Result<Self> {
        let mut command = Command::new("perf");
        command.args(["record", "-q", "-g", "-F", FREQUENCY, "-p", &pid.to_string(), "-o"]).arg(file);
        let perf = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Ok(Self { perf: perf.context("cannot run perf")? })
    }

    /// Ends it, and counts.
    ///
    /// # Errors
    /// When perf has recorded nothing, or cannot read it.
    pub fn end(mut self, file: &Path) -> Result<Split> {
        kill_process(Pid::from_child(&self.perf), Signal::INT)?;
        self.perf.wait()?;
        let mut script = Command::new("perf")
            .args(["script", "-F", "ip,dso", "-i"])
            .arg(file)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = script.stdout.take().context("perf has no output")?;
        let split = Split::read(BufReader::new(output))?;
        script.wait()?;
        ensure!(split != Split::default(), "perf has recorded nothing");
        Ok(split)
    }
}

// === impl Split ===

impl Split {
    /// All samples.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.kernel + self.envoy + self.host_calls + self.module
    }

    /// From `perf script -F ip,dso`: a stack per paragraph, a frame per line, the innermost first.
    fn read(script: impl BufRead) -> Result<Self> {
        let mut split = Self::default();
        let mut stack = Vec::new();
        for line in script.lines() {
            match Code::of(&line?) {
                Some(code) => stack.push(code),
                None => split.add(&std::mem::take(&mut stack)),
            }
        }
        split.add(&stack);
        Ok(split)
    }

    fn add(&mut self, stack: &[Code]) {
        let Some(innermost) = stack.first() else { return };
        let called_by_module = stack.iter().position(|code| *code == Code::Module);
        match called_by_module {
            None if *innermost == Code::Kernel => self.kernel += 1,
            None => self.envoy += 1,
            // Nothing of Envoy between the module and where the sample fell. Memory for what a host call hands over is
            // in the module as well, but on the call's account.
            Some(at) if !stack[..at].contains(&Code::Envoy) && !is_called_back(&stack[at..]) => self.module += 1,
            Some(_) => self.host_calls += 1,
        }
    }
}

/// Whether a module is called by a host call of its own.
fn is_called_back(stack: &[Code]) -> bool {
    stack.iter().skip_while(|code| **code == Code::Module).any(|code| *code == Code::Module)
}

// === impl Code ===

impl Code {
    /// `None` for what is not a frame: an empty line.
    fn of(line: &str) -> Option<Self> {
        let (_, image) = line.trim().split_once('(')?;
        Some(match image.trim_end_matches(')') {
            "[kernel.kallsyms]" => Self::Kernel,
            // How perf calls memory that is executable and belongs to no file.
            image if image.starts_with("/tmp/perf-") || image.starts_with("//anon") || image.starts_with("[JIT]") => {
                Self::Module
            }
            image if image.ends_with("/envoy") => Self::Envoy,
            _ => Self::Library,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_counted_where_they_fell() -> Result<()> {
        let frame = |image| match image {
            'K' => "  ffffffff81e336c8 ([kernel.kallsyms])\n",
            'M' => "      296eb8dcfaa8 (/tmp/perf-2852.map)\n",
            'E' => "           32da7a3 (/opt/envoy/bin/envoy)\n",
            _ => "            fde9d (/usr/lib/x86_64-linux-gnu/libc.so.6)\n",
        };
        let read = |stacks: &str| {
            let script: String =
                stacks.split(' ').map(|stack| stack.chars().map(frame).collect::<String>() + "\n").collect();
            Split::read(script.as_bytes())
        };
        assert_eq!(read("E LE EEE")?, Split { envoy: 3, ..Split::default() });
        assert_eq!(read("KKLE KE")?, Split { kernel: 2, ..Split::default() });
        assert_eq!(read("ME MMEE LME")?, Split { module: 3, ..Split::default() });
        assert_eq!(read("EME LEME KEME EMEME MEME")?, Split { host_calls: 5, ..Split::default() });
        assert_eq!(read("")?, Split::default());
        Ok(())
    }
}

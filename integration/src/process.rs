//! A child process that does not outlive its owner.

use std::{
    io,
    process::{Child, Command, ExitStatus},
    sync::{Mutex, OnceLock, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process};

use crate::poll::until;

/// A running process. Dropping it kills and reaps it; if this process ends without dropping, the kernel kills it.
#[derive(Debug)]
pub(crate) struct Guarded {
    child: Child,
}

impl Guarded {
    /// Starts `command`.
    ///
    /// # Errors
    ///
    /// What the operating system answered.
    pub(crate) fn spawn(command: Command) -> Result<Self> {
        let (reply, answer) = mpsc::channel();
        spawner()
            .lock()
            .map_err(|_| anyhow!("the spawning thread's channel is poisoned"))?
            .send(Job { command, reply })
            .context("the spawning thread has ended")?;
        let child = answer.recv().context("the spawning thread has ended")??;
        Ok(Self { child })
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, once the process has ended.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Asks the process to end (SIGTERM) and waits for it.
    ///
    /// # Errors
    ///
    /// When it is still running after `patience`; it is then killed.
    pub(crate) async fn terminate(&mut self, patience: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let ended = until("a process to end after SIGTERM", patience, async || self.ended()).await;
        if ended.is_err() {
            self.kill()?;
        }
        ended
    }

    /// Ends the process at once (SIGKILL).
    ///
    /// # Errors
    ///
    /// What the operating system answered.
    pub(crate) fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill()?;
        Ok(self.child.wait()?)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // Both fail only for a process that has been reaped already, which is what they are for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Job {
    command: Command,
    reply: mpsc::Sender<io::Result<Child>>,
}

/// The thread that starts every process, for as long as this one lives.
///
/// Linux sends the parent-death signal when the *thread* that forked ends, and tests run on threads that come and go.
fn spawner() -> &'static Mutex<mpsc::Sender<Job>> {
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<Job>>> = OnceLock::new();
    SPAWNER.get_or_init(|| {
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::spawn(move || {
            for mut job in queue {
                die_with_parent(&mut job.command);
                // The caller may be gone; then the child is dropped, and ends with this process.
                let _ = job.reply.send(job.command.spawn());
            }
        });
        Mutex::new(jobs)
    })
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "pre_exec is the only place between fork and exec")]
fn die_with_parent(command: &mut Command) {
    use std::os::unix::process::CommandExt;

    use rustix::process::{getpid, getppid, set_parent_process_death_signal};

    let parent = getpid();
    // SAFETY: the closure makes two system calls and allocates nothing, so it may run between fork and exec.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have died before the line above; then no signal will ever come.
            if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(_: &mut Command) {}

//! kubectl and istioctl, as they are in the PATH: the credentials and the plugins of a kubeconfig are theirs.

use std::ffi::OsStr;
use std::io::{ErrorKind, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use super::failure::{Code, Failure};

/// What a program printed, and how it ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// The last line that it wrote about what went wrong.
    pub fn last_line(&self) -> &str {
        let mut lines = self.stdout.lines().chain(self.stderr.lines());
        lines.rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing")
    }
}

/// Why a call of kubectl failed, as far as its words tell.
impl Ended {
    /// This account lacks a right: `User "x" cannot list resource "pods"`. The API server also answers Forbidden for
    /// other reasons, such as a quota, or a namespace that is being terminated.
    pub fn is_not_allowed(&self) -> bool {
        const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
        VERBS.iter().any(|verb| self.stderr.contains(&format!(" cannot {verb} ")))
    }

    pub fn is_unreachable(&self) -> bool {
        const WORDS: [&str; 5] = [
            "The connection to the server ",
            "Unable to connect to the server",
            "(ServiceUnavailable)",
            "dial tcp ",
            "TLS handshake timeout",
        ];
        WORDS.iter().any(|words| self.stderr.contains(words))
    }

    pub fn timed_out(&self) -> bool {
        const WORDS: [&str; 3] =
            ["timed out waiting", "exceeded its progress deadline", "error: context deadline exceeded"];
        WORDS.iter().any(|words| self.stderr.contains(words))
    }
}

/// Where a program's complaints go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stderr {
    Kept,
    /// To the terminal as well: a login that asks something, asks there.
    Shown,
}

/// Runs a program to its end, with `input` if there is any; without, it has the terminal.
pub fn run<S: AsRef<OsStr>>(
    program: &str,
    arguments: &[S],
    input: Option<&str>,
    stderr: Stderr,
) -> Result<Ended, Failure> {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::inherit() });
    let mut child = command.spawn().map_err(|error| not_run(program, &error))?;
    let failed = |error: std::io::Error| Failure::new(Code::Prerequisite, format!("{program} cannot be read: {error}"));
    let (stdin, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    // Each in a thread of its own: a full pipe would stop the program.
    let (written, stdout, stderr) = thread::scope(|scope| {
        let writing = scope.spawn(move || match (stdin, input) {
            (Some(mut stdin), Some(input)) => stdin.write_all(input.as_bytes()),
            _ => Ok(()),
        });
        let err = scope.spawn(move || collect(err, stderr));
        let stdout = collect(out, Stderr::Kept);
        (writing.join(), stdout, err.join())
    });
    // A program that ends before it has read everything says why itself.
    drop(written);
    let status = child.wait().map_err(failed)?;
    let stderr = stderr.unwrap_or_else(|_| Ok(String::new())).map_err(failed)?;
    Ok(Ended { status, stdout: stdout.map_err(failed)?, stderr })
}

fn collect(from: Option<impl Read>, stderr: Stderr) -> std::io::Result<String> {
    let Some(mut from) = from else { return Ok(String::new()) };
    let (mut all, mut buffer) = (Vec::new(), [0; 8192]);
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let part = buffer.get(..read).unwrap_or_default();
        if stderr == Stderr::Shown {
            let _ = std::io::stderr().write_all(part);
        }
        all.extend_from_slice(part);
    }
    Ok(String::from_utf8_lossy(&all).into_owned())
}

/// A program that runs beside this one, and ends with the value.
pub struct Beside(pub Child);

impl Beside {
    pub fn start(program: &str, arguments: &[&str]) -> Result<Self, Failure> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().map(Self).map_err(|error| not_run(program, &error))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn not_run(program: &str, error: &std::io::Error) -> Failure {
    let install = match program {
        "kubectl" => "install kubectl 1.30 or newer, https://kubernetes.io/docs/tasks/tools/",
        _ => {
            "install istioctl 1.29 to 1.32, best 1.31, \
             https://istio.io/latest/docs/setup/additional-setup/download-istio-release/"
        }
    };
    let message = match error.kind() {
        ErrorKind::NotFound => format!("{program} is not in the PATH"),
        _ => format!("{program} cannot be run: {error}"),
    };
    Failure::new(Code::Prerequisite, message).advise(install)
}

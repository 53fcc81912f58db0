//! Namespaces of our own: a network, a mount table and a process table that other processes do not see.
//!
//! The cluster gives addresses to its pods and mounts what they read. In namespaces of its own that takes nothing from
//! the machine, and whatever is started ends with its first process.

use std::{env, io, os::unix::process::CommandExt, process::Command};

use anyhow::{Context, Result};
use careplane_integration::workspace;
use tokio::signal::unix::{SignalKind, signal};

const INSIDE: &str = "CAREPLANE_MESH_SANDBOX";

/// Whether this machine lets us have one; if not, why.
///
/// # Errors
///
/// What `unshare` said.
pub fn available() -> Result<(), String> {
    match unshare().arg("true").output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!("unshare (util-linux) cannot be run: {error}")),
    }
}

/// Becomes the same program, with the same arguments, in a sandbox. There it only returns.
///
/// # Errors
///
/// When that fails.
pub fn enter() -> Result<()> {
    if env::var_os(INSIDE).is_some() {
        return Ok(());
    }
    let program = env::current_exe()?;
    Err(unshare().arg(program).args(env::args_os().skip(1)).env(INSIDE, "1").exec()).context("no sandbox")
}

/// Ends this process when it is asked to. The first process of a namespace is deaf to signals that it has no handler
/// for.
pub fn end_when_asked() -> io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::spawn(async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        std::process::exit(130);
    });
    Ok(())
}

fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.current_dir(workspace::root());
    if !root() {
        command.args(["--user", "--map-root-user", "--map-auto"]);
    }
    command.args(["--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc", "--"]);
    command
}

fn root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

//! `careplane completions` and `careplane man`: made from the same description that reads the command line.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;

use crate::out;

#[derive(clap::Args)]
pub struct Completions {
    /// For which shell
    shell: Shell,
}

#[derive(clap::Args)]
pub struct Man {
    /// Write a page for each command into this folder, instead of the first one on the standard output
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Prints the completions of a shell.
pub fn completions(arguments: &Completions, mut command: Command) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "careplane", &mut script);
    out::print(&String::from_utf8(script)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints or writes manual pages (roff).
pub fn man(arguments: &Man, command: Command) -> anyhow::Result<ExitCode> {
    match &arguments.out {
        Some(folder) => fs::create_dir_all(folder)
            .and_then(|()| clap_mangen::generate_to(command, folder))
            .with_context(|| folder.display().to_string())?,
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            out::print(&String::from_utf8(page)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

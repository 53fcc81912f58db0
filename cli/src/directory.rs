//! `careplane directory`: the tenants of `tenants.directory`, written and checked.

mod check;
mod entries;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use careplane_policy::directory::{Built, Index, build};

use crate::out;

pub use check::read;

/// The file that is fetched first.
const INDEX: &str = "index.json";
/// The folder of the parts.
const PARTS: &str = "parts";

#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Writes a directory that any web server can serve
    Build(Build),
    /// Checks a directory as a proxy does, and against a policy
    Check(check::Arguments),
}

#[derive(clap::Args)]
struct Build {
    /// The tenants: YAML or JSON as `tenants.entries` of a policy, or CSV with the columns tenant, pool, jurisdiction,
    /// cohort, group
    #[arg(value_name = "ENTRIES")]
    entries: PathBuf,
    /// The folder to write to. What it has that is neither in this directory nor in the one before it is removed
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

/// Exit code 0, or 1 when something is wrong with the entries or the directory; 2, by the caller, when something
/// cannot be read.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Command::Build(arguments) => write(arguments),
        Command::Check(arguments) => check::run(arguments),
    }
}

fn write(arguments: &Build) -> anyhow::Result<ExitCode> {
    let (entries, problems) = entries::read(&arguments.entries)?;
    let built = match build(&entries.tenants()) {
        Ok(built) if problems.is_empty() => built,
        built => {
            let more = built.err().unwrap_or_default();
            let more =
                more.iter().map(|problem| format!("{}: {}", entries.place(problem.tenant.as_deref()), problem.message));
            out::print(&problems.into_iter().chain(more).map(|line| line + "\n").collect::<String>())?;
            return Ok(ExitCode::FAILURE);
        }
    };
    let kept = store(&built, &arguments.output)?;
    let bytes: usize = built.parts.iter().map(|part| part.lines.len()).sum();
    out::print(&format!(
        "{}: {} tenants in {} parts of {bytes} bytes, {kept} of them as before\n",
        arguments.output.display(),
        entries.len(),
        built.parts.len(),
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Parts first, then the index, at once: a proxy that reads meanwhile finds all that an index names. Returns how many
/// parts were there.
fn store(built: &Built, folder: &Path) -> anyhow::Result<usize> {
    let parts = folder.join(PARTS);
    fs::create_dir_all(&parts).with_context(|| format!("{} cannot be made", parts.display()))?;
    let index = folder.join(INDEX);
    // Proxies may be in the middle of fetching these.
    let before = fs::read(&index).ok().and_then(|bytes| Index::read(&bytes).ok());
    let mut named: BTreeSet<&str> =
        before.iter().flat_map(|index| &index.parts).map(|part| part.name.as_str()).collect();
    let mut kept = 0;
    for part in &built.parts {
        let file = parts.join(&part.name);
        if fs::read(&file).is_ok_and(|bytes| bytes == part.lines.as_bytes()) {
            kept += 1;
        } else {
            replace(&file, &part.lines)?;
        }
        named.insert(&part.name);
    }
    replace(&index, &built.index)?;
    for entry in fs::read_dir(&parts).with_context(|| format!("{} cannot be read", parts.display()))? {
        let entry = entry?;
        // Removes only files that are named as parts are: the folder may hold other files.
        let is_part = entry.file_name().to_str().is_some_and(|name| name.len() == 64 && !named.contains(name));
        if is_part && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(kept)
}

fn replace(file: &Path, text: &str) -> anyhow::Result<()> {
    let beside = file.with_extension("new");
    let done = fs::write(&beside, text).and_then(|()| fs::rename(&beside, file));
    done.with_context(|| format!("{} cannot be written", file.display()))
}

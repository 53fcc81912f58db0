//! `careplane directory check`: what a proxy would say to a directory, all of it at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use careplane_policy::directory::{Directory, Fault, Index, KnownPools, Part};
use careplane_policy::{Policy, Routing};

use super::{INDEX, PARTS};
use crate::explain::{Judged, Written};
use crate::out;

#[derive(clap::Args)]
pub struct Arguments {
    /// The folder that is served
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// A policy, or a manifest with one inside, that the directory is for
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The manifest to use, if the file has several with a policy
    #[arg(long, requires = "policy")]
    name: Option<String>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let policy = match &arguments.policy {
        Some(file) => Some(policy(file, arguments.name.as_deref())?),
        None => None,
    };
    let routing = policy.as_ref().map(|policy| &policy.routing);
    let pools = match routing {
        Some(routing) => match &routing.directory {
            Some(source) => source.pools.clone(),
            None => bail!("the policy has no tenants.directory: expected such as {{cluster: …}}"),
        },
        None => KnownPools::default(),
    };
    let index = index(&arguments.folder)?;
    let mut problems = Vec::new();
    let parts = match &index {
        Ok(index) => parts(&arguments.folder, index, &pools, &mut problems),
        Err(fault) => {
            problems.push(format!("{}: {fault}", arguments.folder.join(INDEX).display()));
            Vec::new()
        }
    };
    if let (Some(policy), true) = (&policy, problems.is_empty()) {
        meaning(&arguments.folder, &parts, policy, &mut problems);
    }
    let sum = match &index {
        Ok(index) => format!("{} tenants in {} parts", index.tenants, index.parts.len()),
        Err(_) => "no directory".to_owned(),
    };
    let lines: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
    out::print(&format!("{lines}{}: {sum}, {} problems\n", arguments.folder.display(), problems.len()))?;
    Ok(ExitCode::from(u8::from(!problems.is_empty())))
}

/// The directory in a folder, as a proxy with a policy that knows these pools takes it.
///
/// # Errors
/// When it cannot be read, or a proxy would not take it.
pub fn read(folder: &Path, pools: &KnownPools) -> anyhow::Result<Directory> {
    let index = index(folder)?.with_context(|| format!("{} is not taken", folder.display()))?;
    let mut problems = Vec::new();
    let parts = parts(folder, &index, pools, &mut problems);
    match problems.first() {
        None => Ok(Directory::new(parts, index.tenants)),
        Some(problem) => bail!("{problem}"),
    }
}

fn policy(file: &Path, name: Option<&str>) -> anyhow::Result<Policy> {
    let written = Written::read(file, name)?;
    Ok(Judged::new(written, &file.display().to_string())?.policy().clone())
}

fn index(folder: &Path) -> anyhow::Result<Result<Index, Fault>> {
    let file = folder.join(INDEX);
    let bytes = fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    Ok(Index::read(&bytes))
}

fn parts(folder: &Path, index: &Index, pools: &KnownPools, problems: &mut Vec<String>) -> Vec<Arc<Part>> {
    let mut parts = Vec::new();
    for (number, expected) in index.parts.iter().enumerate() {
        let file = folder.join(PARTS).join(&expected.name);
        let part = fs::read(&file)
            .map_err(|error| error.to_string())
            .and_then(|bytes| Part::read(bytes, number, index, pools).map_err(|fault| fault.message));
        match part {
            Ok(part) => parts.push(Arc::new(part)),
            Err(message) => problems.push(format!("{}: {message}", file.display())),
        }
    }
    parts
}

/// What a proxy takes and an operator did not mean.
fn meaning(folder: &Path, parts: &[Arc<Part>], policy: &Policy, problems: &mut Vec<String>) {
    let routing: &Routing = &policy.routing;
    let folds = policy.identity.fold_tenants;
    for part in parts {
        for (number, line) in part.lines().lines().enumerate() {
            let place = || format!("{}:{}", folder.join(PARTS).join(part.name()).display(), number + 1);
            let tenant = line.split('\t').next().unwrap_or_default();
            if folds && tenant.bytes().any(|byte| byte.is_ascii_uppercase()) {
                problems.push(format!(
                    "{}: {tenant:?} is never found: expected lower case, for identity.tenant.case is lower",
                    place()
                ));
            }
            if routing.cohort_header.is_none() && line.split('\t').nth(3).is_some_and(|cohort| !cohort.is_empty()) {
                problems.push(format!(
                    "{}: {tenant:?} has a cohort, and the policy knows none: expected routing.canary in the policy",
                    place()
                ));
                return;
            }
        }
    }
}

//! `careplane test`: requests, what a policy is expected to make of them, and what it does.

mod case;
mod compare;
mod coverage;
mod expect;
mod file;
mod output;
mod read;
mod table;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use crate::explain::{Judged, Written};
use crate::{input, out};
use case::Case;
use coverage::Coverage;
pub use file::SUFFIX;
use file::TestFile;
use output::Format;

#[derive(clap::Args)]
pub struct Arguments {
    /// Files with tests, or folders in which every `*_test.yaml` is one
    #[arg(value_name = "FILE|DIR", default_value = ".")]
    paths: Vec<PathBuf>,
    /// Format of the results
    #[arg(short = 'o', long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Also list what no case has touched: contexts, matches, sources, trusted peers, pinned tenants, grants, denials
    #[arg(long)]
    coverage: bool,
    /// Fail when something is not touched
    #[arg(long, requires = "coverage")]
    strict: bool,
    /// Only cases with this text in their name
    #[arg(long, value_name = "TEXT", conflicts_with = "coverage")]
    only: Option<String>,
}

/// The cases of a file, and what came of them.
struct Tested {
    file: TestFile,
    results: Vec<CaseResult>,
    coverage: Coverage,
}

struct CaseResult {
    case: Case,
    /// None of them where everything is as expected.
    mismatches: Vec<compare::Mismatch>,
}

/// Exit code 0 when every case is as expected, 1 when not (`--strict`: or something is not touched); 2, by the caller
/// or here, when a file cannot be read or a policy is refused.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (mut paths, mut folders) = (Vec::new(), HashSet::new());
    for path in &arguments.paths {
        find(path, &mut paths, &mut folders)?;
    }
    if paths.is_empty() {
        let given = arguments.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        bail!("no tests in {given}: expected files named such as policy_test.yaml");
    }
    let mut tested = Vec::with_capacity(paths.len());
    let mut unreadable = false;
    for path in &paths {
        match file::read(path)? {
            Ok(file) => tested.push(test(file, arguments.only.as_deref())?),
            Err(problems) => {
                unreadable = true;
                eprint!("{problems}");
            }
        }
    }
    if unreadable {
        return Ok(ExitCode::from(2));
    }
    coverage::share(&mut tested);
    let cases = || tested.iter().flat_map(|tested| &tested.results);
    if let Some(only) = arguments.only.as_ref().filter(|_| cases().next().is_none()) {
        bail!("no case has {only:?} in its name");
    }
    out::print(&arguments.format.text(&tested, arguments.coverage)?)?;
    let fails = cases().any(|result| !result.mismatches.is_empty())
        || (arguments.strict && tested.iter().any(|tested| !tested.coverage.is_complete()));
    Ok(ExitCode::from(u8::from(fails)))
}

fn test(file: TestFile, only: Option<&str>) -> anyhow::Result<Tested> {
    let judged = judged(&file)?;
    let mut coverage = Coverage::new(&judged);
    let cases = file.cases.iter().filter(|case| only.is_none_or(|only| case.name.contains(only)));
    let results = cases
        .map(|case| {
            let explanation = judged.explain(&case.request(), None, case.collector)?;
            coverage.note(&explanation, &judged);
            Ok(CaseResult { mismatches: compare::compare(&case.expected, &explanation, case), case: case.clone() })
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(Tested { file, results, coverage })
}

/// The policy that a file tests: its layers, one over the other.
fn judged(file: &TestFile) -> anyhow::Result<Judged> {
    let shown = file.path.display();
    let mut whole: Option<Written> = None;
    for layer in &file.policy {
        let written = Written::read(layer, file.name.as_deref().filter(|_| whole.is_none()))
            .with_context(|| format!("the policy of {shown}"))?;
        match &mut whole {
            None => whole = Some(written),
            Some(whole) => whole.node.overlay(&written.node),
        }
    }
    let mut whole = whole.with_context(|| format!("{shown} names no policy"))?;
    if let Some(plugin) = &file.plugin {
        whole.plugin = Some(plugin.clone());
    }
    let policies = file.policy.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
    Judged::new(whole, &policies.join(" with "))
}

/// The files with tests at a path. What is named is one, whatever its name.
fn find(path: &Path, found: &mut Vec<PathBuf>, folders: &mut HashSet<PathBuf>) -> anyhow::Result<()> {
    if !path.is_dir() {
        found.push(path.to_owned());
        return Ok(());
    }
    for entry in input::entries(path, folders)? {
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_test = entry.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with(file::SUFFIX));
        if entry.is_dir() {
            // Tools and what is built: no place of a policy.
            if !name.starts_with('.') && !["target", "node_modules"].contains(&name.as_str()) {
                find(&entry, found, folders)?;
            }
        } else if is_test && input::is_manifest(&entry) {
            found.push(entry);
        }
    }
    Ok(())
}

//! A file with tests: which policy, what all cases share, and the cases.

use std::path::{Path, PathBuf};

use super::case::{self, Case};
use super::read::{Problems, Reader};
use super::table;
use crate::filters;
use crate::input;
use crate::yaml::{self, Node};

/// The end of the name of a file with tests, before `.yaml`.
pub const SUFFIX: &str = "_test";

/// A file with tests.
pub struct TestFile {
    pub path: PathBuf,
    /// Its text, to show lines of it.
    pub text: String,
    /// The files that the policy is in: each is laid over the one before, as kustomize does it.
    pub policy: Vec<PathBuf>,
    /// The manifest, where the first file has several.
    pub name: Option<String>,
    /// The filters, where not those of the manifest.
    pub plugin: Option<String>,
    pub cases: Vec<Case>,
}

/// What a file with tests consists of.
const KEYS: [&str; 5] = ["policy", "name", "plugin", "defaults", "cases"];

/// Reads a file with tests.
///
/// # Errors
/// When it cannot be read at all. What is wrong in it comes as a text with its places.
pub fn read(path: &Path) -> anyhow::Result<Result<TestFile, String>> {
    let text = input::read_text(path)?;
    let shown = input::tidy(path.strip_prefix(".").unwrap_or(path));
    let mut problems = Problems::default();
    let nodes = match yaml::read(&shown.display().to_string().into(), &text) {
        Ok(nodes) => nodes,
        Err(broken) => {
            problems.add(&broken.place, format!("not YAML: {}", broken.message));
            return Ok(Err(problems.text(&text)));
        }
    };
    let Some(node) = nodes.first() else {
        anyhow::bail!("{} is empty: expected `cases`, a list of requests", path.display());
    };
    if let Some(second) = nodes.get(1) {
        problems.add(&second.place, "a second document: expected one, with all `cases`");
    }
    let file = one(&shown, &text, node, &mut problems);
    Ok(if problems.is_empty() { Ok(file) } else { Err(problems.text(&text)) })
}

fn one(path: &Path, text: &str, node: &Node, problems: &mut Problems) -> TestFile {
    let mut reader = Reader::new(node, "a file with tests", &KEYS, problems);
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut policy: Vec<PathBuf> =
        reader.texts("policy").iter().map(|layer| input::tidy(&folder.join(layer))).collect();
    if policy.is_empty() {
        policy.extend(beside(path));
        if policy.is_empty() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().replace(SUFFIX, "");
            reader.wrong(node, format!("there is no {name} beside it: expected `policy`, the file with the policy"));
        }
    }
    let name = reader.text("name");
    let plugin = reader.word("plugin", &filters::NAMES);
    let defaults = reader.get("defaults").cloned();
    let cases = reader.list("cases");
    if cases.is_empty() {
        reader.wrong(node, "there are no cases: expected `cases`, a list of requests and what is expected of each");
    }
    if let Some(defaults) = &defaults {
        // Each case has them: once here, their problems are said once.
        case::check_defaults(defaults, problems);
    }
    let mut read = Vec::new();
    for row in cases.iter().flat_map(|written| table::rows(written, problems)).collect::<Vec<_>>() {
        let whole = match &defaults {
            Some(defaults) => {
                let mut whole = defaults.clone();
                whole.overlay(&row.node);
                whole.place = row.node.place;
                whole
            }
            None => row.node,
        };
        read.extend(case::read(&whole, &row.title, problems));
    }
    TestFile { path: path.to_owned(), text: text.to_owned(), policy, name, plugin, cases: read }
}

/// The policy that a file is named for: `policy_test.yaml` → `policy.yaml`.
fn beside(path: &Path) -> Option<PathBuf> {
    let stem = path.file_stem()?.to_string_lossy();
    let name = stem.strip_suffix(SUFFIX)?;
    let extension = path.extension()?.to_string_lossy();
    let folder = path.parent().unwrap_or(Path::new(""));
    let named = |extension: &str| folder.join(format!("{name}.{extension}"));
    [&*extension, "yaml", "yml", "json"].into_iter().map(named).find(|path| path.is_file())
}

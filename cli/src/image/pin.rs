//! Writes the address of an image into manifests.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::registry::Address;

/// A line that names the image.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    file: PathBuf,
    line: usize,
    before: String,
    after: String,
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, before, after } = self;
        if before == after {
            write!(formatter, "{}:{line}: {after}, as before", file.display())
        } else {
            write!(formatter, "{}:{line}: {before} → {after}", file.display())
        }
    }
}

/// Replaces every address of the same image in the YAML files under `manifests`, as text: comments and layout stay.
pub fn pin(manifests: &Path, address: &Address) -> Result<Vec<Change>> {
    ensure!(
        address.digest().is_some(),
        "{address} has no digest: expected what `careplane image push` prints, \
         oci://registry/repository:tag@sha256:digest"
    );
    let mut changes = Vec::new();
    let mut others = BTreeSet::new();
    for file in yaml_files(manifests)? {
        let shown = file.display();
        let before = fs::read_to_string(&file).with_context(|| format!("cannot read {shown}"))?;
        let mut after = String::with_capacity(before.len());
        for (index, line) in before.split_inclusive('\n').enumerate() {
            match addressed(line) {
                Some((found, place)) if found.image() == address.image() => {
                    let change = Change {
                        file: file.clone(),
                        line: index + 1,
                        before: line[place.clone()].to_owned(),
                        after: address.to_string(),
                    };
                    after.push_str(&line[..place.start]);
                    after.push_str(&change.after);
                    after.push_str(&line[place.end..]);
                    changes.push(change);
                }
                found => {
                    others.extend(found.map(|(address, _)| address.image().to_owned()));
                    after.push_str(line);
                }
            }
        }
        if after != before {
            fs::write(&file, after).with_context(|| format!("cannot write {shown}"))?;
        }
    }
    let others = if others.is_empty() { "none".to_owned() } else { others.into_iter().collect::<Vec<_>>().join(", ") };
    ensure!(
        !changes.is_empty(),
        "no manifest under {} has a url with the image {}: images there: {others}",
        manifests.display(),
        address.image()
    );
    Ok(changes)
}

/// The address in a line `url: oci://…`, or `value: oci://…` of a JSON patch, and where it stands.
pub fn addressed(line: &str) -> Option<(Address, std::ops::Range<usize>)> {
    let (key, _) = line.split_once("oci://")?;
    let name = key.trim_end_matches(['"', '\'', ' ']);
    let is_url = (name.ends_with("url:") || name.ends_with("value:")) && !key.contains('#');
    let rest = &line[key.len()..];
    let length =
        rest.find(|end: char| end.is_whitespace() || matches!(end, '"' | '\'' | ',' | '}')).unwrap_or(rest.len());
    let address = rest[..length].parse().ok().filter(|_| is_url)?;
    Some((address, key.len()..key.len() + length))
}

fn yaml_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read the folder {}", directory.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(yaml_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests;

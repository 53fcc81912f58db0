//! Where a module comes from: an in-toto statement with SLSA provenance, <https://slsa.dev/spec/v1.0/provenance>.
//!
//! It says what the machine of the build knows, and is not signed. To rely on it, sign it, or build the module again
//! and compare (`make reproduce`). No time is in it, so the same build has the same statement.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::digest::sha256;

/// `mediaType` of a statement, and `artifactType` of the manifest that holds it.
pub const MEDIA_TYPE: &str = "application/vnd.in-toto+json";

/// The sources and the toolchain of a checkout.
#[derive(Debug)]
pub struct Source {
    commit: String,
    /// Whether something in it is not as it was committed.
    changed: bool,
    /// SHA-256 of `Cargo.lock`, in hex.
    lock: String,
    /// The release of rustc, and its commit.
    rustc: (String, String),
}

impl Source {
    /// What the checkout in `directory` says of itself.
    pub fn read(directory: &Path) -> Result<Self> {
        let lock = directory.join("Cargo.lock");
        let lock = std::fs::read(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
        let version = output(directory, "rustc", &["-vV"])?;
        let line = |name: &str| {
            let value = version.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value.map(str::to_owned).with_context(|| format!("`rustc -vV` has no line {name:?}"))
        };
        Ok(Self {
            commit: output(directory, "git", &["rev-parse", "HEAD"])?.trim().to_owned(),
            changed: !output(directory, "git", &["status", "--porcelain"])?.is_empty(),
            lock: hex(&sha256(&lock)).to_owned(),
            rustc: (line("release")?, line("commit-hash")?),
        })
    }

    /// The statement that the module of this name and digest was built from it.
    pub fn statement(&self, module: &str, digest: &str) -> Value {
        let (release, commit) = &self.rustc;
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": module, "digest": {"sha256": hex(digest)}}],
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {
                "buildDefinition": {
                    "buildType": "urn:careplane:build:make:v1",
                    "externalParameters": {"module": module, "target": "wasm32-wasip1"},
                    "resolvedDependencies": [
                        {
                            "name": "source",
                            "digest": {"gitCommit": self.commit},
                            "annotations": {"uncommittedChanges": self.changed}
                        },
                        {"name": "Cargo.lock", "digest": {"sha256": self.lock}},
                        {
                            "name": "rustc", "uri": format!("pkg:generic/rustc@{release}"),
                            "digest": {"gitCommit": commit}
                        }
                    ]
                },
                // Nothing vouches for the machine.
                "runDetails": {"builder": {"id": "urn:careplane:builder:local"}}
            }
        })
    }
}

fn hex(digest: &str) -> &str {
    digest.trim_start_matches("sha256:")
}

fn output(directory: &Path, program: &str, arguments: &[&str]) -> Result<String> {
    let shown = format!("`{program} {}` in {}", arguments.join(" "), directory.display());
    let output = Command::new(program).args(arguments).current_dir(directory).output();
    let output = output.with_context(|| format!("cannot run {shown}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("{shown}: {}: expected the checkout that the module was built from", why.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{shown} did not answer in UTF-8"))
}

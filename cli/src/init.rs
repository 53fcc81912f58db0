//! `careplane init`: a first policy from what a team already has. Everything in it that is a judgement is marked as a
//! proposal.

mod access_log;
mod cases;
mod contexts;
mod endpoint;
mod manifests;
mod openapi;
mod proposal;
mod write;

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use careplane_policy::Policy;

use crate::manifest::Document;
use crate::{input, manifest, out, yaml};
use endpoint::Endpoint;

#[derive(clap::Args)]
pub struct Arguments {
    /// OpenAPI documents (3.x, Swagger 2.0), VirtualServices, HTTPRoutes, GRPCRoutes; YAML, JSON, folders of them. `-`
    /// is the standard input
    #[arg(value_name = "FILE|DIR", required_unless_present = "access_log")]
    paths: Vec<PathBuf>,
    /// Access logs: a line for each request, in JSON or with `"GET /path HTTP/1.1"` in it. Paths are folded to
    /// templates
    #[arg(long, value_name = "FILE")]
    access_log: Vec<PathBuf>,
    /// Writes the policy as a patch of WasmPlugins, for kustomize
    #[arg(long)]
    patch: bool,
    /// Writes the policy there, which must not exist yet, instead of printing it; and its tests beside it:
    /// policy_test.yaml for policy.yaml
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What was found in the inputs.
#[derive(Debug, Default)]
pub struct Inputs {
    pub endpoints: Vec<Endpoint>,
    /// The names of what was read.
    pub sources: BTreeSet<String>,
    /// Headers and words that say who is calling, as comments of the policy have them.
    pub callers: BTreeSet<String>,
    /// Parameters of paths that could name a tenant.
    pub tenants: BTreeSet<String>,
    /// The pools that routes match on.
    pub pools: BTreeSet<String>,
    pub has_canary: bool,
    /// What could not be used, and why.
    pub left_out: BTreeSet<String>,
    /// The folders that were read.
    pub folders: HashSet<PathBuf>,
}

/// Exit code 0; 2, by the caller, when an input cannot be read or says nothing of requests.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut found = Inputs::default();
    for path in &arguments.paths {
        read(path, &mut found)?;
    }
    for path in &arguments.access_log {
        // Callers send any bytes, and Envoy logs them: one such line is no reason to leave out the others.
        let bytes = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        access_log::read(&path.display().to_string(), &String::from_utf8_lossy(&bytes), &mut found);
    }
    ensure!(
        !found.endpoints.is_empty(),
        "there is no request in the inputs: expected OpenAPI documents with `paths`, VirtualServices or HTTPRoutes \
         with paths, or access logs"
    );
    let mut unique: Vec<Endpoint> = Vec::new();
    for endpoint in std::mem::take(&mut found.endpoints) {
        if !unique.contains(&endpoint) {
            unique.push(endpoint);
        }
    }
    found.endpoints = unique;
    let First { mut text, contexts, policy } = policy(&found)?;
    if arguments.patch {
        text = as_patch(&text);
    }
    match &arguments.output {
        Some(path) => {
            let tests = cases::path(path);
            ensure!(!tests.exists(), "{} cannot be written: it must not exist", tests.display());
            write_new(path, &text)?;
            write_new(&tests, &cases::text(path, &contexts, &policy))?;
        }
        None => out::print(&text)?,
    }
    eprintln!(
        "careplane: {} contexts for {} operations. Every compliance level is a proposal: a person has to \
         decide it.",
        contexts.len(),
        found.endpoints.len()
    );
    Ok(ExitCode::SUCCESS)
}

/// The policy at the place where a WasmPlugin has it.
fn as_patch(policy: &str) -> String {
    let head = "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {name: every-careplane-plugin}\n\
                spec:\n  pluginConfig:\n";
    let indent = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") };
    policy.lines().map(indent).fold(head.to_owned(), |patch, line| patch + &line)
}

fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = std::fs::File::create_new(path);
    let mut file = file.with_context(|| format!("{} cannot be written: it must not exist", path.display()))?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    Ok(())
}

/// A first policy.
struct First {
    text: String,
    contexts: Vec<contexts::Context>,
    policy: Policy,
}

fn policy(found: &Inputs) -> anyhow::Result<First> {
    let mut contexts = contexts::of(&found.endpoints);
    let mut left_out = found.left_out.clone();
    // What two documents say of one path can be at odds: a route that the policy could not distinguish from another one
    // is left out.
    loop {
        let text = write::text(found, &contexts, &left_out);
        let nodes =
            yaml::read(&"policy.yaml".into(), &text).map_err(|error| anyhow::anyhow!("{}: {text}", error.message))?;
        let json = nodes.first().map(yaml::Node::to_json).unwrap_or_default();
        let problems = match Policy::from_json(json.to_string().as_bytes()) {
            Ok(policy) => return Ok(First { text, contexts, policy }),
            Err(problems) => problems,
        };
        let mut removed = false;
        // From the end, so that the places before stay what they are.
        for problem in problems.iter().collect::<Vec<_>>().into_iter().rev() {
            removed |= contexts::leave_out(&mut contexts, &problem.path, &problem.message, &mut left_out);
        }
        if !removed {
            bail!(
                "no policy could be made of this: {}",
                problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
            );
        }
    }
}

fn read(path: &Path, found: &mut Inputs) -> anyhow::Result<()> {
    if path.is_dir() {
        for path in input::entries(path, &mut found.folders)? {
            if path.is_dir() || input::is_manifest(&path) {
                read(&path, found)?;
            }
        }
        return Ok(());
    }
    let (name, text) = if path.as_os_str() == input::STDIN {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::io::stdin(), &mut text).context("the standard input cannot be read")?;
        ("stdin".to_owned(), text)
    } else {
        (path.display().to_string(), input::read_text(path)?)
    };
    // JSON by its own parser: documents of some megabytes are usual.
    if let Ok(value) = serde_json::from_str::<serde_json::Value>(&text)
        && openapi::is_one(&value)
    {
        openapi::read(&name, &value, found);
        return Ok(());
    }
    let nodes = yaml::read(&name.as_str().into(), &text)
        .map_err(|error| anyhow::anyhow!("{}: not YAML: {}", error.place, error.message))?;
    let (documents, rest): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|node| openapi::is_one(&node.to_json()));
    for document in documents {
        openapi::read(&name, &document.to_json(), found);
    }
    let documents: Vec<Document> = manifest::documents(rest);
    manifests::read(&name, &documents, found);
    Ok(())
}

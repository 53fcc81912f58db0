//! `careplane explain`: one request through the filters that the proxy runs, and the rule behind each decision.

pub mod account;
mod context;
mod human;
mod identity;
pub mod request;
pub mod run;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use careplane_exchange::{HttpAnswer, Key, Pseudonyms, Rules};
use careplane_policy::Policy;
use careplane_policy::document::Document as PolicyDocument;

use crate::check::problem_place;
use crate::filters;
use crate::input;
use crate::manifest::{Document, Manifest};
use crate::out;
use crate::yaml::Node;

#[derive(clap::Args)]
pub struct Arguments {
    /// A policy, or a manifest with one inside: a file, a kustomization, or `-`
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The manifest to use, if the file has several with a policy
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    request: request::RequestArguments,
    /// The filters to run; default: those of the manifest, else all
    #[arg(long, value_parser = filters::NAMES)]
    plugin: Option<String>,
    /// The collector's answer to the intents of `audit.writeAhead`
    #[arg(long, value_enum, default_value_t = Collector::Acknowledges)]
    collector: Collector,
    /// Format of the explanation
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// For people
    Human,
    /// As docs/explain.md describes it
    Json,
}

/// What the collector makes of an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Collector {
    /// It acknowledges the intent
    Acknowledges,
    /// It does not answer
    Unavailable,
}

impl Collector {
    fn answer(self) -> HttpAnswer {
        match self {
            Self::Acknowledges => HttpAnswer { status: Some(200), ..HttpAnswer::default() },
            Self::Unavailable => HttpAnswer::default(),
        }
    }
}

/// What a request is judged by, and where that is written.
pub struct Judged {
    pub rules: Arc<Rules>,
    pub document: PolicyDocument,
    pub node: Node,
    /// The filters: the `pluginName` of the manifest that the policy came in, else all.
    pub plugin: String,
    /// Whether pseudonyms are under a key of the environment.
    has_key: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut judged = Judged::read(&arguments.policy, arguments.name.as_deref())?;
    if let Some(plugin) = &arguments.plugin {
        judged.plugin.clone_from(plugin);
    }
    let request = arguments.request.read()?;
    let account = run::run(&judged, &request, arguments.collector);
    out::print(&match arguments.format {
        Format::Human => human::Human(&account).to_string(),
        Format::Json => serde_json::to_string_pretty(&account)? + "\n",
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A policy as it is written, and the `pluginName` of its manifest.
pub struct Written {
    pub node: Node,
    pub plugin: Option<String>,
}

// === impl Written ===

impl Written {
    /// The policy in a file: the one of the manifest with this name, or the first.
    pub fn read(path: &Path, name: Option<&str>) -> anyhow::Result<Self> {
        let shown = path.display();
        let input = input::read(&[path.to_owned()])?;
        if let Some(broken) = input.broken.first() {
            bail!("{}: {}", broken.place, broken.message);
        }
        let mut candidates: Vec<(Option<&Manifest>, &Node)> = Vec::new();
        for document in input.documents.iter().chain(input.alternatives.iter().flatten()) {
            match document {
                Document::Policy(node) => candidates.push((None, node)),
                Document::Manifest(manifest) => {
                    candidates.extend(manifest.policy().map(|policy| (Some(manifest), policy)));
                }
                Document::Other(_) => {}
            }
        }
        let known =
            || candidates.iter().filter_map(|(it, _)| Some(it.as_ref()?.name.as_str())).collect::<Vec<_>>().join(", ");
        let found =
            candidates.iter().find(|(manifest, _)| name.is_none_or(|name| manifest.is_some_and(|it| it.name == name)));
        let (manifest, node) = match (found, name) {
            (Some(found), _) => *found,
            (None, Some(name)) => {
                bail!("{shown} has no policy in a manifest named {name:?}: expected one of {}", known())
            }
            (None, None) => bail!(
                "{shown} has no policy: expected a document with `version: careplane/v1`, or a manifest with one inside"
            ),
        };
        Ok(Self { node: node.clone(), plugin: manifest.and_then(Manifest::plugin_name).map(Into::into) })
    }
}

// === impl Judged ===

impl Judged {
    fn read(path: &Path, name: Option<&str>) -> anyhow::Result<Self> {
        Self::new(Written::read(path, name)?, &path.display().to_string())
    }

    /// # Errors
    /// When the policy is refused, with each problem and its place; when its `pluginName` is no filter.
    pub fn new(written: Written, shown: &str) -> anyhow::Result<Self> {
        let Written { node, plugin } = written;
        let plugin = plugin.unwrap_or_else(|| filters::ALL.into());
        if !filters::NAMES.contains(&plugin.as_str()) {
            bail!("pluginName {plugin:?} is not a filter: expected one of {}", filters::NAMES.join(", "));
        }
        let json = node.to_json();
        let mut policy = Policy::from_json(json.to_string().as_bytes()).map_err(|problems| {
            let lines = problems.iter().map(|problem| format!("\n  {}: {problem}", problem_place(&node, problem)));
            anyhow::anyhow!("{shown}: the policy is refused{}", lines.collect::<String>())
        })?;
        // The record is shown whatever becomes of it.
        policy.audit.access_log = true;
        let key = std::env::var(&policy.pseudonym_key_env).ok().and_then(|key| Key::new(key.as_bytes()));
        let has_key = key.is_some();
        let pseudonyms = Pseudonyms::new(key.unwrap_or_else(|| Key::from_bytes([0; 32])));
        Ok(Self {
            document: serde_json::from_value(json).context("the policy cannot be read")?,
            rules: Arc::new(Rules::new(policy, pseudonyms)),
            node,
            plugin,
            has_key,
        })
    }
}

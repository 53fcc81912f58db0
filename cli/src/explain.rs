//! `careplane explain`: one request through the filters that the proxy runs, and the rule behind each decision.

#[cfg(feature = "commands")]
mod command;
mod context;
pub mod explanation;
mod grants;
mod human;
mod identity;
pub mod request;
pub mod run;

use std::sync::Arc;

use anyhow::{Context as _, bail};
use careplane_exchange::{HttpAnswer, Key, Pseudonyms, Rules};
use careplane_policy::Policy;
use careplane_policy::directory::Directory;
use careplane_policy::document::{Document as PolicyDocument, TenantCase, TenantEntry};

use crate::check::{is_careplane, problem_place};
use crate::filters;
use crate::input::Input;
use crate::manifest::{Document, Manifest, PROTOBUF, is_policy, policy_json};
use crate::yaml::Node;
#[cfg(feature = "commands")]
pub use command::{Arguments, run};
use explanation::Explanation;
pub use human::Human;
pub use request::{Request, RequestArguments};

/// What the collector makes of an intent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CollectorAnswer {
    /// It acknowledges the intent
    #[default]
    Acknowledges,
    /// It does not answer
    Unavailable,
}

impl CollectorAnswer {
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
    /// The `pluginName` of the manifest that the policy came in, else all filters.
    pub plugin: String,
    /// Whether pseudonyms are under a key of the environment.
    has_key: bool,
}

/// A policy as it is written, and the `pluginName` of its manifest.
pub struct Written {
    pub node: Node,
    pub plugin: Option<String>,
}

/// The entry of a tenant, and the name that it is written under: `identity.tenant.case: lower` folds that.
pub fn entry_of<'d>(document: &'d PolicyDocument, tenant: &str) -> Option<(&'d str, &'d TenantEntry)> {
    let folds = document.identity.tenant.case == TenantCase::Lower;
    let is_it = |name: &str| name == tenant || (folds && name.eq_ignore_ascii_case(tenant));
    document.tenants.entries.iter().find(|(name, _)| is_it(name)).map(|(name, entry)| (name.as_str(), entry))
}

// === impl Written ===

impl Written {
    /// The first policy of what was read, or that of the manifest with this name. `shown` is what errors call the
    /// input.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(input: &Input, shown: &str, name: Option<&str>) -> anyhow::Result<Self> {
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
                Document::Protobuf(node) => bail!("{}: {PROTOBUF}", node.place),
                Document::Other(_) => {}
            }
        }
        // What is not careplane's comes last: a plugin of another filter, or a document beside the policy.
        candidates.sort_by_key(|(manifest, node)| match manifest {
            Some(manifest) => !manifest.is_policy() && !is_careplane(manifest),
            None => !is_policy(node),
        });
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

    /// As [`of`](Self::of), from a file. Warns of what a proxy would get otherwise.
    ///
    /// # Errors
    /// When it cannot be read, or has no policy.
    #[cfg(feature = "commands")]
    pub fn read(path: &std::path::Path, name: Option<&str>) -> anyhow::Result<Self> {
        let input = crate::input::read(&[path.to_owned()])?;
        let written = Self::of(&input, &path.display().to_string(), name)?;
        for (place, message) in crate::check::misreadings(&written.node) {
            eprintln!("careplane: warning: {place}: {message}");
        }
        Ok(written)
    }
}

// === impl Judged ===

impl Judged {
    /// The first policy of what was read, or that of the manifest with this name. `shown` is what errors call the
    /// input.
    ///
    /// # Errors
    /// When there is none, or when the proxy would refuse it.
    pub fn of(input: &Input, shown: &str, name: Option<&str>) -> anyhow::Result<Self> {
        Self::new(Written::of(input, shown, name)?, shown)
    }

    /// # Errors
    /// When the proxy would refuse the policy, with each problem and its place.
    pub fn new(written: Written, shown: &str) -> anyhow::Result<Self> {
        let Written { node, plugin } = written;
        let json = policy_json(&node);
        let mut policy = Policy::from_json(json.as_bytes()).map_err(|problems| {
            let lines = problems.iter().map(|problem| format!("\n  {}: {problem}", problem_place(&node, problem)));
            anyhow::anyhow!("{shown}: the policy is refused{}", lines.collect::<String>())
        })?;
        // The record is shown whatever becomes of it.
        policy.audit.access_log = true;
        let key = std::env::var(&policy.pseudonym_key_env).ok().and_then(|key| Key::new(key.as_bytes()));
        let has_key = key.is_some();
        let pseudonyms = Pseudonyms::new(key.unwrap_or_else(|| Key::from_bytes([0; 32])));
        Ok(Self {
            document: serde_json::from_str(&json).context("the policy cannot be read")?,
            rules: Arc::new(Rules::new(policy, pseudonyms)),
            node,
            plugin: plugin.unwrap_or_else(|| filters::ALL.into()),
            has_key,
        })
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.rules.policy
    }

    /// Gives the policy's directory these tenants.
    pub fn set_directory(&self, directory: Directory) {
        self.rules.directory.set(directory);
    }

    /// What the filters do with a request: those of the manifest, unless `plugin` names others.
    ///
    /// # Errors
    /// When there are no such filters.
    pub fn explain(
        &self,
        request: &Request,
        plugin: Option<&str>,
        collector: CollectorAnswer,
    ) -> anyhow::Result<Explanation> {
        let plugin = plugin.unwrap_or(&self.plugin);
        if !filters::NAMES.contains(&plugin) {
            bail!("pluginName {plugin:?} is not a filter: expected one of {}", filters::NAMES.join(", "));
        }
        Ok(run::run(self, request, plugin, collector))
    }
}

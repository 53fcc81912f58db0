//! What of a policy the cases have touched.

use std::collections::{BTreeMap, BTreeSet};

use careplane_exchange::Denial;
use careplane_policy::document::{ClaimPath, Source, TrustedPeers, UnknownTenant};

use super::Tested;
use crate::explain::explanation::{Explanation, IdentityExplanation};
use crate::explain::{Judged, entry_of};
use crate::yaml::Location;

/// The parts of a policy, and what of them was touched.
pub struct Coverage {
    /// Of which policy, run by which filters.
    policy: String,
    pub parts: Vec<Part>,
}

/// One kind of thing that a case can touch.
pub struct Part {
    pub name: &'static str,
    pub items: Vec<Item>,
}

pub struct Item {
    pub name: String,
    /// None for what is written nowhere.
    pub place: Option<Location>,
    pub touched: bool,
    /// The case that touches it.
    key: String,
}

const CONTEXTS: &str = "contexts";
const MATCHES: &str = "matches";
const SOURCES: &str = "sources";
const PEERS: &str = "trusted peers";
const TENANTS: &str = "pinned tenants";
const GRANTS: &str = "grants";
const DENIALS: &str = "denials";

// === impl Coverage ===

impl Coverage {
    pub fn new(judged: &Judged) -> Self {
        let (document, node) = (&judged.document, &judged.node);
        let item = |name: String, path: &str, key: String| {
            let found = node.follow(path);
            let place = (found.missing == 0).then(|| found.key_place.unwrap_or(&found.node.place).clone());
            Item { name, place, touched: false, key }
        };
        let mut contexts = Vec::new();
        let mut matches = Vec::new();
        for (index, context) in document.contexts.iter().enumerate() {
            let name = context.name.clone().unwrap_or_default();
            contexts.push(item(name.clone(), &format!("contexts[{index}].name"), name.clone()));
            for (number, one) in context.matches.iter().flatten().enumerate() {
                let path = format!("contexts[{index}].match[{number}]");
                let methods = one.methods.as_ref().map(|methods| methods.join(",") + " ").unwrap_or_default();
                let shown = format!("{methods}{} ({name})", one.path.as_deref().unwrap_or_default());
                matches.push(item(shown, &path, path.clone()));
            }
        }
        let default = document.default_context.name.clone();
        contexts.push(item(default.clone(), "defaultContext", default));
        let sources = [("tenant", &document.identity.tenant.sources), ("user", &document.identity.user.sources)];
        let sources = sources.into_iter().flat_map(|(part, sources)| {
            sources.iter().enumerate().map(move |(index, source)| {
                let path = format!("identity.{part}.sources[{index}]");
                (format!("{part}: {}", source_name(source)), path)
            })
        });
        let sources = sources.map(|(name, path)| item(name, &path, path.clone())).collect();
        let peers = match &document.identity.trusted_peers {
            TrustedPeers::Any => Vec::new(),
            TrustedPeers::Listed(patterns) => patterns
                .iter()
                .enumerate()
                .map(|(index, pattern)| {
                    let path = format!("identity.trustedPeers[{index}]");
                    item(pattern.clone(), &path, path.clone())
                })
                .collect(),
        };
        let tenants = document.tenants.entries.keys();
        let tenants =
            tenants.map(|tenant| item(tenant.clone(), &format!("tenants.entries.{tenant}"), tenant.clone())).collect();
        let grants = document.identity.grants.iter().enumerate().map(|(index, grant)| {
            let name = grant.name.clone().unwrap_or_default();
            item(name.clone(), &format!("identity.grants[{index}].name"), name)
        });
        let grants = grants.collect();
        let denials = Denial::ALL.into_iter().filter(|denial| is_possible(*denial, judged)).map(Denial::code);
        let denials = denials.map(|code| Item { name: code.into(), place: None, touched: false, key: code.into() });
        let parts = [
            (CONTEXTS, contexts),
            (MATCHES, matches),
            (SOURCES, sources),
            (PEERS, peers),
            (TENANTS, tenants),
            (GRANTS, grants),
            (DENIALS, denials.collect()),
        ];
        let parts = parts.into_iter().filter(|(_, items)| !items.is_empty());
        Self {
            policy: format!("{} {}", judged.plugin, node.to_json()),
            parts: parts.map(|(name, items)| Part { name, items }).collect(),
        }
    }

    /// Notes what a case touches.
    pub fn note(&mut self, explanation: &Explanation, judged: &Judged) {
        let mut touched: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut touch = |part, key| {
            touched.entry(part).or_default().insert(key);
        };
        touch(CONTEXTS, explanation.context.name.as_str());
        touch(MATCHES, explanation.context.rule.path.as_str());
        if explanation.peer.trusted {
            touch(PEERS, explanation.peer.rule.path.as_str());
        }
        [&explanation.tenant, &explanation.user].into_iter().flat_map(named_by).for_each(|path| touch(SOURCES, path));
        let entry = explanation.tenant.value.as_ref().and_then(|tenant| entry_of(&judged.document, tenant));
        entry.into_iter().for_each(|(name, _)| touch(TENANTS, name));
        // The grant of a refusal is the one that did not let the request in.
        let record = explanation.record.as_ref().filter(|_| explanation.decision.code.is_none());
        let grant = record.and_then(|record| record.record["decision"]["grant"].as_str());
        grant.into_iter().for_each(|grant| touch(GRANTS, grant));
        explanation.decision.code.into_iter().for_each(|code| touch(DENIALS, code));
        for part in &mut self.parts {
            let Some(keys) = touched.get(part.name) else { continue };
            part.items.iter_mut().filter(|item| keys.contains(item.key.as_str())).for_each(|item| item.touched = true);
        }
    }

    pub fn is_complete(&self) -> bool {
        self.parts.iter().flat_map(|part| &part.items).all(|item| item.touched)
    }
}

/// The sources that named an identity.
fn named_by(identity: &IdentityExplanation) -> impl Iterator<Item = &str> {
    let named = identity.sources.iter().filter(|source| ["taken", "agrees"].contains(&source.verdict.as_str()));
    named.map(|source| source.rule.path.as_str())
}

fn source_name(source: &Source) -> String {
    match source {
        Source::Claim(claim) => match &claim.path {
            ClaimPath::Name(name) => format!("claim {name}"),
            ClaimPath::Nested(names) => format!("claim {}", names.join(".")),
        },
        Source::Path(name) => format!("path {{{name}}}"),
        Source::Header(name) => format!("header {name}"),
        Source::Host(pattern) => format!("host {pattern}"),
        Source::Query(name) => format!("query {name}"),
    }
}

/// Whether a request can be refused for this reason under the policy.
fn is_possible(denial: Denial, judged: &Judged) -> bool {
    let (document, policy) = (&judged.document, &judged.rules.policy);
    let (tenant, user) = (&document.identity.tenant.sources, &document.identity.user.sources);
    match denial {
        Denial::PathAmbiguous => policy.reject_ambiguous_paths,
        Denial::TenantMalformed => !tenant.is_empty(),
        Denial::UserMalformed => !user.is_empty(),
        Denial::TenantConflict => tenant.len() > 1,
        Denial::UserConflict => user.len() > 1,
        Denial::TenantUnselected => {
            tenant.iter().any(|source| matches!(source, Source::Claim(_)))
                && policy.contexts().any(|context| context.tenant_required)
        }
        Denial::GrantAction => {
            document.identity.grants.iter().any(|grant| !(grant.actions.is_empty() && grant.contexts.is_empty()))
        }
        Denial::GrantPurpose => document.identity.grants.iter().any(|grant| !grant.requires.purpose.is_empty()),
        // A case is one request.
        Denial::GrantLimit => false,
        Denial::TenantMissing => policy.contexts().any(|context| context.tenant_required),
        Denial::TenantUnknown => document.tenants.unknown == UnknownTenant::Deny,
        Denial::EvidenceUnavailable => {
            policy.identity.grants.iter().any(|grant| grant.write_ahead)
                || policy.contexts().any(|context| policy.audit.write_ahead.contains(&context.compliance_level))
        }
        _ => true,
    }
}

/// Files that test one policy share what they touch: the first has it, the others have nothing left to say.
pub fn share(tested: &mut [Tested]) {
    for index in 1..tested.len() {
        let (before, rest) = tested.split_at_mut(index);
        let Some(later) = rest.first_mut() else { continue };
        let same =
            |first: &&mut Tested| first.coverage.policy == later.coverage.policy && !first.coverage.parts.is_empty();
        let Some(first) = before.iter_mut().find(same) else { continue };
        let parts = std::mem::take(&mut later.coverage.parts);
        let items = parts.into_iter().flat_map(|part| part.items);
        for (known, item) in first.coverage.parts.iter_mut().flat_map(|part| &mut part.items).zip(items) {
            known.touched |= item.touched;
        }
    }
}

//! [`Document`] → [`Policy`]: everything that a type cannot say is checked here, once, and all problems are reported
//! together.

mod contexts;
mod directory;
mod export;
mod grants;
mod identity;
mod names;
mod routing;
mod sampling;

use std::borrow::Cow;
use std::sync::Arc;

use crate::decode;
use crate::directory::sha256;
use crate::document::{AmbiguousPath, Document, Enforcement};
use crate::policy::Policy;
use crate::problem::Problems;
use crate::tenants::TenantsBuilder;

/// The version of the document that this release reads.
pub const VERSION: &str = "careplane/v1";

impl Policy {
    /// Reads, checks and compiles a document as the proxy hands it over: JSON.
    ///
    /// # Errors
    /// Every problem of the document, of shape and of meaning.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problems> {
        quickly(Cow::Borrowed(bytes)).map_or_else(|| Self::from_json_carefully(bytes), Ok)
    }

    /// The policy of a document that has tenants and no problems, if that is plain to see. For a proxy, whose memory
    /// never shrinks: the document is dropped as soon as it is read.
    ///
    /// None says nothing of the document: read it again with [`from_json_carefully`](Self::from_json_carefully).
    pub fn from_json_quickly(bytes: Vec<u8>) -> Option<Self> {
        quickly(Cow::Owned(bytes))
    }

    /// As [`from_json`](Self::from_json), after [`from_json_quickly`](Self::from_json_quickly).
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json).
    #[inline(never)]
    pub fn from_json_carefully(bytes: &[u8]) -> Result<Self, Problems> {
        let (document, mut problems) = decode::from_json(bytes);
        if problems.iter().any(|problem| problem.path.is_empty()) {
            return Err(problems);
        }
        // What could be read is checked too: its author should not have to come twice.
        match compile(document, None, digest(bytes)) {
            Ok(policy) if problems.is_empty() => return Ok(policy),
            Ok(_) => {}
            Err(more) => problems.extend_uncovered(more),
        }
        Err(problems)
    }
}

fn quickly(bytes: Cow<'_, [u8]>) -> Option<Policy> {
    let (rest, tenants) = decode::take_out_entries(&bytes)?;
    let digest = digest(&bytes);
    drop(bytes);
    let (document, problems) = decode::from_json(&rest);
    drop(rest);
    if problems.is_empty() { compile(document, Some(tenants), digest).ok() } else { None }
}

/// `tenants` are those of `tenants.entries`, if they have been taken out of the document.
fn compile(document: Document, tenants: Option<TenantsBuilder>, digest: Arc<str>) -> Result<Policy, Problems> {
    let mut problems = Problems::default();
    match document.version.as_deref() {
        Some(VERSION) => {}
        Some(other) => problems.add("version", format!("{other:?} is not known: expected {VERSION:?}")),
        None => problems.add("version", format!("missing: expected {VERSION:?}")),
    }
    let is_pinned = tenants.as_ref().map_or_else(|| document.tenants.pins_a_cohort(), TenantsBuilder::pins_a_cohort);
    let cohort_header = document.routing.cohort_header(is_pinned).map(ToOwned::to_owned);
    let (mut identity, headers) = identity::compile(&document, cohort_header.as_deref(), &mut problems);
    let pseudonym_key_env =
        names::environment("pseudonyms.keyEnv", document.pseudonyms.key_env, "CAREPLANE_PSEUDONYM_KEY", &mut problems);
    let tiers = sampling::tiers(&document.sampling, &mut problems);
    let late = sampling::late(&document.sampling.late, &mut problems);
    let otherwise =
        contexts::Otherwise { tenant_required: document.identity.tenant.required, enforcement: document.enforcement };
    let contexts = contexts::compile(document.contexts, document.default_context, &tiers, otherwise, &mut problems);
    let known = grants::Known {
        contexts: contexts.all.iter().chain([&contexts.default]).map(|context| &*context.name).collect(),
        says_purpose: !identity.purpose_sources.is_empty(),
        has_collector: document.export.is_some(),
    };
    let grants = grants::compile(document.identity.grants, &known, &mut problems);
    identity.grants = grants;
    let case = document.identity.tenant.case;
    let routing = routing::compile(document.tenants, tenants, document.routing, cohort_header, case, &mut problems);
    let (audit, export) = export::compile(document.audit, document.export, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Policy {
        shadow: document.enforcement == Enforcement::Shadow,
        identity,
        headers,
        reject_ambiguous_paths: document.paths.ambiguous == AmbiguousPath::Reject,
        pseudonym_key_env,
        late,
        routing,
        audit,
        export,
        digest,
        contexts: contexts.all,
        default_context: contexts.default,
        routes: contexts.routes,
        router: contexts.router,
    })
}

fn digest(bytes: &[u8]) -> Arc<str> {
    let hash = sha256(bytes);
    hash.get(..16).unwrap_or_default().into()
}

#[cfg(test)]
mod tests;

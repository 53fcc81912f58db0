//! Grants: who may act beyond their own tenants, and on what terms.

use std::sync::Arc;
use std::time::Duration;

use crate::document::{Action, Jurisdiction};
use crate::purpose::Purpose;
use crate::source::Claim;

/// A grant, compiled.
#[derive(Debug)]
pub struct Grant {
    /// Its name.
    pub name: Arc<str>,
    /// Its place in the document, which tells it from the others.
    pub index: usize,
    /// What has to be so of the claims; all of it.
    pub when: Vec<Condition>,
    /// The tenants that it reaches.
    pub tenants: GrantedTenants,
    /// The purposes of which one is needed; none is needed when empty.
    pub purposes: Vec<Purpose>,
    /// Words for regulatory tracking.
    pub flags: Vec<Arc<str>>,
    /// How often one user may act under it.
    pub at_most: Option<GrantLimit>,
    /// Whether its requests wait until the intent is acknowledged.
    pub write_ahead: bool,
    pub(crate) actions: Vec<Action>,
    pub(crate) contexts: Vec<Arc<str>>,
}

/// What a claim has to say.
#[derive(Debug)]
pub struct Condition {
    /// The claim.
    pub claim: Claim,
    /// What it has to say.
    pub test: Test,
}

/// What is asked of the values of a claim: one, or those of a list.
#[derive(Debug)]
pub enum Test {
    /// This is the only one.
    Equals(String),
    /// One of these is among them.
    AnyOf(Vec<String>),
}

/// The tenants that a grant reaches.
#[derive(Debug)]
pub enum GrantedTenants {
    /// All.
    Any,
    /// Those of a jurisdiction that the claim names.
    Jurisdiction(Claim),
    /// Those of a group that the claim names.
    Group(Claim),
}

/// How often one user may act under a grant.
#[derive(Debug, Clone, Copy)]
pub struct GrantLimit {
    /// So many requests,
    pub per_user: u16,
    /// in this time.
    pub within: Duration,
}

// === impl Grant ===

impl Grant {
    /// Whether it covers an act: its action, and the name of its context.
    pub fn covers(&self, action: Action, context: &Arc<str>) -> bool {
        (self.actions.is_empty() || self.actions.contains(&action))
            && (self.contexts.is_empty() || self.contexts.contains(context))
    }
}

// === impl GrantedTenants ===

impl GrantedTenants {
    /// The claim that has to name what a tenant belongs to, and that; `None` when a tenant belongs to nothing of the
    /// kind.
    pub fn needs<'g, 't>(
        &'g self,
        (jurisdiction, group): (Option<Jurisdiction>, Option<&'t str>),
    ) -> Option<Option<(&'g Claim, &'t str)>> {
        match self {
            Self::Any => Some(None),
            Self::Jurisdiction(claim) => Some(Some((claim, jurisdiction?.as_str()))),
            Self::Group(claim) => Some(Some((claim, group?))),
        }
    }
}

// === impl Test ===

impl Test {
    /// Whether values pass it.
    pub fn passes(&self, mut values: impl Iterator<Item = impl AsRef<[u8]>>) -> bool {
        match self {
            Self::Equals(wanted) => {
                values.next().is_some_and(|value| value.as_ref() == wanted.as_bytes()) && values.next().is_none()
            }
            Self::AnyOf(wanted) => values.any(|value| wanted.iter().any(|wanted| wanted.as_bytes() == value.as_ref())),
        }
    }
}

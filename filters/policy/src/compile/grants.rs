//! `identity.grants`.

use std::sync::Arc;
use std::time::Duration;

use super::{identity, names};
use crate::document::{self, ClaimPath};
use crate::grants::{Condition, Grant, GrantLimit, GrantedTenants, Test};
use crate::problem::Problems;
use crate::purpose::Purpose;
use crate::source::Claim;

/// A user's requests are remembered one by one.
const PER_USER_MAX: u64 = 1000;
const TENANTS: &str = "any, {jurisdiction: {claim: …}} or {group: {claim: …}}";

/// What grants refer to.
pub(super) struct Known<'k> {
    /// The names of the contexts.
    pub(super) contexts: Vec<&'k str>,
    /// Whether a request can say its purpose.
    pub(super) says_purpose: bool,
    /// Whether there is a collector to acknowledge intents.
    pub(super) has_collector: bool,
}

#[inline(never)]
pub(super) fn compile(written: Vec<document::Grant>, known: &Known<'_>, problems: &mut Problems) -> Vec<Arc<Grant>> {
    let mut compiled: Vec<Arc<Grant>> = Vec::with_capacity(written.len());
    for (index, grant) in written.into_iter().enumerate() {
        let path = format!("identity.grants[{index}]");
        let grant = self::grant(&path, index, grant, known, problems);
        if let Some(other) = compiled.iter().find(|other| other.name == grant.name && !grant.name.is_empty()) {
            problems.add(
                format!("{path}.name"),
                format!(
                    "{:?} is the name of identity.grants[{}] already: expected a name of its own",
                    grant.name, other.index
                ),
            );
        }
        compiled.push(Arc::new(grant));
    }
    compiled
}

#[inline(never)]
fn grant(path: &str, index: usize, written: document::Grant, known: &Known<'_>, problems: &mut Problems) -> Grant {
    let name = match &written.name {
        Some(name) => names::label(format_args!("{path}.name"), name, problems),
        None => {
            problems.add(format!("{path}.name"), "missing: expected the name of the grant, such as \"inspector\"");
            "".into()
        }
    };
    if written.when.0.is_empty() {
        problems.add(
            format!("{path}.when"),
            "missing: expected whose the grant is, such as {claim: roles, contains: inspector}",
        );
    }
    let place = format!("{path}.tenants");
    let tenants = match &written.tenants {
        Some(document::GrantedTenants::Any) => GrantedTenants::Any,
        Some(document::GrantedTenants::Jurisdiction(claim)) => {
            GrantedTenants::Jurisdiction(identity::claim(&format!("{place}.jurisdiction"), claim, problems))
        }
        Some(document::GrantedTenants::Group(claim)) => {
            GrantedTenants::Group(identity::claim(&format!("{place}.group"), claim, problems))
        }
        None => {
            problems.add(place, format!("missing: expected {TENANTS}"));
            GrantedTenants::Any
        }
    };
    for (position, context) in written.contexts.iter().enumerate() {
        if !known.contexts.contains(&context.as_str()) {
            problems.add(
                format!("{path}.contexts[{position}]"),
                format!("{context:?} is not a context: expected one of {}", known.contexts.join(", ")),
            );
        }
    }
    if written.write_ahead && !known.has_collector {
        problems.add(
            format!("{path}.writeAhead"),
            "needs a collector to acknowledge the intent: expected the section `export`",
        );
    }
    let mut flags = Vec::with_capacity(written.flags.len());
    for (position, flag) in written.flags.iter().enumerate() {
        flags.push(names::flag(format_args!("{path}.flags[{position}]"), flag, problems));
    }
    Grant {
        name,
        index,
        when: conditions(&format!("{path}.when"), &written.when.0, problems),
        tenants,
        purposes: purposes(&format!("{path}.requires.purpose"), &written.requires.purpose, known, problems),
        flags,
        at_most: written.at_most.map(|limit| self::limit(&format!("{path}.atMost"), &limit, problems)),
        write_ahead: written.write_ahead,
        actions: written.actions,
        contexts: written.contexts.into_iter().map(Into::into).collect(),
    }
}

#[inline(never)]
fn conditions(path: &str, written: &[document::Condition], problems: &mut Problems) -> Vec<Condition> {
    let mut compiled = Vec::with_capacity(written.len());
    for (index, condition) in written.iter().enumerate() {
        // As an author counts who wrote one condition without a list.
        let path = if written.len() == 1 { path.to_owned() } else { format!("{path}[{index}]") };
        let claim = match &condition.claim {
            Some(claim) => claim.clone(),
            None => {
                problems.add(&path, "says no claim: expected such as {claim: roles, contains: inspector}");
                ClaimPath::Name("-".into())
            }
        };
        let claim = document::Claim { path: claim, issuer: condition.issuer.clone() };
        let claim: Claim = identity::claim(&path, &claim, problems);
        let tests = (&condition.equals, &condition.contains, &condition.any_of);
        let test = match tests {
            (Some(wanted), None, None) => Test::Equals(wanted.clone()),
            (None, Some(wanted), None) => Test::AnyOf(vec![wanted.clone()]),
            (None, None, Some(wanted)) if !wanted.is_empty() => Test::AnyOf(wanted.clone()),
            _ => {
                problems.add(&path, "says not just one thing of the claim: expected one of equals, contains and anyOf");
                continue;
            }
        };
        compiled.push(Condition { claim, test });
    }
    compiled
}

#[inline(never)]
fn purposes(path: &str, written: &[String], known: &Known<'_>, problems: &mut Problems) -> Vec<Purpose> {
    if !written.is_empty() && !known.says_purpose {
        problems.add(path, "cannot be said by any request: expected sources in identity.purpose.sources");
    }
    let mut compiled = Vec::with_capacity(written.len());
    for (index, code) in written.iter().enumerate() {
        match Purpose::new(code.as_bytes()) {
            Some(purpose) => compiled.push(purpose),
            None => problems.add(
                format!("{path}[{index}]"),
                format!("{code:?} is not a purpose of use: expected {}", Purpose::EXPECTED),
            ),
        }
    }
    compiled
}

fn limit(path: &str, written: &document::GrantLimit, problems: &mut Problems) -> GrantLimit {
    let per_user = written.per_user.filter(|count| (1..=PER_USER_MAX).contains(count));
    let per_user = per_user.and_then(|count| u16::try_from(count).ok()).unwrap_or_else(|| {
        problems.add(format!("{path}.perUser"), format!("expected a number of requests, 1 to {PER_USER_MAX}"));
        1
    });
    let within = match &written.within {
        Some(text) => names::duration(&format!("{path}.within"), text, problems),
        None => {
            problems.add(format!("{path}.within"), "missing: expected a length of time, such as \"1h\"");
            Duration::ZERO
        }
    };
    GrantLimit { per_user, within }
}

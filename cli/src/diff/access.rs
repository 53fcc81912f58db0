//! Access that is gained or lost: every caller at every route, decided by both policies.

use std::time::Duration;

use careplane_exchange::Denial;
use careplane_policy::document::Overrides;

use super::routes::RouteTemplate;
use super::scenarios::{self, Scenario, Spelling};
use super::shape::{AccessChange, ChangeKind};
use crate::explain::request::Request;
use crate::explain::{Judged, run};

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Refused, for this reason.
    Denied(&'static str),
    /// The policy is in shadow there: nothing is refused, and no header is removed.
    Shadow,
    Allowed {
        tenant: Option<String>,
        user: Option<String>,
        grant: Option<AsGranted>,
    },
}

/// A grant that lets a request through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsGranted {
    name: String,
    /// How often one user may act under it, and in what time.
    at_most: Option<(u16, Duration)>,
}

// === impl Outcome ===

impl Outcome {
    pub fn of(judged: &Judged, request: &Request) -> Self {
        let (decided, host) = run::decide(judged, request, &judged.plugin);
        if decided.request.is_shadow() {
            return Self::Shadow;
        }
        if let Some(denial) = decided.request.denial() {
            return Self::Denied(denial.code());
        }
        let identity = decided.request.identity(&host);
        Self::Allowed {
            tenant: identity.tenant.as_ref().map(|tenant| tenant.as_str().to_owned()),
            user: identity.user.as_ref().map(|user| user.as_str().to_owned()),
            grant: identity.grant.as_ref().map(|grant| AsGranted {
                name: grant.name.to_string(),
                at_most: grant.at_most.map(|limit| (limit.per_user, limit.within)),
            }),
        }
    }

    /// What a change to another outcome means.
    pub fn change(&self, new: &Self) -> ChangeKind {
        match (self, new) {
            (Self::Shadow, Self::Shadow) => ChangeKind::Otherwise,
            (_, Self::Shadow) => ChangeKind::Gained,
            (Self::Shadow, _) => ChangeKind::Lost,
            (Self::Denied(_), Self::Allowed { .. }) => ChangeKind::Gained,
            (Self::Allowed { .. }, Self::Denied(_)) => ChangeKind::Lost,
            (Self::Denied(_), Self::Denied(_)) => ChangeKind::Otherwise,
            (
                Self::Allowed { tenant, user, grant },
                Self::Allowed { tenant: new_tenant, user: new_user, grant: new_grant },
            ) => {
                let gains = |old: &Option<String>, new: &Option<String>| new.is_some() && old != new;
                let limit = |grant: &Option<AsGranted>| grant.as_ref().and_then(|grant| grant.at_most);
                let (limit, new_limit) = (limit(grant), limit(new_grant));
                let loses = gains(new_tenant, tenant) || gains(new_user, user) || is_wider(new_limit, limit);
                match gains(tenant, new_tenant) || gains(user, new_user) || is_wider(limit, new_limit) {
                    true => ChangeKind::Gained,
                    false if loses => ChangeKind::Lost,
                    false => ChangeKind::Otherwise,
                }
            }
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Denied(code) => format!("denied: {code}"),
            Self::Shadow => "in shadow: let through, headers as they came".into(),
            Self::Allowed { tenant, user, grant } => {
                let named = [("tenant", tenant), ("user", user)];
                let named: Vec<String> =
                    named.into_iter().filter_map(|(part, id)| Some(format!("{part} {}", id.as_ref()?))).collect();
                let named = match named.as_slice() {
                    [] => "allowed, without identity".to_owned(),
                    named => format!("allowed as {}", named.join(", ")),
                };
                grant.iter().fold(named, |named, AsGranted { name, at_most }| {
                    let limit = at_most.map(|(count, within)| format!(", at most {count} in {within:?}"));
                    format!("{named}, under grant {name}{}", limit.unwrap_or_default())
                })
            }
        }
    }
}

/// Whether a user can act more often under the new limit of a grant than under the old one: more requests, or the same
/// number again sooner.
fn is_wider(old: Option<(u16, Duration)>, new: Option<(u16, Duration)>) -> bool {
    match (old, new) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some((old, within)), Some((new, new_within))) => new > old || new_within < within,
    }
}

/// What changes, gains first; callers and routes that change alike together.
/// And what was left out.
pub fn compare(old: &Judged, new: &Judged, templates: &[RouteTemplate]) -> (Vec<AccessChange>, Vec<String>) {
    let mut found: Vec<AccessChange> = Vec::new();
    let (scenarios, left_out) = scenarios::all(old, new);
    for scenario in scenarios {
        for change in of_caller(&scenario, old, new, templates) {
            let is_alike = |known: &&mut AccessChange| {
                (&known.old, &known.new, &known.routes) == (&change.old, &change.new, &change.routes)
            };
            match found.iter_mut().find(is_alike) {
                Some(known) => known.callers.extend(change.callers),
                None => found.push(change),
            }
        }
    }
    overrides(old, new, &mut found);
    found.sort_by_key(|change| change.kind);
    (found, left_out)
}

fn of_caller(scenario: &Scenario, old: &Judged, new: &Judged, templates: &[RouteTemplate]) -> Vec<AccessChange> {
    let mut found: Vec<AccessChange> = Vec::new();
    for (route, method) in templates.iter().flat_map(|route| route.asked_methods().iter().map(move |it| (route, it))) {
        let Some(request) = scenario.request(route, method) else { continue };
        let [before, after] = [old, new].map(|judged| Outcome::of(judged, &request));
        // With a suffix, the path is another route's, which is compared by itself: only ambiguity matters here.
        let is_ambiguous = |outcome: &Outcome| *outcome == Outcome::Denied(Denial::PathAmbiguous.code());
        let is_about_it = scenario.spelling != Spelling::Suffix || is_ambiguous(&before) || is_ambiguous(&after);
        if before == after || !is_about_it {
            continue;
        }
        let (old, new) = (before.text(), after.text());
        let title = route.title(method);
        match found.iter_mut().find(|known| (&known.old, &known.new) == (&old, &new)) {
            Some(known) if known.routes.contains(&title) => {}
            Some(known) => known.routes.push(title),
            None => found.push(AccessChange {
                kind: before.change(&after),
                callers: vec![scenario.caller.clone()],
                old,
                new,
                routes: vec![title],
            }),
        }
    }
    found
}

/// Headers that change method and URL for the application are not the identity's: so they are reported separately.
fn overrides(old: &Judged, new: &Judged, found: &mut Vec<AccessChange>) {
    let [before, after] = [old, new].map(|judged| judged.document.identity.overrides);
    if before == after {
        return;
    }
    let text = |overrides| if overrides == Overrides::Pass { "they pass" } else { "they are removed" };
    found.push(AccessChange {
        kind: if after == Overrides::Pass { ChangeKind::Gained } else { ChangeKind::Lost },
        callers: vec!["an untrusted peer with headers that override the method or the URL".into()],
        old: text(before).into(),
        new: text(after).into(),
        routes: Vec::new(),
    });
}

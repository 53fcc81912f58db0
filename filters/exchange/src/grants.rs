//! Which grant lets a person act beyond their own tenants.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use careplane_policy::document::{Action, Jurisdiction};
use careplane_policy::id::UserId;
use careplane_policy::{Context, Grant, GrantLimit, Policy, Purpose};

use crate::claims::Claims;
use crate::denial::Denial;
use crate::host::Host;

/// Users whose requests under grants are remembered. Of more, those are forgotten who have acted least recently.
const USERS_MAX: usize = 1024;

/// What is reached for under a grant, and how.
pub(crate) struct Act<'a> {
    /// The jurisdiction and the group of the tenant that is reached for.
    pub(crate) belongs: (Option<Jurisdiction>, Option<&'a str>),
    pub(crate) action: Action,
    pub(crate) context: &'a Context,
    pub(crate) purpose: Option<Purpose>,
    pub(crate) user: Option<&'a UserId>,
}

/// What one grant says to an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantVerdict {
    /// It does not reach the tenant.
    OtherTenants,
    /// It is not this person's: this condition of `when` does not hold.
    OtherPeople(usize),
    /// It does not cover the action or the context.
    NotCovered,
    /// It needs a purpose that the request does not say.
    NeedsPurpose,
    /// The user has acted under it too often.
    LimitReached,
    /// It allows the act.
    Allows,
}

/// How often each user has acted under each grant, in this VM: a proxy has one for each worker.
#[derive(Debug, Default)]
pub struct GrantUses(Mutex<Vec<Uses>>);

#[derive(Debug)]
struct Uses {
    grant: usize,
    user: Option<UserId>,
    /// When, the oldest first; as many as the limit.
    times: Vec<Duration>,
}

/// What the grants of a policy say to an act together.
pub(crate) enum Granted {
    /// None is the person's, or none reaches the tenant.
    No,
    /// The first that allows it.
    By(Arc<Grant>),
    /// The first that is the person's and reaches the tenant, and why it does not allow it.
    Refused(Arc<Grant>, Denial),
}

/// Asks the grants in their order. `uses` is where uses count; without it, none is counted and no limit is looked at.
// Not part of its one caller, which V8 would need more memory to compile, for ever.
#[inline(never)]
pub(crate) fn decide<'c>(
    policy: &'c Policy,
    claims: &Claims<'c>,
    act: &Act<'_>,
    uses: Option<&GrantUses>,
    host: &dyn Host,
) -> Granted {
    let mut refused = Granted::No;
    for grant in &policy.identity.grants {
        let verdict = match judge(grant, claims, act) {
            GrantVerdict::Allows => match (uses, grant.at_most) {
                (Some(uses), Some(limit)) if !uses.take(grant, limit, act.user, host) => GrantVerdict::LimitReached,
                _ => return Granted::By(Arc::clone(grant)),
            },
            other => other,
        };
        if let (Granted::No, Some(denial)) = (&refused, verdict.denial()) {
            refused = Granted::Refused(Arc::clone(grant), denial);
        }
    }
    refused
}

/// What one grant says to an act, its limit apart. Asks for no claim that does not matter.
pub(crate) fn judge<'c>(grant: &'c Grant, claims: &Claims<'c>, act: &Act<'_>) -> GrantVerdict {
    let Some(needed) = grant.tenants.needs(act.belongs) else {
        return GrantVerdict::OtherTenants;
    };
    if let Some(failed) = grant.when.iter().position(|condition| !claims.pass(&condition.claim, &condition.test)) {
        return GrantVerdict::OtherPeople(failed);
    }
    if needed.is_some_and(|(claim, name)| !claims.name(claim, name)) {
        return GrantVerdict::OtherTenants;
    }
    if !grant.covers(act.action, &act.context.name) {
        return GrantVerdict::NotCovered;
    }
    if !grant.purposes.is_empty() && !act.purpose.is_some_and(|purpose| grant.purposes.contains(&purpose)) {
        return GrantVerdict::NeedsPurpose;
    }
    GrantVerdict::Allows
}

// === impl GrantVerdict ===

impl GrantVerdict {
    /// Why an act is refused under a grant that is the person's and reaches the tenant.
    fn denial(self) -> Option<Denial> {
        match self {
            Self::OtherTenants | Self::OtherPeople(_) | Self::Allows => None,
            Self::NotCovered => Some(Denial::GrantAction),
            Self::NeedsPurpose => Some(Denial::GrantPurpose),
            Self::LimitReached => Some(Denial::GrantLimit),
        }
    }
}

// === impl GrantUses ===

impl GrantUses {
    /// Counts a use, unless there have been too many. Without a clock there is no limit: a failure of the proxy keeps
    /// no one out in an emergency.
    fn take(&self, grant: &Grant, limit: GrantLimit, user: Option<&UserId>, host: &dyn Host) -> bool {
        let Ok(now) = host.elapsed() else { return true };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |uses: &Uses| uses.grant == grant.index && uses.user.as_ref() == user;
        let position = all.iter().position(is_same).unwrap_or_else(|| {
            if all.len() >= USERS_MAX {
                let oldest = all.iter().enumerate().min_by_key(|(_, uses)| uses.times.last().copied());
                let oldest = oldest.map_or(0, |(position, _)| position);
                all.swap_remove(oldest);
            }
            all.push(Uses { grant: grant.index, user: user.cloned(), times: Vec::new() });
            all.len().saturating_sub(1)
        });
        let Some(Uses { times, .. }) = all.get_mut(position) else { return true };
        times.retain(|time| now.saturating_sub(*time) < limit.within);
        let is_free = times.len() < usize::from(limit.per_user);
        if is_free {
            times.push(now);
        }
        is_free
    }

    /// Takes back the last use that was counted.
    pub(crate) fn give_back(&self, grant: &Grant, user: Option<&UserId>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |uses: &&mut Uses| uses.grant == grant.index && uses.user.as_ref() == user;
        if let Some(uses) = all.iter_mut().find(is_same) {
            uses.times.pop();
        }
    }
}

/// A clone of rules starts with no uses.
impl Clone for GrantUses {
    fn clone(&self) -> Self {
        Self::default()
    }
}

//! Grants: what each says to the act, and what is missing.

use careplane_exchange::{GrantVerdict, Host, Identity, Incoming};
use careplane_policy::directory::Directory;
use careplane_policy::id::TenantId;
use careplane_policy::{Claim, Grant, GrantedTenants, Policy, Test};

use super::Judged;
use super::context::rule;
use super::explanation::GrantExplanation;

/// Empty where the caller's own tenants reach, and where the request reaches for none.
pub fn explain(incoming: &Incoming, identity: &Identity, host: &dyn Host, judged: &Judged) -> Vec<GrantExplanation> {
    let (policy, node) = (incoming.policy(), &judged.node);
    let directory = judged.rules.directory.get();
    let own_reaches = identity.grant.is_none() && identity.denial.is_none() && identity.tenant.is_some();
    if own_reaches {
        return Vec::new();
    }
    let Some((tenant, verdicts)) = incoming.grant_verdicts(host) else { return Vec::new() };
    let grants = policy.identity.grants.iter().zip(verdicts);
    let said = grants.map(|(grant, verdict)| {
        let is_this = identity.grant.as_ref().is_some_and(|used| used.index == grant.index);
        let used = is_this && identity.is_granted();
        let (part, verdict) = match verdict {
            GrantVerdict::Allows if used => ("", "used".to_owned()),
            GrantVerdict::Allows if is_this => (".atMost", "used too often by this user".to_owned()),
            GrantVerdict::Allows => ("", "allows it too".to_owned()),
            GrantVerdict::LimitReached => (".atMost", "used too often by this user".to_owned()),
            GrantVerdict::OtherPeople(index) => (".when", format!("not the caller's: {}", condition(grant, index))),
            GrantVerdict::OtherTenants => (".tenants", tenants(policy, grant, &tenant, directory.as_deref())),
            GrantVerdict::NotCovered => {
                let context = &incoming.about().context;
                let action = context.action(incoming.method()).as_str();
                ("", format!("does not cover {action} in {}", context.name))
            }
            GrantVerdict::NeedsPurpose => {
                let codes: Vec<&str> = grant.purposes.iter().map(|purpose| purpose.as_str()).collect();
                (".requires", format!("needs a purpose of use: {}", codes.join(" or ")))
            }
        };
        let rule = rule(node, format!("identity.grants[{}]{part}", grant.index));
        GrantExplanation { name: grant.name.to_string(), used, verdict, rule }
    });
    said.collect()
}

fn name(claim: &Claim) -> String {
    let issuer = claim.issuer.as_ref().map(|issuer| format!(" of {issuer}")).unwrap_or_default();
    format!("claim {}{issuer}", claim.path.join("."))
}

fn condition(grant: &Grant, index: usize) -> String {
    let Some(condition) = grant.when.get(index) else { return String::new() };
    let claim = name(&condition.claim);
    match &condition.test {
        Test::Equals(wanted) => format!("{claim} is not {wanted:?}"),
        Test::AnyOf(wanted) => format!("{claim} has none of {}", wanted.join(", ")),
    }
}

fn tenants(policy: &Policy, grant: &Grant, tenant: &TenantId, directory: Option<&Directory>) -> String {
    match grant.tenants.needs(policy.routing.belongs(tenant, directory)) {
        Some(Some((claim, wanted))) => format!("does not reach {tenant}: {} has no {wanted}", name(claim)),
        _ => {
            let kind = if matches!(grant.tenants, GrantedTenants::Group(_)) { "group" } else { "jurisdiction" };
            format!("does not reach {tenant}, which is in no {kind}")
        }
    }
}

//! Grants that both policies have by name: what of their terms a request alone does not show.

use careplane_policy::Grant;

use super::shape::{FieldChange, GrantChange};
use crate::explain::Judged;

pub fn compare(old: &Judged, new: &Judged) -> Vec<GrantChange> {
    let [before, after] = [old, new].map(|judged| &judged.rules.policy.identity.grants);
    let mut found = Vec::new();
    for grant in after {
        let Some(known) = before.iter().find(|known| known.name == grant.name) else { continue };
        let changes = FieldChange::between(&terms(known), &terms(grant));
        if !changes.is_empty() {
            found.push(GrantChange { grant: grant.name.to_string(), changes });
        }
    }
    found
}

fn terms(grant: &Grant) -> Vec<(&'static str, Option<String>)> {
    let flags: Vec<&str> = grant.flags.iter().map(|flag| &**flag).collect();
    vec![
        ("at most", grant.at_most.map(|limit| format!("{} in {:?}", limit.per_user, limit.within))),
        ("waits for evidence", Some(if grant.write_ahead { "yes" } else { "no" }.into())),
        ("flags", Some(flags.join(",")).filter(|flags| !flags.is_empty())),
    ]
}

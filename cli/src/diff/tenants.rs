//! Tenants that move: those with an entry by name, others as shares of made-up ones.

use std::collections::BTreeMap;

use careplane_policy::id::TenantId;

use super::homes;
use super::shape::{FieldChange, Move, Share, TenantChange, TenantChanges};
use crate::explain::Judged;

/// How many tenants are made up.
const SAMPLED: usize = 10_000;

pub fn compare(old: &Judged, new: &Judged) -> TenantChanges {
    let named = homes::named([old, new]);
    let mut found = TenantChanges { sampled: SAMPLED, ..TenantChanges::default() };
    for tenant in &named {
        let changes = FieldChange::between(&facts(old, tenant), &facts(new, tenant));
        if !changes.is_empty() {
            found.pinned.push(TenantChange { tenant: tenant.to_string(), changes });
        }
    }
    let mut moves: BTreeMap<FieldChange, usize> = BTreeMap::new();
    let mut counts: BTreeMap<(&'static str, String), [usize; 2]> = BTreeMap::new();
    let names = (0..).map(|number| format!("made-up-{number:05}"));
    let tenants = names.filter_map(|name| TenantId::new(name.as_bytes())).filter(|tenant| !named.contains(tenant));
    for tenant in tenants.take(SAMPLED) {
        let [before, after] = [old, new].map(|judged| facts(judged, &tenant));
        for (side, facts) in [&before, &after].into_iter().enumerate() {
            for (field, value) in facts.iter().filter(|(field, _)| ["pool", "cohort"].contains(field)) {
                if let Some(count) =
                    value.clone().and_then(|value| counts.entry((field, value)).or_default().get_mut(side))
                {
                    *count += 1;
                }
            }
        }
        for change in FieldChange::between(&before, &after) {
            *moves.entry(change).or_default() += 1;
        }
    }
    let moves = moves.into_iter().map(|(change, tenants)| {
        let FieldChange { field, old, new } = change;
        Move { field, old, new, tenants }
    });
    found.moves = moves.collect();
    let percent = |count: usize| count as f64 * 100.0 / SAMPLED as f64;
    let shares = counts.into_iter().filter(|(_, [old, new])| old != new);
    let shares = shares.map(|((field, name), [old, new])| Share {
        field: field.into(),
        name,
        old: percent(old),
        new: percent(new),
    });
    found.shares = shares.collect();
    found
}

fn facts(judged: &Judged, tenant: &TenantId) -> Vec<(&'static str, Option<String>)> {
    // What a directory says is not in the policy.
    let routing = &judged.rules.policy.routing;
    let tenant = homes::known_as(judged, tenant);
    let (_, group) = routing.belongs(&tenant, None);
    match routing.place(&tenant, None) {
        Ok(placement) => vec![
            ("access", Some("routed".into())),
            ("pool", placement.pool.as_deref().map(Into::into)),
            ("cohort", placement.cohort.map(|cohort| cohort.as_str().into())),
            ("jurisdiction", placement.jurisdiction.map(|jurisdiction| jurisdiction.as_str().into())),
            ("group", group.map(Into::into)),
        ],
        Err(_) => vec![
            ("access", Some("denied".into())),
            ("pool", None),
            ("cohort", None),
            ("jurisdiction", None),
            ("group", None),
        ],
    }
}

//! `tenants`, `routing`.

use std::sync::Arc;

use super::{directory, names};
use crate::decode::Seen;
use crate::directory::{DEDICATED, KnownPools};
use crate::document::{self, TenantCase, UnknownTenant};
use crate::id::TenantId;
use crate::policy::{ByName, Routing, Tenant};
use crate::pools::{Pools, WEIGHT_MAX};
use crate::problem::Problems;
use crate::rate::Rate;

#[inline(never)]
pub(super) fn compile(
    tenants: document::Tenants,
    routing: document::Routing,
    case: TenantCase,
    problems: &mut Problems,
) -> Routing {
    let hashed = pools(&routing.pools, problems);
    let dedicated = dedicated(&routing.dedicated, &hashed, problems);
    let known: Vec<&Arc<str>> = hashed.iter().map(|(name, _)| name).chain(&dedicated).collect();

    let mut compiled = ByName::with_capacity_and_hasher(tenants.entries.len(), Default::default());
    let mut groups: ByName<Arc<str>, Arc<str>> = ByName::default();
    for (id, entry) in &tenants.entries {
        let path = || format!("tenants.entries.{id}");
        let pool = entry.pool.as_deref().and_then(|pool| {
            let path = || format!("{}.pool", path());
            match known.iter().find(|name| &****name == pool) {
                Some(name) => Some(Arc::clone(name)),
                None if dedicated.is_empty() && pool.starts_with(DEDICATED) => {
                    Some(names::label(&path(), pool, problems))
                }
                None => {
                    problems.add(path(), unknown_pool(pool, &known));
                    None
                }
            }
        });
        let group = entry.group.as_deref().map(|name| match groups.get(name) {
            Some(group) => Arc::clone(group),
            None => {
                let group = group(&format!("{}.group", path()), name, problems);
                groups.insert(Arc::clone(&group), Arc::clone(&group));
                group
            }
        });
        match TenantId::new(id.as_bytes()) {
            Some(tenant) => {
                let (jurisdiction, cohort) = (entry.jurisdiction, entry.cohort);
                let tenant = if case == TenantCase::Lower { tenant.into_lower() } else { tenant };
                if compiled.insert(tenant, Tenant { pool, jurisdiction, cohort, group }).is_some() {
                    problems.add(
                        path(),
                        format!("{id:?} differs from another entry in case alone: expected each tenant once, for identity.tenant.case is lower"),
                    );
                }
            }
            None => problems.add(path(), format!("{id:?} is not a tenant id: expected {}", TenantId::EXPECTED)),
        }
    }
    if tenants.unknown == UnknownTenant::Deny && tenants.entries.is_empty() && tenants.directory.is_none() {
        problems.add(
            "tenants.unknown",
            "\"deny\" without entries refuses every tenant: expected \"route\", or the tenants in tenants.entries or a directory",
        );
    }

    let pins_a_cohort = tenants.entries.values().any(|entry| entry.cohort.is_some());
    let (canary, cohort_header) = match routing.canary {
        Some(canary) => {
            let rate = Rate::from_percent(canary.percent).unwrap_or_else(|| {
                problems.add(
                    "routing.canary.percent",
                    format!("{} is not {}", Seen(&canary.percent.into()), Rate::EXPECTED),
                );
                Rate::ZERO
            });
            (rate, Some(canary.header))
        }
        None => (Rate::ZERO, pins_a_cohort.then(|| document::Canary::default().header)),
    };
    let known_pools = KnownPools::new(known.into_iter().cloned().collect(), dedicated.is_empty());
    Routing {
        pool_header: names::header("routing.poolHeader", &routing.pool_header, problems),
        cohort_header: cohort_header.map(|header| names::header("routing.canary.header", &header, problems)),
        canary,
        pools: Pools::new(hashed),
        directory: tenants.directory.map(|directory| directory::compile(directory, &known_pools, problems)),
        tenants: compiled,
        deny_unknown: tenants.unknown == UnknownTenant::Deny,
        known_pools,
    }
}

/// What a claim can say: 1 to 128 characters, none of them a control character.
fn group(path: &str, name: &str, problems: &mut Problems) -> Arc<str> {
    if !(1..=128).contains(&name.len()) || name.contains(char::is_control) {
        problems.add(
            path,
            format!("{name:?} is not the name of a group: expected 1 to 128 bytes without control characters"),
        );
    }
    name.into()
}

fn pools(written: &[document::Pool], problems: &mut Problems) -> Vec<(Arc<str>, u64)> {
    let mut pools: Vec<(Arc<str>, u64)> = Vec::with_capacity(written.len());
    for (index, pool) in written.iter().enumerate() {
        let path = format!("routing.pools[{index}]");
        let name = names::label(&path, &pool.name, problems);
        if pools.iter().any(|(other, _)| *other == name) {
            problems.add(
                &path,
                format!("{name:?} is listed twice: expected each pool once, with a `weight` for a larger share"),
            );
        }
        if !(1..=WEIGHT_MAX).contains(&pool.weight) {
            problems.add(
                format!("{path}.weight"),
                format!("{} is not a weight: expected 1 to {WEIGHT_MAX}; a pool for pinned tenants alone belongs in routing.dedicated", pool.weight),
            );
        }
        pools.push((name, pool.weight.min(WEIGHT_MAX)));
    }
    pools
}

fn dedicated(written: &[String], hashed: &[(Arc<str>, u64)], problems: &mut Problems) -> Vec<Arc<str>> {
    let mut dedicated: Vec<Arc<str>> = Vec::with_capacity(written.len());
    for (index, name) in written.iter().enumerate() {
        let path = format!("routing.dedicated[{index}]");
        let name = names::label(&path, name, problems);
        if dedicated.contains(&name) || hashed.iter().any(|(other, _)| *other == name) {
            problems.add(
                &path,
                format!(
                    "{name:?} is a pool already: expected each pool once, in routing.pools or in routing.dedicated"
                ),
            );
        }
        dedicated.push(name);
    }
    dedicated
}

fn unknown_pool(pool: &str, known: &[&Arc<str>]) -> String {
    let names: Vec<&str> = known.iter().map(|name| &***name).collect();
    let known = if names.is_empty() { "a pool".to_owned() } else { format!("one of {}", names.join(", ")) };
    format!(
        "{pool:?} is not a pool: expected {known}; a pool that only pinned tenants are in is declared in routing.dedicated"
    )
}

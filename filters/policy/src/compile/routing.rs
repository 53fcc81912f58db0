//! `tenants`, `routing`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{directory, names};
use crate::decode::Seen;
use crate::directory::{DEDICATED, KnownPools, is_group};
use crate::document::{self, TenantCase, UnknownTenant};
use crate::id::{self, TenantId};
use crate::policy::Routing;
use crate::pools::{Pools, WEIGHT_MAX};
use crate::problem::Problems;
use crate::rate::Rate;
use crate::tenants::{Entry, Tenants, TenantsBuilder};

#[inline(never)]
pub(super) fn compile(
    tenants: document::Tenants,
    listed: Option<TenantsBuilder>,
    routing: document::Routing,
    cohort_header: Option<String>,
    case: TenantCase,
    problems: &mut Problems,
) -> Routing {
    let hashed = pools(&routing.pools, problems);
    let dedicated = dedicated(&routing.dedicated, &hashed, problems);
    let known: Vec<&Arc<str>> = hashed.iter().map(|(name, _)| name).chain(&dedicated).collect();

    let are_listed = !tenants.entries.is_empty() || listed.as_ref().is_some_and(|listed| !listed.is_empty());
    let known_pools = KnownPools::new(known.iter().map(|name| Arc::clone(name)).collect(), dedicated.is_empty());
    let listed = match listed {
        Some(listed) => check(listed, &known_pools, problems),
        None => entries(&tenants.entries, &known, dedicated.is_empty(), case, problems),
    };
    let compiled = build(listed, case, problems);
    if tenants.unknown == UnknownTenant::Deny && !are_listed && tenants.directory.is_none() {
        problems.add(
            "tenants.unknown",
            "\"deny\" without entries refuses every tenant: expected \"route\", or the tenants in tenants.entries or \
             a directory",
        );
    }

    let canary = routing.canary.map_or(Rate::ZERO, |canary| {
        Rate::from_percent(canary.percent).unwrap_or_else(|| {
            let seen = Seen(&canary.percent.into());
            problems.add("routing.canary.percent", format!("{seen} is not {}", Rate::EXPECTED));
            Rate::ZERO
        })
    });
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

/// Reads the entries of a document with care.
#[inline(never)]
fn entries(
    written: &BTreeMap<String, document::TenantEntry>,
    known: &[&Arc<str>],
    any_dedicated: bool,
    case: TenantCase,
    problems: &mut Problems,
) -> TenantsBuilder {
    let mut listed = TenantsBuilder::default();
    let mut folded: Vec<String> = Vec::new();
    for (id, entry) in written {
        let path = || format!("tenants.entries.{id}");
        if let Some(pool) = entry.pool.as_deref() {
            let path = || format!("{}.pool", path());
            if known.iter().any(|name| &***name == pool) {
            } else if any_dedicated && pool.starts_with(DEDICATED) {
                names::label(format_args!("{}", path()), pool, problems);
            } else {
                problems.add(path(), unknown_pool(pool, known));
            }
        }
        if let Some(name) = entry.group.as_deref().filter(|name| !is_group(name)) {
            problems.add(
                format!("{}.group", path()),
                format!("{name:?} is not the name of a group: expected 1 to 128 bytes without control characters"),
            );
        }
        if !id::is_tenant_id(id.as_bytes()) {
            problems.add(path(), format!("{id:?} is not a tenant id: expected {}", TenantId::EXPECTED));
        } else if case == TenantCase::Lower && !insert(&mut folded, id.to_ascii_lowercase()) {
            problems.add(
                path(),
                format!(
                    "{id:?} differs from another entry in case alone: expected each tenant once, for \
                     identity.tenant.case is lower"
                ),
            );
        } else {
            let (pool, group) = (entry.pool.as_deref().map(str::as_bytes), entry.group.as_deref().map(str::as_bytes));
            let entry = Entry { pool, jurisdiction: entry.jurisdiction, cohort: entry.cohort, group };
            if listed.push(id.as_bytes(), entry).is_none() {
                problems.add(path(), "is in a pool or group too many: expected fewer names in all");
            }
        }
    }
    listed
}

/// Adds a word to a sorted list. False when it is there already.
fn insert(words: &mut Vec<String>, word: String) -> bool {
    words.binary_search(&word).map_err(|place| words.insert(place, word)).is_err()
}

/// Checks the names in entries that have been read quickly: the reader has checked the rest.
#[inline(never)]
fn check(listed: TenantsBuilder, known: &KnownPools, problems: &mut Problems) -> TenantsBuilder {
    let good = listed.pools.iter().all(|pool| known.has(pool)) && listed.groups.iter().all(|group| is_group(group));
    if !good {
        problems.add("tenants.entries", "");
    }
    listed
}

#[inline(never)]
fn build(mut listed: TenantsBuilder, case: TenantCase, problems: &mut Problems) -> Tenants {
    if case == TenantCase::Lower {
        listed.fold();
    }
    listed.build().unwrap_or_else(|| {
        problems.add("tenants.entries", "");
        Tenants::default()
    })
}

#[inline(never)]
fn pools(written: &[document::Pool], problems: &mut Problems) -> Vec<(Arc<str>, u64)> {
    let mut pools: Vec<(Arc<str>, u64)> = Vec::with_capacity(written.len());
    for (index, pool) in written.iter().enumerate() {
        let path = format!("routing.pools[{index}]");
        let name = names::label(format_args!("{path}"), &pool.name, problems);
        if pools.iter().any(|(other, _)| *other == name) {
            problems.add(
                &path,
                format!("{name:?} is listed twice: expected each pool once, with a `weight` for a larger share"),
            );
        }
        if !(1..=WEIGHT_MAX).contains(&pool.weight) {
            problems.add(
                format!("{path}.weight"),
                format!(
                    "{} is not a weight: expected 1 to {WEIGHT_MAX}; a pool for pinned tenants alone belongs in \
                     routing.dedicated",
                    pool.weight
                ),
            );
        }
        pools.push((name, pool.weight.min(WEIGHT_MAX)));
    }
    pools
}

#[inline(never)]
fn dedicated(written: &[String], hashed: &[(Arc<str>, u64)], problems: &mut Problems) -> Vec<Arc<str>> {
    let mut dedicated: Vec<Arc<str>> = Vec::with_capacity(written.len());
    for (index, name) in written.iter().enumerate() {
        let path = format!("routing.dedicated[{index}]");
        let name = names::label(format_args!("{path}"), name, problems);
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
        "{pool:?} is not a pool: expected {known}; a pool that only pinned tenants are in is declared in \
         routing.dedicated"
    )
}

//! Which pool serves a tenant: rendezvous hashing, so that a pool more or less moves only the tenants that must move.
//!
//! Thaler and Ravishankar, "Using name-based mappings to increase hit rates" (1998): each pool scores the tenant, the
//! highest score wins. The score is `XXH64(tenant, seed = XXH64(pool, seed = replica))` (xxHash specification 0.1.1),
//! so that other tools can find the same pool. A pool of weight *n* has *n* replicas, each with a score of its own: its
//! chance to win is then exactly its share of the weights, in integers.

use std::sync::Arc;

use xxhash_rust::xxh64::xxh64;

use crate::rate::Random;

/// The largest weight of a pool: each unit is one hash per request.
pub const WEIGHT_MAX: u64 = 100;

/// The pools that tenants are hashed into.
#[derive(Debug, Clone, Default)]
pub struct Pools(Vec<Hashed>);

#[derive(Debug, Clone)]
struct Hashed {
    name: Arc<str>,
    /// One seed a replica.
    seeds: Vec<u64>,
}

// === impl Pools ===

impl Pools {
    pub(crate) fn new(pools: impl IntoIterator<Item = (Arc<str>, u64)>) -> Self {
        let hashed = |(name, weight): (Arc<str>, u64)| {
            let seeds = (0..weight).map(|replica| xxh64(name.as_bytes(), replica)).collect();
            Hashed { name, seeds }
        };
        Self(pools.into_iter().map(hashed).collect())
    }

    /// The pool of a tenant; none when there are no pools.
    pub fn of(&self, tenant: &str) -> Option<&Arc<str>> {
        let score = |pool: &Hashed| pool.seeds.iter().map(|seed| xxh64(tenant.as_bytes(), *seed)).max();
        // The order in the document must not matter, not even between equal scores.
        self.0.iter().max_by_key(|pool| (score(pool), &pool.name)).map(|pool| &pool.name)
    }
}

/// The number that decides whether a tenant is in the canary cohort. The same for ever, so a higher percentage adds
/// tenants and takes none out.
pub(crate) fn cohort_number(tenant: &str) -> Random {
    Random::from_hash(xxh64(tenant.as_bytes(), xxh64(b"release-cohort", 0)))
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use std::collections::BTreeMap;

    fn pools(weights: &[(&str, u64)]) -> Pools {
        Pools::new(weights.iter().map(|(name, weight)| ((*name).into(), *weight)))
    }

    fn tenants(count: usize) -> impl Iterator<Item = String> {
        (0..count).map(|number| format!("care-home-{number:04}"))
    }

    fn counts(pools: &Pools, count: usize) -> BTreeMap<String, f64> {
        let mut counts = BTreeMap::new();
        for tenant in tenants(count) {
            *counts.entry(pools.of(&tenant).unwrap().to_string()).or_insert(0.0) += 1.0;
        }
        counts
    }

    #[test]
    fn pools_fill_evenly() {
        let counts = counts(&pools(&[("pool-a", 1), ("pool-b", 1), ("pool-c", 1)]), 5_000);
        for (pool, count) in counts {
            let share = 5_000.0 / 3.0;
            assert!((count / share - 1.0).abs() <= 0.06, "{pool}: {count}");
        }
    }

    #[test]
    fn a_new_pool_takes_its_share_and_moves_nobody_else() {
        let three = pools(&[("pool-a", 1), ("pool-b", 1), ("pool-c", 1)]);
        let four = pools(&[("pool-d", 1), ("pool-c", 1), ("pool-b", 1), ("pool-a", 1)]);
        let mut moved = 0.0;
        for tenant in tenants(5_000) {
            let (before, after) = (three.of(&tenant).unwrap(), four.of(&tenant).unwrap());
            if before != after {
                assert_eq!(&**after, "pool-d");
                moved += 1.0;
            }
        }
        assert!((moved / 5_000.0 - 0.25_f64).abs() <= 0.03, "{moved}");
    }

    #[test]
    fn weights_are_shares() {
        let counts = counts(&pools(&[("large", 3), ("small", 1)]), 20_000);
        assert!((counts["large"] / 20_000.0 - 0.75).abs() < 0.02, "{counts:?}");
    }

    #[test]
    fn placement_never_changes_between_releases() {
        // Printed once and kept: if one of these moves, tenants lose their data's warm caches in production.
        let pools = pools(&[("pool-a", 1), ("pool-b", 1), ("pool-c", 1)]);
        let placed: Vec<_> = tenants(8).map(|tenant| pools.of(&tenant).unwrap().to_string()).collect();
        assert_eq!(placed.join(" "), "pool-a pool-b pool-c pool-c pool-c pool-b pool-b pool-b");
    }

    #[test]
    fn without_pools_there_is_none() {
        assert_eq!(pools(&[]).of("care-home-0001"), None);
    }
}

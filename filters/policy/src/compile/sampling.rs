//! `sampling`.

use std::collections::BTreeMap;

use super::names;
use crate::decode::Seen;
use crate::document;
use crate::policy::{Late, Tier};
use crate::problem::Problems;
use crate::rate::Rate;

/// The tiers by name.
pub(super) type Tiers = BTreeMap<String, Tier>;

#[inline(never)]
pub(super) fn tiers(sampling: &document::Sampling, problems: &mut Problems) -> Tiers {
    let mut tiers = Tiers::new();
    for (name, percent) in &sampling.tiers {
        let path = format!("sampling.tiers.{name}");
        let label = names::label(format_args!("{path}"), name, problems);
        let rate = Rate::from_value(percent).unwrap_or_else(|| {
            problems.add(&path, format!("{} is not {}", Seen(percent), Rate::EXPECTED));
            Rate::ZERO
        });
        // A tier whose rate is wrong still exists: what uses it is not wrong as well.
        tiers.insert(name.clone(), Tier { name: label, rate });
    }
    tiers
}

pub(super) fn late(late: &document::Late, problems: &mut Problems) -> Late {
    Late {
        denied: late.denied,
        server_errors: late.server_errors,
        unsampled_parents: late.unsampled_parents,
        slower_than: late
            .slower_than
            .as_deref()
            .map(|text| names::duration("sampling.late.slowerThan", text, problems)),
    }
}

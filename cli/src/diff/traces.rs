//! Traces a day that the tiers keep.

use careplane_policy::{Method, Policy, Rate};

use super::records::Compared;
use super::routes::Place;
use super::shape::Traces;
use crate::explain::Judged;

const SECONDS_A_DAY: f64 = 86_400.0;

/// The part of the traces that a rate keeps.
pub fn part(rate: Rate) -> f64 {
    rate.to_string().parse::<f64>().unwrap_or_default() / 100.0
}

pub fn compare(
    old: &Judged,
    new: &Judged,
    places: &[Place],
    records: Option<&Compared>,
    rate: Option<f64>,
) -> Option<Traces> {
    let given = rate.map(|rate| rate * SECONDS_A_DAY);
    if let Some(records) = records.filter(|records| records.requests > 0) {
        let requests_a_day = given.or_else(|| records.a_day())?;
        let requests = records.requests as f64;
        return Some(Traces {
            requests_a_day,
            shares: "records".into(),
            old: records.kept[0] / requests * requests_a_day,
            new: records.kept[1] / requests * requests_a_day,
        });
    }
    let requests_a_day = given?;
    let asked: Vec<(&Place, &str)> =
        places.iter().flat_map(|place| place.asked_methods().iter().map(move |method| (place, *method))).collect();
    let kept = |policy: &Policy| {
        let rates = asked.iter().map(|(place, method)| {
            let about = policy.classify(Method::new(method.as_bytes()), place.path(None).as_bytes());
            part(about.context.tier.rate)
        });
        rates.sum::<f64>() / asked.len().max(1) as f64 * requests_a_day
    };
    Some(Traces { requests_a_day, shares: "routes".into(), old: kept(&old.rules.policy), new: kept(&new.rules.policy) })
}

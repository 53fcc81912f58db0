//! Traces a day that the tiers keep.

use careplane_policy::{Method, Policy};

use super::records::{Compared, kept_share};
use super::routes::RouteTemplate;
use super::shape::Traces;
use crate::explain::Judged;

const SECONDS_A_DAY: f64 = 86_400.0;

pub fn compare(
    old: &Judged,
    new: &Judged,
    templates: &[RouteTemplate],
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
    let asked: Vec<(&RouteTemplate, &str)> =
        templates.iter().flat_map(|route| route.usual_methods().iter().map(move |method| (route, *method))).collect();
    let kept = |policy: &Policy| {
        let rates = asked.iter().map(|(route, method)| {
            let about = policy.classify(Method::new(method.as_bytes()), route.path(None).as_bytes());
            kept_share(about.context.tier.rate)
        });
        rates.sum::<f64>() / asked.len().max(1) as f64 * requests_a_day
    };
    Some(Traces { requests_a_day, shares: "routes".into(), old: kept(&old.rules.policy), new: kept(&new.rules.policy) })
}

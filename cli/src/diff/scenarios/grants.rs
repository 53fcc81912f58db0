//! Callers that a grant of either policy could let in: what their claims say, for what purpose, and which tenant they
//! reach for.

use careplane_policy::{Claim, Grant, Policy, Source, Test};
use serde_json::Value;

use super::callers::Sources;
use super::peers::Peer;
use super::{Scenario, is_same, name};
use crate::diff::homes::Homes;
use crate::explain::Judged;

/// How many callers are tried for one grant.
const CALLERS_MAX: usize = 512;
/// A list with an item that no grant asks for tells `equals` from `contains`.
const OTHER_ITEM: &str = "made-up";
/// What no grant accepts.
const OTHER_PURPOSE: &str = "made-up";

/// All callers of the grants.
pub fn all(
    judged: [&Judged; 2],
    sources: &Sources<'_>,
    peers: &[Peer],
    homes: &Homes<'_>,
    left_out: &mut Vec<String>,
) -> Vec<Scenario> {
    let mut found = Vec::new();
    let grants = judged.into_iter().flat_map(|judged| &judged.rules.policy.identity.grants);
    let mut conditions = grants.flat_map(|grant| &grant.when);
    let has_equals = conditions.any(|condition| matches!(condition.test, Test::Equals(_)));
    let trusted = peers.iter().find(|peer| peer.trust == [true, true]);
    let trusted = trusted.or_else(|| peers.iter().find(|peer| peer.trust != [false, false]));
    let own = sources.tenant.iter().find_map(|source| match source {
        Source::Claim(claim) => Some(claim),
        _ => None,
    });
    let [first, second] = homes.pair();
    for (side, policy) in judged.map(|judged| &judged.rules.policy).into_iter().enumerate() {
        for grant in &policy.identity.grants {
            let (reached, more) = homes.reached(grant, side);
            if reached.is_empty() && policy.routing.directory.is_some() {
                left_out.push(format!("grant {}: the tenants that it reaches are in the directory alone", grant.name));
            }
            if more > 0 {
                left_out.push(format!("grant {}: {more} of the tenants whose group changes", grant.name));
            }
            let values: Vec<Vec<Value>> =
                grant.when.iter().map(|condition| values(&condition.test, has_equals)).collect();
            let said = purposes(grant, policy, &sources.purpose);
            let selects: Vec<&Source> =
                sources.tenant.iter().copied().filter(|source| !matches!(source, Source::Claim(_))).collect();
            // Who has a tenant of their own needs the grant also where a trusted peer names another one.
            let owns: &[Option<&Claim>] = if own.is_some() { &[None, own] } else { &[None] };
            let sizes = [said.len(), reached.len(), selects.len(), owns.len()];
            let sizes = values.iter().map(Vec::len).chain(sizes);
            let (choices, are_all) = choices(&sizes.collect::<Vec<_>>());
            if !are_all {
                let message = "grant {}: values of claims, purposes and tenants were tried one by one, not together";
                left_out.push(message.replace("{}", &grant.name));
            }
            for choice in choices {
                let [conditions @ .., said_at, reached_at, selects_at, owns_at] = choice.as_slice() else { continue };
                let (Some(said), Some(home), Some(selects), Some(own)) =
                    (said.get(*said_at), reached.get(*reached_at), selects.get(*selects_at), owns.get(*owns_at))
                else {
                    continue;
                };
                let mut scenario = Scenario::new("").with(selects, home.id.as_str());
                if let (Source::Query(_), Some(peer)) = (selects, trusted) {
                    // Of others it is not read.
                    scenario = scenario.of(peer);
                }
                let own_home = if home.id.as_str() == first { second } else { first };
                own.iter().for_each(|claim| scenario.sent.add(claim, &own_home.into()));
                for ((condition, values), at) in grant.when.iter().zip(&values).zip(conditions) {
                    values.get(*at).into_iter().for_each(|value| scenario.sent.add(&condition.claim, value));
                }
                scenario.sent.belonging(grant, policy, &home.id);
                let mut terms: Vec<String> = scenario
                    .sent
                    .claims
                    .iter()
                    .map(|(names, value)| format!("claim {}: {}", names.join("."), text(value)))
                    .collect();
                for (source, purpose) in said {
                    scenario.sent.put(source, purpose);
                    terms.push(format!("{}: {purpose}", name(source)));
                }
                if said.is_empty() && !grant.purposes.is_empty() {
                    terms.push("without a purpose".into());
                }
                scenario.caller = format!(
                    "a caller under grant {} ({}), {} in {}",
                    grant.name,
                    terms.join(", "),
                    home.id,
                    name(selects)
                );
                found.push(scenario);
            }
        }
    }
    found
}

/// What a claim can say that passes, and the first of it in a list.
fn values(test: &Test, as_list: bool) -> Vec<Value> {
    let accepted: Vec<&str> = match test {
        Test::Equals(value) => vec![value],
        Test::AnyOf(values) => values.iter().map(String::as_str).collect(),
    };
    let list = accepted.first().filter(|_| as_list).map(|first| Value::from(vec![*first, OTHER_ITEM]));
    accepted.into_iter().map(Value::from).chain(list).collect()
}

/// What sources say of the purpose: each that a grant accepts, from each source, its policy's own first; the first of
/// them from each source while another says something else, for the order of sources decides; and nothing.
fn purposes<'s>(grant: &Grant, policy: &'s Policy, sources: &[&'s Source]) -> Vec<Vec<(&'s Source, &'static str)>> {
    let own = &policy.identity.purpose_sources;
    let others = sources.iter().copied().filter(|source| !own.iter().any(|known| is_same(known, source)));
    let sources: Vec<&Source> = own.iter().chain(others).collect();
    let accepted = grant.purposes.iter().map(|purpose| purpose.as_str());
    let alone = sources.iter().flat_map(|source| accepted.clone().map(|purpose| vec![(*source, purpose)]));
    let beside = sources.iter().flat_map(|source| {
        let others = sources.iter().filter(|other| !is_same(other, source));
        let first = accepted.clone().next();
        others.filter_map(move |other| Some(vec![(*source, first?), (*other, OTHER_PURPOSE)]))
    });
    alone.chain(beside).chain([Vec::new()]).collect()
}

/// One index for each size: all combinations, or, where these are too many, each index with the first of the others.
/// And whether it is all.
fn choices(sizes: &[usize]) -> (Vec<Vec<usize>>, bool) {
    if sizes.contains(&0) {
        return (Vec::new(), true);
    }
    let count = sizes.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
    if let Some(count) = count.filter(|count| *count <= CALLERS_MAX) {
        let choice = |mut number: usize| {
            let index = |size: &usize| {
                let index = number % size;
                number /= size;
                index
            };
            sizes.iter().map(index).collect()
        };
        return ((0..count).map(choice).collect(), true);
    }
    let first = vec![0; sizes.len()];
    let alone = sizes.iter().enumerate().flat_map(|(place, size)| (1..*size).map(move |index| (place, index)));
    let alone = alone.map(|(place, index)| {
        let mut choice = first.clone();
        choice.iter_mut().skip(place).take(1).for_each(|at| *at = index);
        choice
    });
    ([first.clone()].into_iter().chain(alone).collect(), false)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_all_or_one_by_one() {
        let (all, are_all) = choices(&[2, 3]);
        assert_eq!((all.len(), are_all), (6, true));
        assert_eq!(all[0], [0, 0]);
        let (some, are_all) = choices(&[2, 300]);
        assert_eq!((some.len(), are_all), (1 + 1 + 299, false));
        assert!(some.contains(&vec![1, 0]) && some.contains(&vec![0, 299]) && !some.contains(&vec![1, 1]));
        assert_eq!(choices(&[2, 0]).0, Vec::<Vec<usize>>::new());
    }
}

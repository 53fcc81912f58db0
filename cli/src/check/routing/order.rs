//! Which tenants' requests a route takes, and whether it leads to where they belong.

use careplane_policy::document::Document as PolicyDocument;

use super::{CANARY, Routes, STABLE, Written};
use crate::check::finding::{Findings, Related};
use crate::check::mesh::{GATEWAY_API, Policy};
use crate::check::routes::{Request, Route, Table, sample_path};
use crate::check::rules;

/// A route that takes the requests of some tenants before the route that is for them.
struct Shadow<'t, 'd> {
    taker: &'t Route<'d>,
    /// The pool or cohort, as messages name it: `pool "pool-b"`
    tenants: Vec<String>,
    related: Vec<Related>,
}

/// Routes that match one value and lead to the subset, or the Service, of another.
pub fn misrouted(policy: &Policy<'_>, written: &[Written<'_>], routes: &Routes<'_, '_>, findings: &mut Findings) {
    for route in routes.tables.iter().flat_map(|table| &table.routes) {
        for one in written {
            let conditions: Vec<_> = route.conditions.reads(one.header).collect();
            let Some(condition) = conditions.iter().find(|it| it.value.exactly() == Some(one.value)) else { continue };
            // Alternatives, or a share of the traffic, can be meant.
            let alternatives = route.rule.list(&["match"]).len().max(route.rule.list(&["matches"]).len());
            let destinations = route.destinations();
            if alternatives > 1 || destinations.len() > 1 {
                continue;
            }
            for destination in destinations {
                let named = destination.subset.unwrap_or(destination.node).as_text().unwrap_or_default();
                let is_other = |other: &str| match destination.subset {
                    Some(_) => named == other,
                    None => named.strip_suffix(other).is_some_and(|rest| rest.is_empty() || rest.ends_with('-')),
                };
                let others = written.iter().filter(|other| other.header == one.header).map(|other| other.value);
                let others = others.chain((one.value == CANARY).then_some(STABLE));
                if routes.serves(&destination, one.value)
                    || !others.into_iter().any(|it| it != one.value && is_other(it))
                {
                    continue;
                }
                let what = if destination.subset.is_some() { "subset" } else { "Service" };
                findings.add_related(
                    &rules::MISROUTED,
                    &destination.node.place,
                    format!(
                        "{} leads to {what} {named:?} in {}: expected {:?}",
                        one.title,
                        route.owner.title(),
                        if destination.subset.is_some() { one.value.to_owned() } else { format!("…-{}", one.value) },
                    ),
                    vec![
                        Related::new(condition.place, "matched here"),
                        Related::new(policy.place(&one.path), "from the policy"),
                    ],
                );
            }
        }
    }
}

/// A request of each kind that the policy knows.
pub fn samples(document: &PolicyDocument) -> Vec<Request> {
    let matches = document.contexts.iter().flat_map(|context| context.matches.iter().flatten());
    matches
        .filter_map(|one| {
            let method = one.methods.iter().flatten().next().map_or("GET", String::as_str);
            Some(Request::new(method, &sample_path(one.path.as_deref()?)))
        })
        .collect()
}

/// Routes for a pool or a cohort that others come before.
pub fn shadowed<'d>(
    policy: &Policy<'_>,
    written: &[Written<'_>],
    samples: &[Request],
    table: &Table<'d>,
    routes: &Routes<'_, 'd>,
    findings: &mut Findings,
) {
    let mut shadows: Vec<Shadow<'_, 'd>> = Vec::new();
    for route in &table.routes {
        for one in written.iter().filter(|one| route.conditions.wants(one.header, one.value)) {
            for (tenants, headers) in tenants(one, written) {
                let Some(taker) = taker(table, route, one, (&headers, samples), written, routes) else { continue };
                let at = route.conditions.reads(one.header).next().map_or(route.place, |condition| condition.place);
                let related = [
                    Related::new(at, format!("the route for {} comes after it", one.title)),
                    Related::new(policy.place(&one.path), "from the policy"),
                ];
                let position = shadows.iter().position(|known| std::ptr::eq(known.taker, taker)).unwrap_or_else(|| {
                    shadows.push(Shadow { taker, tenants: Vec::new(), related: Vec::new() });
                    shadows.len() - 1
                });
                let shadow = &mut shadows[position];
                if !shadow.tenants.contains(&tenants) {
                    shadow.tenants.push(tenants);
                }
                for related in related {
                    if !shadow.related.contains(&related) {
                        shadow.related.push(related);
                    }
                }
            }
        }
    }
    for Shadow { taker, tenants, related } in shadows {
        let expected = if taker.owner.group == GATEWAY_API {
            "expected a rule for them that comes first: the longer path does, then the one with a method, then the \
             one with more headers"
        } else {
            "expected the route for them before it"
        };
        findings.add_related(
            &rules::MISROUTED,
            taker.place,
            format!("{} takes the requests of {} first: {expected}", taker.title(), tenants.join(", ")),
            related,
        );
    }
}

/// Whose requests have a value: what messages call them, and their headers. The cohort comes before the pool, so each
/// pool has to let its canary tenants go.
fn tenants<'p>(one: &Written<'p>, written: &[Written<'p>]) -> Vec<(String, Vec<(&'p str, &'p str)>)> {
    let cohort = written.iter().find(|other| other.value == CANARY);
    if one.value != CANARY {
        let stable = cohort.map(|cohort| (cohort.header, STABLE));
        return vec![(one.title.clone(), stable.into_iter().chain([(one.header, one.value)]).collect())];
    }
    let pools = written.iter().filter(|other| other.value != CANARY);
    let mut tenants: Vec<(String, Vec<(&str, &str)>)> = pools
        .map(|pool| {
            (format!("{} in {}", one.title, pool.title), vec![(one.header, one.value), (pool.header, pool.value)])
        })
        .collect();
    if tenants.is_empty() {
        tenants.push((one.title.clone(), vec![(one.header, one.value)]));
    }
    tenants
}

/// The route that takes the requests which `route` is for, if another does and is not for them. A route for some paths
/// can be meant to go before; one for other tenants cannot, nor one that takes everything that `route` is for, or all
/// of it that the policy knows.
fn taker<'t, 'd>(
    table: &'t Table<'d>,
    route: &Route<'d>,
    one: &Written<'_>,
    (headers, samples): (&[(&str, &str)], &[Request]),
    written: &[Written<'_>],
    routes: &Routes<'_, 'd>,
) -> Option<&'t Route<'d>> {
    let is_wrong = |taker: &&Route<'d>| {
        let destinations = taker.destinations();
        let serves = !destinations.is_empty() && destinations.iter().all(|it| routes.serves(it, one.value));
        !taker.conditions.wants(one.header, one.value) && !serves
    };
    let is_for_tenants =
        |taker: &&Route<'d>| written.iter().any(|other| taker.conditions.reads(other.header).next().is_some());
    let takers = |requests: &mut dyn Iterator<Item = Request>| -> Vec<&'t Route<'d>> {
        requests
            .map(|request| headers.iter().fold(request, |request, (name, value)| request.with(name, value)))
            .filter(|request| route.conditions.accept(request))
            .filter_map(|request| table.decide(&request))
            .collect()
    };
    let wrong = |takers: &[&'t Route<'d>]| {
        let is_reached = takers.iter().any(|taker| std::ptr::eq(*taker, route));
        takers.iter().copied().find(|taker| is_wrong(taker) && (!is_reached || is_for_tenants(taker)))
    };
    wrong(&takers(&mut route.conditions.examples().into_iter()))
        .or_else(|| wrong(&takers(&mut samples.iter().map(|sample| route.conditions.fit(sample.clone())))))
}

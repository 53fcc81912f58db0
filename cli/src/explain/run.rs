//! One request through the filters, as the module does it (`plugin/src/stream.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use careplane_audit::FILTER_STATE;
use careplane_exchange::memory::MemoryHost;
use careplane_exchange::{
    Denial, Exchange, FORCE_TRACE, HeaderMap, Host, LocalReply, Map, REQUEST_ID, SPAN_TAGS, TraceReason, is_traced,
};
use careplane_policy::Routing;
use careplane_policy::document::ProxyLog;

use super::account::{Account, Asked, DecisionAccount, HeaderAccount, PlacementAccount, RecordAccount, TraceAccount};
use super::request::{Request, property};
use super::{Judged, context, identity};
use crate::filters;

/// Where in a request id Envoy keeps why it traces: `a` is "a filter asked" (`UUIDRequestIDExtension`).
const TRACE_REASON: usize = 14;

pub fn run(judged: &Judged, request: &Request, plugin: &str) -> Account {
    let mut host = MemoryHost::with_request(request.headers.iter().map(|(name, value)| (name, value)));
    for (name, claim) in &request.claims {
        host = host.with_claim(name, property(claim));
    }
    if let Some(peer) = &request.peer {
        host = host.with_peer(peer);
    }
    let filters = filters::named(plugin);
    let exchange = Exchange::open(Arc::clone(&judged.rules), &host);
    let mut refused_by = None;
    for (name, filter) in &filters {
        filter.on_request(&exchange, &host);
        if exchange.denial().is_some() {
            refused_by = Some(*name);
            break;
        }
    }
    let decides = filters::includes(plugin, filters::SAMPLING) || exchange.denial().is_some();
    let trace = trace(&exchange, judged, request, decides);
    let reply = exchange.apply(&host);
    let headers = if reply.is_none() { headers(request, &host) } else { Vec::new() };
    let span = SPAN_TAGS
        .into_iter()
        .filter_map(|tag| Some((tag, host.property_text(&format!("wasm.careplane.{tag}"))?)))
        .collect();
    let host = answered(host, reply.as_ref());
    envoy_decides(&host, trace.decided && trace.kept);
    for (_, filter) in &filters {
        filter.on_response(&exchange, &host);
    }
    for (_, filter) in &filters {
        filter.on_log(&exchange, &host);
    }
    let record = host.property_text(&format!("wasm.{FILTER_STATE}")).and_then(|text| serde_json::from_str(&text).ok());

    let (document, node) = (&judged.document, &judged.node);
    let found = exchange.identity(&host);
    Account {
        plugin: plugin.into(),
        request: Asked { method: request.method.clone(), path: request.path.clone() },
        path: context::path(request),
        context: context::context(&exchange, document, node, request),
        peer: identity::peer(&exchange, found, document, node),
        tenant: identity::tenant(&exchange, found, request, node),
        user: identity::user(&exchange, found, request, node),
        placement: placement(&exchange, &host, judged),
        trace,
        decision: decision(reply, exchange.denial(), refused_by, &host),
        headers,
        span,
        record: record.map(|record| RecordAccount { sinks: sinks(judged), real_pseudonyms: judged.has_key, record }),
    }
}

/// The stream at its end: answered by the upstream, or by the filter that refused.
fn answered(host: MemoryHost, reply: Option<&LocalReply>) -> MemoryHost {
    let (status, details) = reply.map_or((200, "via_upstream"), |reply| (reply.status, reply.details.as_str()));
    let details = details.to_owned();
    host.with_property("response.code", i64::from(status).to_le_bytes()).with_property("response.code_details", details)
}

/// Envoy takes its trace decision again, and keeps it in the request id.
fn envoy_decides(host: &MemoryHost, kept: bool) {
    let id = host.request_header(REQUEST_ID).into_iter().next();
    if let Some(mut id) = id.filter(|id| kept && !is_traced(id.as_bytes())) {
        id.replace_range(TRACE_REASON..=TRACE_REASON, "a");
        // A host in memory takes every write.
        let _ = host.set_header(Map::Request, REQUEST_ID, &id);
    }
}

fn trace(exchange: &Exchange, judged: &Judged, request: &Request, decided: bool) -> TraceAccount {
    let decision = exchange.trace_decision();
    let tier = &exchange.about().context.tier;
    let path = match decision.reason {
        TraceReason::Denied => "sampling.late.denied".to_owned(),
        _ => format!("sampling.tiers.{}", tier.name),
    };
    TraceAccount {
        decided,
        kept: decision.kept,
        reason: decision.reason.as_str(),
        tier: tier.name.to_string(),
        rate: tier.rate.to_string(),
        rule: context::rule(&judged.node, path),
        number: request.number().map(|number| number.hundredths()),
        assumed: request.any_number,
    }
}

fn placement(exchange: &Exchange, host: &dyn Host, judged: &Judged) -> Option<PlacementAccount> {
    let (document, node) = (&judged.document, &judged.node);
    let tenant = exchange.identity(host).tenant.as_ref()?;
    let entry_path = format!("tenants.entries.{}", tenant.as_str());
    let Ok(placement) = exchange.placement(host) else {
        return Some(PlacementAccount {
            refused: true,
            pool: None,
            pool_rule: Some(context::rule(node, "tenants.unknown")),
            pool_why: "not a tenant of tenants.entries".into(),
            cohort: None,
            cohort_why: String::new(),
            jurisdiction: None,
            regulator: None,
        });
    };
    let placement = placement?;
    let pools: Vec<&str> = document.routing.pools.iter().map(|pool| pool.name.as_str()).collect();
    let (pool_rule, pool_why) = match (placement.pinned, &placement.pool) {
        (true, _) => (Some(context::rule(node, format!("{entry_path}.pool"))), "pinned".to_owned()),
        (false, Some(_)) => {
            (Some(context::rule(node, "routing.pools")), format!("hashed into one of {}", pools.join(", ")))
        }
        (false, None) => (None, "the policy has no pools".to_owned()),
    };
    let entry = document.tenants.entries.get(tenant.as_str());
    let cohort_why = match (entry.and_then(|entry| entry.cohort), &document.routing.canary, placement.cohort) {
        (_, _, None) => "the policy has no cohorts".to_owned(),
        (Some(_), _, Some(_)) => format!("pinned by {entry_path}.cohort"),
        (None, canary, Some(_)) => {
            let number = f64::from(Routing::cohort_number(tenant).hundredths()) / 100.0;
            let percent = canary.as_ref().map_or(0.0, |canary| canary.percent);
            format!("the tenant's number {number:.2} against routing.canary.percent {percent}")
        }
    };
    Some(PlacementAccount {
        refused: false,
        pool: placement.pool.as_deref().map(Into::into),
        pool_rule,
        pool_why,
        cohort: placement.cohort.map(|cohort| cohort.as_str()),
        cohort_why,
        jurisdiction: placement.jurisdiction.map(|jurisdiction| jurisdiction.as_str()),
        regulator: placement.jurisdiction.map(|jurisdiction| jurisdiction.regulator()),
    })
}

fn decision(
    reply: Option<LocalReply>,
    denial: Option<Denial>,
    by: Option<&'static str>,
    host: &MemoryHost,
) -> DecisionAccount {
    let echoed = host.header_map(Map::Response).and_then(HeaderMap::new).unwrap_or_default();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let echoed = echoed.iter().map(|(name, value)| (text(name), text(value))).collect();
    match reply {
        None => DecisionAccount {
            result: "allowed",
            by: None,
            code: None,
            status: None,
            grpc_status: None,
            headers: echoed,
            body: None,
        },
        Some(reply) => DecisionAccount {
            result: "denied",
            by,
            code: denial.map(Denial::code),
            status: Some(reply.status),
            grpc_status: Some(reply.grpc_status),
            headers: reply.headers,
            body: Some(reply.body),
        },
    }
}

/// What the upstream gets otherwise than it was sent.
fn headers(request: &Request, host: &MemoryHost) -> Vec<HeaderAccount> {
    let mut names: BTreeMap<&str, (Vec<String>, Vec<String>)> = BTreeMap::new();
    for (name, value) in &request.headers {
        names.entry(name).or_default().0.push(value.clone());
    }
    let written = host.header_map(Map::Request).and_then(HeaderMap::new).unwrap_or_default();
    let written: Vec<(String, String)> = written
        .iter()
        .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), String::from_utf8_lossy(value).into_owned()))
        .collect();
    for (name, value) in &written {
        names.entry(name).or_default().1.push(value.clone());
    }
    let changed = names.into_iter().filter(|(_, (before, after))| before != after);
    changed
        // A word to Envoy, which takes it for itself.
        .filter(|(name, _)| *name != FORCE_TRACE)
        .map(|(name, (before, after))| HeaderAccount { name: name.into(), before, after })
        .collect()
}

fn sinks(judged: &Judged) -> Vec<&'static str> {
    let sinks = &judged.document.audit.sinks;
    let proxy_log = match sinks.proxy_log {
        ProxyLog::All => true,
        ProxyLog::Overflow => !sinks.access_log,
        ProxyLog::Off => false,
    };
    let sinks = [(sinks.access_log, "access log"), (proxy_log, "proxy log")];
    sinks.into_iter().filter(|(is_on, _)| *is_on).map(|(_, name)| name).collect()
}

//! One request through the filters, as the module does it (`plugin/src/stream.rs`).

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use careplane_audit::{FILTER_STATE, SHADOW_FILTER_STATE};
use careplane_exchange::memory::{Call, MemoryHost};
use careplane_exchange::{
    Denial, FORCE_TRACE, HeaderMap, Host, Incoming, LocalReply, MapType, REQUEST_ID, Rules, SPAN_TAGS, TraceReason,
    is_traced,
};
use careplane_export::{ExportQueue, ExportTarget, Exporter, Resource};
use careplane_pipeline::{Decided, Filters, Parts, Plugin, Stream};
use careplane_policy::Routing;
use careplane_policy::document::ProxyLog;
use serde_json::Value;

use super::explanation::{
    DecisionExplanation, Explanation, HeaderExplanation, PlacementExplanation, RecordExplanation, RequestLine,
    ShadowExplanation, TraceExplanation, WriteAheadExplanation,
};
use super::request::{Request, property};
use super::{CollectorAnswer, Judged, context, entry_of, grants, identity};
use crate::filters;

/// Where in a request id Envoy keeps why it traces: `a` is "a filter asked" (`UUIDRequestIDExtension`).
const TRACE_REASON: usize = 14;

/// What the filters make of a request, before anything of it is applied, and the proxy that they asked. It has no
/// clock, so that no request uses up a grant with a limit for the next.
pub fn decide(judged: &Judged, request: &Request, plugin: &str) -> (Decided, MemoryHost) {
    let host = host(request);
    host.fail(Call::Elapsed);
    (self::plugin(Arc::clone(&judged.rules), plugin).decide(&host), host)
}

pub fn run(judged: &Judged, request: &Request, plugin: &str, collector: CollectorAnswer) -> Explanation {
    let host = host(request);
    // Twice through the same filters: once to ask each decision, once as a stream of the module, with all that it does
    // to the proxy. That uses up a grant with a limit, so the rules are its own.
    let (Decided { request: incoming, refused_by }, _) = decide(judged, request, plugin);
    let mut stream = Stream::new(self::plugin(Arc::new(Rules::clone(&judged.rules)), plugin));
    stream.on_request_headers(&host);
    let write_ahead = stream.awaited_call().map(|call| {
        stream.on_answer(call, &collector.answer(), &host);
        WriteAheadExplanation {
            rule: match incoming.identity(&host).grant.as_ref().filter(|_| incoming.identity(&host).writes_ahead()) {
                Some(grant) => context::rule(&judged.node, format!("identity.grants[{}].writeAhead", grant.index)),
                None => context::rule(&judged.node, "audit.writeAhead"),
            },
            collector: judged.document.export.as_ref().and_then(|export| export.cluster.clone()).unwrap_or_default(),
            acknowledged: collector == CollectorAnswer::Acknowledges,
        }
    });
    let reply = host.replies().pop();
    let code = reply.as_ref().and_then(|reply| Denial::from_details(&reply.details));
    let shadow = incoming.is_shadow().then(|| shadow(&incoming, refused_by));
    let refused_by = refused_by.or(code.map(|_| filters::AUDIT));
    let decides = filters::includes(plugin, filters::SAMPLING) || code.is_some();
    let trace = trace(&incoming, code, judged, request, decides);
    let headers = if reply.is_none() { headers(request, &host) } else { Vec::new() };
    let span = SPAN_TAGS
        .into_iter()
        .filter_map(|tag| Some((tag, host.property_text(&format!("wasm.careplane.{tag}"))?)))
        .collect();
    let host = answered(host, reply.as_ref());
    // In shadow Envoy is not asked.
    envoy_decides(&host, trace.decided && trace.kept && shadow.is_none());
    stream.on_response_headers(&host);
    stream.on_log(&host);
    let states = [FILTER_STATE, SHADOW_FILTER_STATE];
    let record: Option<Value> = states
        .iter()
        .find_map(|state| host.property_text(&format!("wasm.{state}")))
        .and_then(|text| serde_json::from_str(&text).ok());

    let (document, node) = (&judged.document, &judged.node);
    let found = incoming.identity(&host);
    Explanation {
        plugin: plugin.into(),
        request: RequestLine { method: request.method.clone(), path: request.path.clone() },
        path: context::path(request),
        context: context::context(&incoming, document, node, request),
        peer: identity::peer(&incoming, found, document, node),
        tenant: identity::tenant(&incoming, found, request, node),
        grants: grants::explain(&incoming, found, &host, judged),
        user: identity::user(&incoming, found, request, node),
        placement: placement(&incoming, &host, judged),
        trace,
        write_ahead,
        decision: decision(reply, code, refused_by, &host),
        shadow,
        headers,
        span,
        record: record.map(|record| RecordExplanation {
            sinks: sinks(judged),
            real_pseudonyms: judged.has_key,
            record,
        }),
    }
}

/// What enforcement would have done.
fn shadow(incoming: &Incoming, refused_by: Option<&'static str>) -> ShadowExplanation {
    ShadowExplanation {
        result: if incoming.denial().is_some() { "denied" } else { "allowed" },
        by: refused_by.filter(|_| incoming.denial().is_some()),
        code: incoming.denial().map(Denial::code),
        status: incoming.denial().map(Denial::status),
    }
}

/// The proxy as the request finds it.
fn host(request: &Request) -> MemoryHost {
    let mut host = MemoryHost::with_request(request.headers.iter().map(|(name, value)| (name, value)));
    for (names, claim) in &request.claims {
        if let Some(claim) = property(claim) {
            host = host.with_claim_at(names, claim);
        }
    }
    match &request.peer {
        Some(peer) => host.with_peer(peer),
        None => host,
    }
}

/// The plugin as the module makes it, with a way to a collector that is not there.
fn plugin(rules: Arc<Rules>, name: &str) -> Plugin {
    let exporter = rules.policy.export.clone().map(|export| {
        let queue = Rc::new(ExportQueue::default());
        queue.attach();
        Exporter::new(
            queue,
            Rc::new(ExportTarget { export, resource: Resource::default(), overflow_in_proxy_log: true }),
        )
    });
    let parts = Parts { exporter, ..Parts::default() };
    Plugin { filters: Filters::named(name, &rules, parts), rules }
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
        let _ = host.set_header(MapType::RequestHeaders, REQUEST_ID, &id);
    }
}

fn trace(
    incoming: &Incoming,
    denial: Option<Denial>,
    judged: &Judged,
    request: &Request,
    decided: bool,
) -> TraceExplanation {
    // What the collector refuses, the filters have not seen refused.
    denial.into_iter().for_each(|denial| incoming.deny(denial));
    let decision = incoming.trace_decision();
    let tier = &incoming.about().context.tier;
    let path = match decision.reason {
        TraceReason::Denied => "sampling.late.denied".to_owned(),
        TraceReason::Emergency => "identity.grants".to_owned(),
        _ => format!("sampling.tiers.{}", tier.name),
    };
    TraceExplanation {
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

fn placement(incoming: &Incoming, host: &dyn Host, judged: &Judged) -> Option<PlacementExplanation> {
    let (document, node) = (&judged.document, &judged.node);
    let tenant = incoming.identity(host).tenant.as_ref()?;
    let (name, entry) = entry_of(document, tenant.as_str()).unzip();
    let entry_path = format!("tenants.entries.{}", name.unwrap_or_default());
    let Ok(placement) = incoming.placement(host) else {
        return Some(PlacementExplanation {
            refused: true,
            pool: None,
            pool_rule: Some(context::rule(node, "tenants.unknown")),
            pool_why: match document.tenants.directory {
                Some(_) if judged.rules.directory.get().is_none() => {
                    "not a tenant of tenants.entries, and no directory has come (--directory)".into()
                }
                Some(_) => "neither a tenant of tenants.entries nor of the directory".into(),
                None => "not a tenant of tenants.entries".into(),
            },
            cohort: None,
            cohort_why: String::new(),
            jurisdiction: None,
            regulator: None,
        });
    };
    let placement = placement?;
    let directory = judged.rules.directory.get();
    let listed = directory.as_deref().and_then(|directory| directory.find(tenant.as_str()));
    let pools: Vec<&str> = document.routing.pools.iter().map(|pool| pool.name.as_str()).collect();
    let (pool_rule, pool_why) = match (placement.pinned, &placement.pool) {
        (true, _) if entry.is_none_or(|entry| entry.pool.is_none()) => {
            (Some(context::rule(node, "tenants.directory")), "pinned in the directory".to_owned())
        }
        (true, _) => (Some(context::rule(node, format!("{entry_path}.pool"))), "pinned".to_owned()),
        (false, Some(_)) => {
            (Some(context::rule(node, "routing.pools")), format!("hashed into one of {}", pools.join(", ")))
        }
        (false, None) => (None, "the policy has no pools".to_owned()),
    };
    let cohort_why = match (entry.and_then(|entry| entry.cohort), &document.routing.canary, placement.cohort) {
        (_, _, None) => "the policy has no cohorts".to_owned(),
        (Some(_), _, Some(_)) => format!("pinned by {entry_path}.cohort"),
        (None, _, Some(_)) if listed.is_some_and(|listed| listed.cohort.is_some()) => {
            "pinned in the directory".to_owned()
        }
        (None, canary, Some(_)) => {
            let number = f64::from(Routing::cohort_number(tenant).hundredths()) / 100.0;
            let percent = canary.as_ref().map_or(0.0, |canary| canary.percent);
            format!("the tenant's number {number:.2} against routing.canary.percent {percent}")
        }
    };
    Some(PlacementExplanation {
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
) -> DecisionExplanation {
    let echoed = host.header_map(MapType::ResponseHeaders).and_then(HeaderMap::new).unwrap_or_default();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let echoed = echoed.iter().map(|(name, value)| (text(name), text(value))).collect();
    match reply {
        None => DecisionExplanation {
            result: "allowed",
            by: None,
            code: None,
            status: None,
            grpc_status: None,
            headers: echoed,
            body: None,
        },
        Some(reply) => DecisionExplanation {
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
fn headers(request: &Request, host: &MemoryHost) -> Vec<HeaderExplanation> {
    let mut names: BTreeMap<&str, (Vec<String>, Vec<String>)> = BTreeMap::new();
    for (name, value) in &request.headers {
        names.entry(name).or_default().0.push(value.clone());
    }
    let written = host.header_map(MapType::RequestHeaders).and_then(HeaderMap::new).unwrap_or_default();
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
        .map(|(name, (before, after))| HeaderExplanation { name: name.into(), before, after })
        .collect()
}

fn sinks(judged: &Judged) -> Vec<&'static str> {
    let sinks = &judged.document.audit.sinks;
    let proxy_log = match sinks.proxy_log {
        ProxyLog::All => true,
        ProxyLog::Overflow => !sinks.access_log && !sinks.otlp,
        ProxyLog::Off => false,
    };
    let sinks = [(sinks.access_log, "access log"), (sinks.otlp, "collector"), (proxy_log, "proxy log")];
    sinks.into_iter().filter(|(is_on, _)| *is_on).map(|(_, name)| name).collect()
}

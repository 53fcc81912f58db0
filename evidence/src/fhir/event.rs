//! One record, one event.

use jiff::{Timestamp, ToSpan};

use super::codes::{
    DOMAIN_RESOURCE, EMERGENCY, Interaction, ORGANIZATION, PATIENT, PERSON, REQUEST_ID, REST, SYSTEM_OBJECT, WEB_SERVER,
};
use super::resource::{Agent, AuditEvent, Detail, Entity, Identifier, Network, Period, Purpose, Reference, Source};
use super::{EventError, SYSTEM};
use crate::Record;
use crate::counts::{Ending, is_grpc_fault};

/// The longest id that FHIR allows.
const ID_MAX: usize = 64;
/// The system of identifiers that are URIs.
const URI: &str = "urn:ietf:rfc:3986";

/// The event of the record of a request. `proxy` is the node id of the proxy whose chain it is in.
pub(super) fn of(record: &Record<'_>, proxy: Option<&str>) -> Result<AuditEvent, EventError> {
    let time: Timestamp = record.time.parse().map_err(|_| EventError::Time(record.time.to_string()))?;
    let context = record.context.as_ref();
    let message = record.request.as_ref();
    let template = message.and_then(|message| message.path_template.as_deref());
    let interaction = Interaction::of(
        context.map(|context| &*context.action).unwrap_or_default(),
        message.map(|message| &*message.method).unwrap_or_default(),
        template,
    );
    let outcome = outcome(record);
    let agent = agents(record, interaction, proxy);
    let entity = entities(record);
    // Where it was refused, nothing was overridden.
    let is_override = record.is_emergency() && Ending::of(record) != Ending::Refused;
    Ok(AuditEvent {
        resource_type: "AuditEvent",
        id: id(record)?,
        r#type: REST,
        subtype: [interaction.coding()].into_iter().chain(is_override.then_some(EMERGENCY)).collect(),
        action: interaction.action(),
        period: period(record, time),
        recorded: time.to_string(),
        outcome,
        outcome_desc: (outcome != "0").then(|| description(record)),
        purpose_of_event: record.purpose().map(Purpose::of).into_iter().collect(),
        agent,
        source: source(record, proxy),
        entity,
    })
}

/// Stable, so that a receiver that gets an event twice can see it.
fn id(record: &Record<'_>) -> Result<String, EventError> {
    let id = format!("{}-{}", record.chain.id, record.chain.seq);
    let is_id = id.len() <= ID_MAX && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    if is_id { Ok(id) } else { Err(EventError::Id(id)) }
}

/// The code system draws the line where HTTP does: minor is what a status of 400 says, serious what 500 says. So a
/// refusal is minor, for everything worked as it should, unless there was no way to record it first. Major is a system
/// that is gone, which would write nothing.
fn outcome(record: &Record<'_>) -> &'static str {
    // To a gRPC call, the proxy's own answers have status 200 and a status of gRPC.
    let is_fault = record.outcome.as_ref().is_some_and(|outcome| {
        outcome.status.is_some_and(|status| status >= 500) || outcome.grpc_status.is_some_and(is_grpc_fault)
    });
    match Ending::of(record) {
        Ending::Answered => "0",
        Ending::Refused if is_fault => "8",
        Ending::Declined | Ending::Refused => "4",
        Ending::Failed => "8",
    }
}

fn description(record: &Record<'_>) -> String {
    let decision = record.decision.as_ref();
    let outcome = record.outcome.as_ref();
    let denied = decision.and_then(|decision| decision.by.as_deref()).map(|by| {
        format!("refused by {by}: {}", decision.and_then(|it| it.reason.as_deref()).unwrap_or("no reason given"))
    });
    let status = outcome
        .and_then(|outcome| outcome.status)
        .map_or_else(|| "no status".to_owned(), |status| format!("status {status}"));
    let grpc = outcome.and_then(|outcome| outcome.grpc_status).map(|status| format!("gRPC status {status}"));
    let flags = outcome.filter(|outcome| !outcome.flags.is_empty()).map(|outcome| outcome.flags.join(", "));
    [denied, Some(status), grpc, flags].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn period(record: &Record<'_>, time: Timestamp) -> Option<Period> {
    let micros = i64::try_from(record.outcome.as_ref()?.duration_micros?).ok()?;
    let end = time.checked_add(micros.microseconds()).ok()?;
    Some(Period { start: time.to_string(), end: end.to_string() })
}

fn agents(record: &Record<'_>, interaction: Interaction, proxy: Option<&str>) -> Vec<Agent> {
    let who = record.who.as_ref();
    let user = who.and_then(|who| who.user.as_deref());
    let peer = who.and_then(|who| who.peer.as_deref());
    let cluster = record.outcome.as_ref().and_then(|outcome| outcome.cluster.as_deref());
    let [user_part, client_part, server_part] = interaction.parts();
    let policy: Vec<String> =
        record.context.iter().map(|context| format!("{SYSTEM}policy:{}", context.policy)).collect();

    let agent = |part: super::Coding, who, network| Agent {
        r#type: part.into(),
        who,
        requestor: false,
        policy: Vec::new(),
        network,
        purpose_of_use: Vec::new(),
    };
    let mut agents = Vec::with_capacity(3);
    agents.extend(user.map(|user| agent(user_part, Some(Reference::identified(format!("{SYSTEM}user"), user)), None)));
    let client = peer.map(|peer| Reference::identified(URI, peer));
    agents.push(agent(client_part, client, peer.map(|peer| Network { address: peer.to_owned(), r#type: "5" })));
    agents.extend(cluster.map(|cluster| {
        let who = Reference { display: Some(cluster.to_owned()), ..Reference::default() };
        agent(server_part, Some(who), address(cluster, proxy))
    }));
    // The user began it, and where none is named, the client did.
    if let Some(first) = agents.first_mut() {
        first.requestor = true;
        first.policy = policy;
        first.purpose_of_use = record.purpose().map(Purpose::of).into_iter().collect();
    }
    agents
}

/// Where a cluster is, as Istio names it: `outbound|PORT|SUBSET|HOST`, and `inbound|PORT||` for what is beside the
/// proxy, whose own address is in its node id, `KIND~IP~POD~DOMAIN`.
fn address(cluster: &str, proxy: Option<&str>) -> Option<Network> {
    let mut parts = cluster.split('|');
    match (parts.next()?, parts.nth(2)) {
        (_, Some(host)) if !host.is_empty() => Some(Network { address: host.to_owned(), r#type: "1" }),
        ("inbound", Some(_)) => {
            let ip = proxy?.split('~').nth(1).filter(|ip| !ip.is_empty())?;
            Some(Network { address: ip.to_owned(), r#type: "2" })
        }
        _ => None,
    }
}

fn source(record: &Record<'_>, proxy: Option<&str>) -> Source {
    let observer = match proxy {
        Some(proxy) => Reference::identified(format!("{SYSTEM}proxy"), proxy),
        // A chain belongs to one worker of one proxy, and is all that a record alone says of it.
        None => Reference::identified(format!("{SYSTEM}chain"), &record.chain.id),
    };
    Source { observer: observer.typed("Device"), r#type: [WEB_SERVER] }
}

fn entities(record: &Record<'_>) -> Vec<Entity> {
    let context = record.context.as_ref();
    let message = record.request.as_ref();
    let tenant = record.tenant.as_ref();
    let entity = |what, r#type| Entity { what, r#type, role: None, description: None, detail: Vec::new() };
    let mut entities = Vec::with_capacity(5);
    if let Some(subject) = context.and_then(|context| context.subject.as_deref()) {
        let what = Reference::identified(format!("{SYSTEM}subject"), subject).typed("Patient");
        entities.push(Entity { role: Some(PATIENT), ..entity(what, PERSON) });
    }
    let template = message.and_then(|message| message.path_template.as_deref());
    entities.push(Entity {
        role: Some(DOMAIN_RESOURCE),
        description: template.map(str::to_owned),
        detail: details(record),
        ..entity(
            Reference {
                r#type: context.and_then(|context| context.resource.as_deref()).map(str::to_owned),
                display: Some(context.map_or("unknown", |context| &*context.name).to_owned()),
                ..Reference::default()
            },
            SYSTEM_OBJECT,
        )
    });
    if let Some(id) = message.and_then(|message| message.id.as_deref()) {
        let identifier = Some(Identifier { system: None, value: id.to_owned() });
        entities.push(entity(Reference { identifier, ..Reference::default() }, REQUEST_ID));
    }
    let own = match record.grant() {
        Some(_) => "a tenant that the caller acted for under a grant",
        None => "the tenant of the caller",
    };
    let tenants = [
        (tenant.and_then(|tenant| tenant.id.as_deref()), own),
        (tenant.and_then(|tenant| tenant.other.as_deref()), "another tenant that the request named"),
    ];
    for (id, description) in tenants {
        let Some(id) = id else { continue };
        let what = Reference::identified(format!("{SYSTEM}tenant"), id).typed("Organization");
        entities.push(Entity { description: Some(description.to_owned()), ..entity(what, ORGANIZATION) });
    }
    entities
}

fn message_is_shadow(record: &Record<'_>) -> bool {
    record.request.as_ref().is_some_and(|request| request.shadow)
}

fn details(record: &Record<'_>) -> Vec<Detail> {
    let context = record.context.as_ref();
    let flags = context.into_iter().flat_map(|context| &context.flags).map(|flag| ("flag", Some(&**flag)));
    let single = [
        ("compliance-level", context.map(|context| &*context.compliance_level)),
        ("retention", context.and_then(|context| context.retention.as_deref())),
        ("correlation-id", record.request.as_ref().and_then(|request| request.correlation_id.as_deref())),
        ("trace-id", record.trace.as_ref().and_then(|trace| trace.id.as_deref())),
        ("record-hash", Some(&*record.hash)),
        ("grant", record.grant()),
        ("mirrored-copy", message_is_shadow(record).then_some("true")),
    ];
    single
        .into_iter()
        .chain(flags)
        // FHIR has no empty strings.
        .filter_map(|(name, value)| Some((name, value.filter(|value| !value.trim().is_empty())?)))
        .map(|(name, value)| Detail { r#type: name, value_string: value.to_owned() })
        .collect()
}

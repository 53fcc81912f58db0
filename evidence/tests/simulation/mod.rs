//! A platform that knows what was done: gateways, sidecars, retries, mirrors, redirects, calls between services. It
//! writes the records that its proxies would write, and keeps the truth beside them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::{Random, Writer};

/// 2026-10-01T00:00:00Z, in microseconds.
const BEGIN: i64 = 1_790_812_800_000_000;
const SECOND: i64 = 1_000_000;

/// What was done, counted where it was done.
#[derive(Debug, Default)]
pub struct Truth {
    /// Endings: answered, declined, failed, refused.
    pub total: Endings,
    pub hours: BTreeMap<String, Endings>,
    pub contexts: BTreeMap<String, Endings>,
    pub actions: BTreeMap<String, Endings>,
    pub tenants: BTreeMap<String, Endings>,
    /// By whom, why.
    pub denials: BTreeMap<(String, String), u64>,
    /// Context, status, flags.
    pub failures: BTreeMap<(String, Option<u16>, String), u64>,
    /// Tenant, other tenant: refused.
    pub crossings: BTreeMap<(String, String), u64>,
    pub requests_of: BTreeMap<String, u64>,
    pub subjects_of: BTreeMap<String, BTreeSet<String>>,
    pub forged: BTreeMap<String, u64>,
    pub without_user: u64,
    /// Acts, hops, passes, copies, calls, preflights.
    pub kinds: [u64; 6],
    pub repeats: u64,
    /// Acts and records by placement.
    pub placements: BTreeMap<&'static str, [u64; 2]>,
}

pub type Endings = [u64; 4];

/// A platform. Its proxies, each with a chain, and the records that they will write.
pub struct Platform {
    random: Random,
    /// Whether records say what those of before could not.
    is_older: bool,
    time: i64,
    pending: BTreeMap<&'static str, Vec<(i64, Value)>>,
    spans: u64,
    pub truth: Truth,
}

/// A message on its way.
#[derive(Clone)]
struct Message {
    id: String,
    user: Option<String>,
    context: &'static str,
    subject: Option<String>,
    tenant: Option<&'static str>,
}

/// What a proxy saw of a message.
struct Seen {
    proxy: &'static str,
    placement: &'static str,
    begin: i64,
    duration: i64,
    parent: Option<String>,
    span: String,
    outcome: Value,
    decision: Value,
}

const ANSWERED: usize = 0;
const FAILED: usize = 2;
const REFUSED: usize = 3;

impl Platform {
    pub fn new(seed: u64, is_older: bool) -> Self {
        let truth = Truth::default();
        Self { random: Random(seed), is_older, time: BEGIN + SECOND, pending: BTreeMap::new(), spans: 0, truth }
    }

    /// Things happen; then every proxy stops in good order. The records, shuffled.
    pub fn live(mut self, happenings: usize) -> (Vec<String>, Truth, i64) {
        for _ in 0..happenings {
            self.time += 50_000 + self.random.below(90) as i64 * SECOND;
            match self.random.below(if self.is_older { 5 } else { 12 }) {
                0 | 1 => self.plain(),
                2 => self.with_call(),
                3 => self.retried(),
                4 => self.refused_within(),
                5 => self.refused_at_the_edge(),
                6 => self.mirrored(),
                7 => self.preflight(),
                8 => self.redirected(),
                9 => self.cut_off(),
                10 => self.one_id_for_all(),
                _ => self.named_another_tenant(),
            }
        }
        let end = self.time + 60 * SECOND;
        let mut lines = Vec::new();
        for (number, (proxy, mut records)) in self.pending.into_iter().enumerate() {
            let mut writer = Writer::new(number as u64 + 1);
            let of_chain = |time| {
                json!({
                    "proxy": {"id": format!("node~10.0.0.{number}~{proxy}.core~core.svc"), "module": "0.1.0"},
                    "time": instant(time)
                })
            };
            lines.push(writer.append("start", of_chain(BEGIN)));
            records.sort_by_key(|(time, _)| *time);
            lines.extend(records.into_iter().map(|(_, record)| writer.append("request", record)));
            lines.push(writer.append("end", of_chain(end)));
        }
        self.random.shuffle(&mut lines);
        (lines, self.truth, end)
    }

    fn message(&mut self, context: &'static str) -> Message {
        let (high, low) = (self.random.below(1 << 30), self.random.below(1 << 30));
        let user = self.random.below(6);
        let subject = self.random.below(9);
        Message {
            id: format!("{high:08x}-0000-4000-8000-{low:012x}"),
            user: Some(format!("p-u{user}")).filter(|_| user > 0),
            context,
            subject: Some(format!("p-s{subject}")).filter(|_| subject > 0),
            tenant: Some(["care-home-0001", "care-home-0042"][user % 2]),
        }
    }

    fn gateway(&mut self) -> &'static str {
        ["gateway-0", "gateway-1"][self.random.below(2)]
    }

    fn medication(&mut self) -> &'static str {
        ["medication-0", "medication-1"][self.random.below(2)]
    }

    fn seen(&mut self, proxy: &'static str, placement: &'static str, begin: i64, duration: i64) -> Seen {
        self.spans += 1;
        Seen {
            proxy,
            placement,
            // Clocks differ.
            begin: begin + self.random.below(40_000) as i64 - 20_000,
            duration,
            parent: None,
            span: format!("{:016x}", self.spans.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            outcome: json!({"status": 200, "answeredBy": "upstream", "attempts": 1, "forwarded": true, "cluster": "c"}),
            decision: json!({"result": "allowed"}),
        }
    }

    /// A proxy records what it saw.
    fn record(&mut self, message: &Message, seen: &Seen, more: Value) {
        let Seen { proxy, placement, begin, duration, parent, span, outcome, decision } = seen;
        let (action, method, template) = match message.context {
            "medication-administration" => ("execute", "POST", "/api/v1/medications/administer"),
            "resident" => ("read", "GET", "/api/v1/residents/{id}"),
            _ => ("read", "GET", "/api/v1/medications"),
        };
        let mut outcome = outcome.clone();
        outcome["durationMicros"] = json!(duration);
        let mut record = json!({
            "context": {
                "action": action, "complianceLevel": "high", "name": message.context, "policy": "9f86d081884c7d65"
            },
            "decision": decision, "outcome": outcome, "proxy": {"placement": placement},
            "request": {"id": message.id, "method": method, "pathTemplate": template},
            "tenant": {}, "time": instant(*begin), "who": {}, "trace": {"spanId": span},
        });
        let texts = [
            ("context", "subject", message.subject.as_deref()),
            ("tenant", "id", message.tenant),
            ("who", "user", message.user.as_deref()),
            ("trace", "parentId", parent.as_deref()),
        ];
        for (object, member, text) in
            texts.into_iter().filter_map(|(object, member, text)| Some((object, member, text?)))
        {
            record[object][member] = json!(text);
        }
        for (object, members) in more.as_object().unwrap() {
            members.as_object().unwrap().iter().for_each(|(member, value)| record[object][member] = value.clone());
        }
        if self.is_older {
            record.as_object_mut().unwrap().remove("proxy");
            record["trace"] = json!({});
            for member in ["attempts", "answeredBy", "forwarded"] {
                record["outcome"].as_object_mut().unwrap().remove(member);
            }
        }
        let placement = if self.is_older { "unknown" } else { *placement };
        self.truth.placements.entry(placement).or_default()[1] += 1;
        self.pending.entry(proxy).or_default().push((*begin, record));
    }

    /// Somebody did something, and it ended so.
    fn did(&mut self, message: &Message, seen: &Seen, ending: usize) {
        let truth = &mut self.truth;
        let add = |map: &mut BTreeMap<String, Endings>, key: &str| map.entry(key.to_owned()).or_default()[ending] += 1;
        truth.total[ending] += 1;
        let action = if message.context == "medication-administration" { "execute" } else { "read" };
        add(&mut truth.hours, &format!("{}:00:00Z", &instant(seen.begin)[..13]));
        add(&mut truth.contexts, message.context);
        add(&mut truth.actions, action);
        message.tenant.into_iter().for_each(|tenant| add(&mut truth.tenants, tenant));
        match &message.user {
            Some(user) => *truth.requests_of.entry(user.clone()).or_default() += 1,
            None => truth.without_user += 1,
        }
        if ending != REFUSED {
            self.used(message);
        }
        self.truth.kinds[0] += 1;
        let placement = if self.is_older { "unknown" } else { seen.placement };
        self.truth.placements.entry(placement).or_default()[0] += 1;
    }

    /// Data of the subject was used for the user.
    fn used(&mut self, message: &Message) {
        if let (Some(user), Some(subject)) = (&message.user, &message.subject) {
            self.truth.subjects_of.entry(user.clone()).or_default().insert(subject.clone());
        }
    }

    fn denied(&mut self, by: &str, reason: &str) {
        *self.truth.denials.entry((by.to_owned(), reason.to_owned())).or_default() += 1;
    }

    /// Through the gateway to the sidecar of the service.
    fn hop(&mut self, message: &Message, edge: &Seen, delay: i64, duration: i64) -> Seen {
        let proxy = self.medication();
        let mut hop = self.seen(proxy, "inbound", edge.begin, duration);
        hop.begin = hop.begin.max(edge.begin) + delay;
        hop.parent = Some(edge.span.clone());
        self.record(message, &hop, json!({}));
        self.truth.kinds[1] += 1;
        hop
    }

    fn edge(&mut self, duration: i64) -> Seen {
        let (gateway, time) = (self.gateway(), self.time);
        self.seen(gateway, "gateway", time, duration)
    }

    fn plain(&mut self) {
        let message = self.message("medication-administration");
        let edge = self.edge(200_000);
        self.record(&message, &edge, json!({}));
        self.hop(&message, &edge, 5_000, 100_000);
        self.did(&message, &edge, ANSWERED);
    }

    /// The service asks another one, whose caller's sidecar records nothing: no span leads there.
    fn with_call(&mut self) {
        let message = self.message("medication");
        let edge = self.edge(900_000);
        self.record(&message, &edge, json!({}));
        let hop = self.hop(&message, &edge, 5_000, 800_000);
        let called = Message { context: "resident", subject: Some("p-s-of-a-call".into()), ..message.clone() };
        let mut call = self.seen("resident-0", "inbound", edge.begin, 200_000);
        call.begin = hop.begin + 150_000;
        call.parent = Some("00000000000000ff".into());
        self.record(&called, &call, json!({}));
        self.used(&called);
        self.truth.kinds[4] += 1;
        self.did(&message, &edge, ANSWERED);
    }

    fn retried(&mut self) {
        let message = self.message("medication-administration");
        let mut edge = self.edge(900_000);
        edge.outcome["attempts"] = json!(2);
        self.record(&message, &edge, json!({}));
        let first = self.seen("medication-0", "inbound", edge.begin, 50_000);
        let first = Seen {
            begin: edge.begin + 10_000,
            parent: Some(edge.span.clone()),
            outcome: json!({"status": 503}),
            ..first
        };
        self.record(&message, &first, json!({}));
        self.truth.kinds[1] += 1;
        let second = self.seen("medication-1", "inbound", edge.begin, 50_000);
        let second = Seen { begin: edge.begin + 400_000, parent: Some(edge.span.clone()), ..second };
        self.record(&message, &second, json!({}));
        self.truth.kinds[1] += 1;
        self.truth.repeats += 1;
        self.did(&message, &edge, ANSWERED);
    }

    /// What the gateway takes for an answer of the application.
    fn refused_within(&mut self) {
        let message = self.message("medication");
        let mut edge = self.edge(300_000);
        edge.outcome["status"] = json!(403);
        self.record(&message, &edge, json!({}));
        let mut hop = self.seen("medication-0", "inbound", edge.begin, 20_000);
        hop.begin = edge.begin + 30_000;
        hop.parent = Some(edge.span.clone());
        hop.decision = json!({"result": "denied", "by": "rbac", "reason": "rbac_access_denied"});
        hop.outcome = json!({"status": 403, "answeredBy": "rbac", "forwarded": false});
        self.record(&message, &hop, json!({}));
        self.truth.kinds[1] += 1;
        self.denied("rbac", "rbac_access_denied");
        self.did(&message, &edge, REFUSED);
    }

    fn refused_at_the_edge(&mut self) {
        let message = Message { user: None, tenant: None, subject: None, ..self.message("medication") };
        let mut edge = self.edge(1_000);
        edge.decision = json!({"result": "denied", "by": "jwt_authn", "reason": "jwt_authn_access_denied"});
        edge.outcome = json!({"status": 401, "answeredBy": "jwt_authn", "forwarded": false});
        self.record(&message, &edge, json!({"who": {"forgedHeaders": ["x-tenant-id"]}}));
        *self.truth.forged.entry("x-tenant-id".into()).or_default() += 1;
        self.denied("jwt_authn", "jwt_authn_access_denied");
        self.did(&message, &edge, REFUSED);
    }

    /// A copy goes to a new version, which asks another service by its own sidecar: the spans lead there.
    fn mirrored(&mut self) {
        let message = self.message("medication-administration");
        let edge = self.edge(900_000);
        self.record(&message, &edge, json!({}));
        self.hop(&message, &edge, 5_000, 100_000);
        let copy = self.seen("medication-next", "inbound", edge.begin, 700_000);
        let copy = Seen { begin: edge.begin + 6_000, parent: Some(edge.span.clone()), ..copy };
        self.record(&message, &copy, json!({"request": {"shadow": true}}));
        let called = Message { context: "resident", subject: Some("p-s-of-a-copy".into()), ..message.clone() };
        let out = self.seen("medication-next-out", "outbound", copy.begin, 300_000);
        let out = Seen { begin: copy.begin + 10_000, parent: Some(copy.span.clone()), ..out };
        self.record(&called, &out, json!({}));
        let far = self.seen("resident-0", "inbound", out.begin, 100_000);
        let far = Seen { begin: out.begin + 10_000, parent: Some(out.span.clone()), ..far };
        self.record(&called, &far, json!({}));
        self.truth.kinds[3] += 3;
        self.did(&message, &edge, ANSWERED);
    }

    fn preflight(&mut self) {
        let message = Message { user: None, subject: None, ..self.message("resident") };
        let mut edge = self.edge(1_000);
        edge.outcome = json!({"status": 200, "answeredBy": "cors", "forwarded": false});
        self.record(&message, &edge, json!({"request": {"preflight": true}}));
        self.truth.kinds[5] += 1;
    }

    /// The application says 302, and the gateway follows it itself.
    fn redirected(&mut self) {
        let message = self.message("medication");
        let mut first = self.edge(50_000);
        first.outcome["status"] = json!(302);
        self.record(&message, &first, json!({}));
        self.hop(&message, &first, 5_000, 20_000);
        let mut second = self.seen(first.proxy, "gateway", first.begin, 60_000);
        second.begin = first.begin + 55_000;
        second.parent = Some(first.span.clone());
        self.record(&message, &second, json!({"request": {"redirects": 1}}));
        self.truth.kinds[2] += 1;
        self.hop(&message, &second, 5_000, 20_000);
        self.did(&message, &first, ANSWERED);
    }

    /// The caller hangs up while the answer comes.
    fn cut_off(&mut self) {
        let message = self.message("resident");
        let mut edge = self.edge(500_000);
        edge.outcome["flags"] = json!(["DR"]);
        self.record(&message, &edge, json!({}));
        *self.truth.failures.entry(("resident".into(), Some(200), "DR".into())).or_default() += 1;
        self.did(&message, &edge, FAILED);
    }

    /// A program in the mesh gives one request id to all that it asks for.
    fn one_id_for_all(&mut self) {
        let message = Message { user: Some("p-batch".into()), ..self.message("resident") };
        for _ in 0..3 {
            self.time += SECOND;
            let time = self.time;
            let mut direct = self.seen("resident-0", "inbound", time, 30_000);
            direct.parent = Some("00000000000000aa".into());
            self.record(&message, &direct, json!({}));
            self.did(&message, &direct, ANSWERED);
        }
    }

    fn named_another_tenant(&mut self) {
        let message = Message { user: Some("p-u1".into()), tenant: Some("care-home-0042"), ..self.message("resident") };
        let mut edge = self.edge(1_000);
        edge.decision = json!({"result": "denied", "by": "careplane", "reason": "tenant-conflict"});
        edge.outcome = json!({"status": 403, "answeredBy": "careplane", "forwarded": false});
        self.record(&message, &edge, json!({"tenant": {"other": "care-home-0001"}}));
        let crossing = ("care-home-0042".to_owned(), "care-home-0001".to_owned());
        *self.truth.crossings.entry(crossing).or_default() += 1;
        self.denied("careplane", "tenant-conflict");
        self.did(&message, &edge, REFUSED);
    }
}

/// RFC 3339 with microseconds.
pub fn instant(micros: i64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_micros(micros.try_into().unwrap());
    humantime::format_rfc3339_micros(time).to_string()
}

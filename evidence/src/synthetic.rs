//! Records as a platform of some care homes could have made them, for tests and for looking at a report. All of it is
//! made up; the chains are true. The same seed makes the same records.

use std::collections::VecDeque;
use std::fmt::Write;

use fastrand::Rng;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The homes: their number, the part of the UK, who inspects them, how much they use the platform.
const HOMES: [(u32, &str, &str, u32); 8] = [
    (1, "england", "CQC", 9),
    (7, "england", "CQC", 5),
    (12, "england", "CQC", 7),
    (23, "england", "CQC", 3),
    (42, "scotland", "Care Inspectorate", 8),
    (51, "scotland", "Care Inspectorate", 4),
    (60, "wales", "CIW", 5),
    (77, "northern-ireland", "RQIA", 4),
];
/// The users of a home: on how many residents each acts.
const USERS: [u32; 12] = [38, 38, 31, 24, 18, 14, 11, 9, 6, 4, 2, 1];
/// Percent of the requests of a full day, from Monday on.
const WEEK: [u32; 7] = [100, 97, 98, 95, 92, 74, 68];
/// Percent of a day's requests, by hour: rounds in the morning, at noon, in the evening and late.
pub const HOURS: [u32; 24] = [1, 1, 1, 1, 1, 2, 5, 10, 9, 6, 5, 5, 8, 6, 4, 4, 5, 7, 7, 4, 3, 3, 1, 1];
/// A context of the made-up policy.
struct Kind {
    name: &'static str,
    level: &'static str,
    /// Action, method and template.
    does: [&'static str; 3],
    resource: Option<&'static str>,
    /// Whether it is about one person.
    personal: bool,
    /// How often.
    weight: u32,
}

const KINDS: [Kind; 9] = [
    Kind {
        name: "resident",
        level: "high",
        does: ["read", "GET", "/api/v1/residents/{id}"],
        resource: Some("Patient"),
        personal: true,
        weight: 30,
    },
    Kind {
        name: "resident-search",
        level: "high",
        does: ["read", "GET", "/api/v1/residents"],
        resource: Some("Patient"),
        personal: false,
        weight: 12,
    },
    Kind {
        name: "medication-administration",
        level: "critical",
        does: ["execute", "POST", "/api/v1/medications/administer"],
        resource: Some("MedicationAdministration"),
        personal: true,
        weight: 18,
    },
    Kind {
        name: "medication",
        level: "high",
        does: ["read", "GET", "/api/v1/medications/{id}"],
        resource: Some("MedicationRequest"),
        personal: true,
        weight: 10,
    },
    Kind {
        name: "care-plan",
        level: "high",
        does: ["update", "PUT", "/api/v1/care-plans/{id}"],
        resource: Some("CarePlan"),
        personal: true,
        weight: 9,
    },
    Kind {
        name: "assessment",
        level: "standard",
        does: ["create", "POST", "/api/v1/assessments"],
        resource: Some("Observation"),
        personal: true,
        weight: 7,
    },
    Kind {
        name: "health-record",
        level: "critical",
        does: ["read", "GET", "/api/v1/health-records/{id}"],
        resource: Some("DocumentReference"),
        personal: true,
        weight: 6,
    },
    Kind {
        name: "staff-rota",
        level: "low",
        does: ["read", "GET", "/api/v1/rota"],
        resource: None,
        personal: false,
        weight: 6,
    },
    Kind {
        name: "resident-discharge",
        level: "critical",
        does: ["delete", "DELETE", "/api/v1/residents/{id}"],
        resource: Some("Patient"),
        personal: true,
        weight: 2,
    },
];

/// What to make.
#[derive(Debug, Clone, Copy)]
pub struct Synthetic {
    /// Of the random numbers.
    pub seed: u64,
    /// When the proxies start.
    pub from: Timestamp,
    /// For how many days.
    pub days: u32,
    /// How many requests a day, at most.
    pub requests: u32,
    /// How many chains.
    pub chains: u32,
}

/// The records of a [`Synthetic`], one line each, by time.
#[derive(Debug)]
pub struct Records {
    what: Synthetic,
    rng: Rng,
    chains: Vec<Chain>,
    ready: VecDeque<String>,
    day: u32,
}

#[derive(Debug)]
struct Chain {
    id: String,
    proxy: String,
    number: u64,
    last: String,
}

// === impl Synthetic ===

impl Synthetic {
    /// The records. Every chain has a start, a head each day, and an end.
    #[must_use]
    pub fn records(self) -> Records {
        let mut rng = Rng::with_seed(self.seed);
        let chains = (0..self.chains).map(|index| Chain::new(&mut rng, index)).collect();
        Records { what: self, rng, chains, ready: VecDeque::new(), day: 0 }
    }
}

// === impl Records ===

impl Iterator for Records {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        if self.ready.is_empty() && self.day <= self.what.days {
            let begun = self.what.from + (i64::from(self.day) * 24).hours();
            let kind = match self.day {
                0 => "start",
                day if day == self.what.days => "end",
                _ => "head",
            };
            for chain in &mut self.chains {
                let record = json!({"proxy": {"id": chain.proxy, "module": "0.1.0"}});
                self.ready.push_back(chain.seal(kind, begun, record));
            }
            if self.day < self.what.days {
                self.make_day(begun);
            }
            self.day += 1;
        }
        self.ready.pop_front()
    }
}

impl Records {
    fn make_day(&mut self, begun: Timestamp) {
        const HOUR: i64 = 3_600_000_000;
        let mut times: Vec<Timestamp> = Vec::new();
        let weekday = begun.to_zoned(TimeZone::UTC).weekday().to_monday_zero_offset();
        let percent = usize::try_from(weekday).ok().and_then(|day| WEEK.get(day)).copied().unwrap_or(100);
        for _ in 0..self.what.requests * percent / 100 {
            let hour = i64::try_from(weighted(&mut self.rng, &HOURS)).unwrap_or_default();
            times.push(begun + (hour * HOUR + self.rng.i64(1..HOUR)).microseconds());
        }
        times.sort_unstable();
        for time in times {
            self.make_request(time);
        }
    }

    fn make_request(&mut self, time: Timestamp) {
        let rng = &mut self.rng;
        let (home, jurisdiction, regulator, _) = HOMES[weighted(rng, &HOMES.map(|home| home.3))];
        let kind = &KINDS[weighted(rng, &KINDS.each_ref().map(|kind| kind.weight))];
        let Kind { name, level, does: [action, method, template], resource, personal, .. } = *kind;
        let user = rng.usize(..USERS.len());
        let mut context = json!({
            "action": action, "complianceLevel": level, "name": name, "policy": "9f86d081884c7d65", "retention": "P8Y"
        });
        if let Some(resource) = resource {
            context["resource"] = json!(resource);
        }
        if personal {
            context["subject"] = json!(pseudonym(&format!("subject {home} {}", rng.u32(..USERS[user]))));
        }
        if name == "medication-administration" && rng.u32(..4) == 0 {
            context["flags"] = json!(["controlled-drug"]);
        }
        let id = uuid(rng);
        let request = json!({"correlationId": uuid(rng), "id": id, "method": method, "pathTemplate": template});
        let mut tenant = json!({
            "cohort": "stable", "id": home_id(home), "jurisdiction": jurisdiction, "pool": "pool-a",
            "regulator": regulator, "source": "claim"
        });
        let mut who = json!({
            "peer": "spiffe://cluster.local/ns/core-healthcare/sa/api-gateway",
            "user": pseudonym(&format!("user {home} {user}"))
        });
        let duration = rng.u32(2_000..90_000);
        let service = template.split('/').nth(3).unwrap_or_default();
        let mut outcome = json!({
            "cluster": format!("outbound|3000||{service}.core-healthcare.svc.cluster.local"), "details": "via_upstream",
            "durationMicros": duration, "status": if action == "create" { 201 } else { 200 }
        });
        let mut decision = json!({"result": "allowed"});
        let refuse = |outcome: &mut Value, by: &str, reason: &str, status: u16| {
            *outcome = json!({"details": format!("{by}{{{reason}}}"), "durationMicros": 900, "status": status});
            json!({"by": by, "reason": reason, "result": "denied"})
        };
        match rng.u32(..10_000) {
            0..12 => {
                let other = HOMES[rng.usize(..HOMES.len())].0;
                tenant["other"] = json!(home_id(if other == home { 99 } else { other }));
                decision = refuse(&mut outcome, "careplane", "tenant-conflict", 403);
            }
            12..40 => {
                (tenant, who) = (json!({}), json!({}));
                decision = refuse(&mut outcome, "jwt_authn", "jwt_authn_access_denied{Jwt_is_expired}", 401);
            }
            40..48 => decision = refuse(&mut outcome, "rbac", "rbac_access_denied_matched_policy[none]", 403),
            48..53 => decision = refuse(&mut outcome, "careplane", "evidence-unavailable", 503),
            53..65 => {
                outcome = json!({
                    "details": "upstream_response_timeout", "durationMicros": 10_000_000, "flags": ["UT"], "status": 504
                })
            }
            65..80 => outcome["status"] = json!(500),
            80..83 => outcome = json!({"durationMicros": duration, "flags": ["DC"]}),
            83..190 => outcome["status"] = json!(404),
            190..200 => who["forgedHeaders"] = json!(["x-tenant-id"]),
            // A nurse of an agency, whose token lists the homes that they work in.
            drawn @ 200..400 => {
                who["user"] = json!(pseudonym(&format!("agency {}", drawn % 5)));
                (tenant["membership"], tenant["selectedBy"]) = (json!(drawn % 5 + 2), json!("header"));
            }
            drawn @ 400..460 => {
                who["user"] = json!(pseudonym(&format!("inspector {regulator} {}", drawn % 2)));
                who["purpose"] = json!("HCOMPL");
                decision["grant"] = json!("inspector");
                if action != "read" {
                    decision = refuse(&mut outcome, "careplane", "grant-action", 403);
                    decision["grant"] = json!("inspector");
                }
            }
            drawn @ 460..480 => {
                who["user"] = json!(pseudonym(&format!("emergency {}", drawn % 3)));
                who["purpose"] = json!(if drawn % 4 == 0 { "ETREAT" } else { "BTG" });
                if drawn == 479 {
                    decision = refuse(&mut outcome, "careplane", "grant-limit", 403);
                }
                decision["grant"] = json!("emergency");
            }
            480..484 => {
                decision = refuse(&mut outcome, "careplane", "grant-purpose", 403);
                decision["grant"] = json!("emergency");
            }
            _ => {}
        }
        let chain = rng.usize(..self.chains.len());
        let chain = &mut self.chains[chain];
        let trace = json!({
            "id": digest(&id)[..32], "rate": "100", "reason": "tier", "sampled": true, "spanId": digest(&id)[..16],
            "tier": "always"
        });
        let mut record = json!({
            "context": context, "decision": decision, "outcome": outcome, "request": request, "tenant": tenant,
            "trace": trace, "who": who
        });
        if level == "critical" && !tenant["id"].is_null() {
            let mut intent = json!({"context": context, "request": request, "tenant": tenant, "who": who});
            if !record["decision"]["grant"].is_null() {
                intent["decision"] = json!({"grant": record["decision"]["grant"]});
            }
            self.ready.push_back(chain.seal("intent", time, intent));
            record["intent"] = json!(chain.number);
        }
        self.ready.push_back(chain.seal("request", time, record));
    }
}

// === impl Chain ===

impl Chain {
    fn new(rng: &mut Rng, index: u32) -> Self {
        let proxy = format!(
            "sidecar~10.4.{}.{}~service-{index}.core-healthcare~core-healthcare.svc.cluster.local",
            index / 200,
            index % 200 + 2
        );
        Self { id: uuid(rng), proxy, number: 0, last: "0".repeat(64) }
    }

    /// Puts a record into the chain, as `docs/audit-record.md` describes it.
    fn seal(&mut self, kind: &str, time: Timestamp, mut record: Value) -> String {
        self.number += 1;
        record["chain"] = json!({"id": self.id, "prev": self.last, "seq": self.number});
        record["kind"] = json!(kind);
        record["schema"] = json!("careplane.audit/v1");
        record["time"] = json!(format!("{time:.6}"));
        let canonical = |record: &Value| serde_jcs::to_string(record).expect("strings and whole numbers");
        let mut hash = Sha256::new();
        hash.update([0]);
        hash.update(canonical(&record));
        self.last = hex(&hash.finalize());
        record["hash"] = json!(self.last);
        canonical(&record)
    }
}

fn home_id(number: u32) -> String {
    format!("care-home-{number:04}")
}

/// Of `weights`, an index, as often as its weight says.
fn weighted(rng: &mut Rng, weights: &[u32]) -> usize {
    let mut drawn = rng.u32(..weights.iter().sum::<u32>());
    weights
        .iter()
        .position(|weight| {
            let is_it = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            is_it
        })
        .unwrap_or_default()
}

/// In the form that the proxies write: letters alone.
fn pseudonym(of: &str) -> String {
    let letters: String =
        digest(of).chars().take(32).filter_map(|digit| Some((b'a' + digit.to_digit(16)? as u8) as char)).collect();
    format!("p-abcdefgh-{letters}")
}

fn uuid(rng: &mut Rng) -> String {
    let bits = rng.u128(..);
    let hex = format!("{bits:032x}");
    format!("{}-{}-7{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

fn digest(of: &str) -> String {
    hex(&Sha256::digest(of))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

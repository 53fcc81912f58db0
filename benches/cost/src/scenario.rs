//! What is measured: requests of a care home, and the policy that they meet.

use std::ops::Range;

use anyhow::{Context, Result, ensure};
use careplane_exchange::memory::list;
use careplane_integration::config::EnvoyConfig;
use serde_json::{Value, json};

use crate::profile::Profile;
use crate::proxy::{Compiled, Proxy, Request, Served};
use crate::tally::Tally;

/// Before these, a VM allocates what it keeps.
const WARM_UP: u64 = 512;
/// Four full batches for the collector, so that the share of each request in them is in the mean.
const REQUESTS: u64 = 1024;
/// No tier below 100 % keeps it.
const UNLUCKY: u32 = 9_999;

/// One kind of request, and all that it depends on.
pub struct Scenario {
    /// Its name in the table.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// The plugins of the chain.
    pub plugins: &'static [&'static str],
    /// The policy.
    pub policy: Value,
    /// The request of a number.
    pub request: fn(u64) -> Request,
    /// What has to become of it.
    pub expected: Expected,
}

/// What has to become of a request, so that nothing else is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The HTTP status.
    pub status: u32,
    /// Whether its trace is kept.
    pub traced: bool,
    /// Whether it has an audit record in filter state.
    pub recorded: bool,
}

/// What the requests of a scenario took together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// How many there were.
    pub requests: u64,
    /// Instructions of the module.
    pub instructions: u64,
    /// Calls across its border.
    pub tally: Tally,
}

/// The tenant of most requests.
const TENANT: &str = "care-home-0107";
/// The tenants of a person who works for five.
const HOMES: [&str; 5] = ["care-home-0001", "care-home-0042", TENANT, "care-home-0233", "care-home-0305"];
const BUNDLE: &[&str] = &["careplane"];
const FOUR: &[&str] = &["audit", "tracing-tags", "tenant-routing", "sampling"];

/// What becomes of most.
const PASSED: Expected = Expected { status: 200, traced: false, recorded: true };

/// All scenarios, in the order of the table.
///
/// # Errors
/// When `integration/envoy.yaml`, whose policy they take, cannot be read.
pub fn all() -> Result<Vec<Scenario>> {
    let policy = EnvoyConfig::load()?.policy_without_collector()?;
    let collector = |mut policy: Value| {
        policy["export"] = json!({"cluster": "otel", "authority": "otel-collector"});
        policy
    };
    let mut delivered = collector(policy.clone());
    delivered["audit"] = json!({"sinks": {"accessLog": false, "otlp": true}});
    let mut ahead = collector(policy.clone());
    ahead["audit"] = json!({"sinks": {"accessLog": true}, "writeAhead": ["critical"]});
    let mut granting = policy.clone();
    granting["identity"]["purpose"] = json!({"sources": [{"header": "x-purpose-of-use"}]});
    granting["identity"]["grants"] = json!([
        {
            "name": "emergency", "when": {"claim": ["realm_access", "roles"], "anyOf": ["nurse", "doctor"]},
            "tenants": "any", "requires": {"purpose": ["BTG", "ETREAT"]}
        },
        {
            "name": "inspector", "when": {"claim": ["realm_access", "roles"], "contains": "inspector"},
            "tenants": {"jurisdiction": {"claim": "jurisdiction"}}, "actions": ["read"]
        }
    ]);
    let scenario = |name, about, policy: &Value, request: fn(u64) -> Request, expected| Scenario {
        name,
        about,
        plugins: BUNDLE,
        policy: policy.clone(),
        request,
        expected,
    };
    Ok(vec![
        scenario(
            "probe",
            "a health probe, `audit: none`",
            &policy,
            |_| request("GET", "/health"),
            Expected { recorded: false, ..PASSED },
        ),
        scenario(
            "read",
            "a read, identity from claims, 8 headers, trace not kept; the user's next of one resident",
            &policy,
            |_| read(),
            PASSED,
        ),
        scenario("read-first", "the read, each of another user and another resident", &policy, stranger, PASSED),
        scenario(
            "read-list-5",
            "the read, the tenant selected by a header among the five of a claim",
            &policy,
            |_| selecting(vec![("tenant_id", list(HOMES))]),
            PASSED,
        ),
        scenario(
            "read-grant",
            "the read by an inspector without a tenant: the second of two grants",
            &granting,
            |_| {
                selecting(vec![("realm_access\0roles", list(["staff", "inspector"])), ("jurisdiction", "wales".into())])
            },
            PASSED,
        ),
        scenario("read-40", "the same with 40 headers", &policy, |_| with_headers(read(), 40), PASSED),
        scenario(
            "kept",
            "the same read, trace kept",
            &policy,
            |_| Request { draw: 0, ..read() },
            Expected { traced: true, ..PASSED },
        ),
        scenario(
            "denied",
            "a tenant reaches for another",
            &policy,
            |_| Request { headers: request("GET", "/api/v1/tenants/care-home-0001/staff").headers, ..read() },
            Expected { status: 403, traced: true, recorded: true },
        ),
        Scenario {
            name: "large-policy",
            about: "a read under 500 contexts and 10,000 tenants",
            ..sized(careplane_benches::policy(500, 10_000))
        },
        scenario(
            "otlp",
            "the read, its record delivered by OTLP",
            &delivered,
            |_| read(),
            Expected { recorded: false, ..PASSED },
        ),
        scenario(
            "write-ahead",
            "a controlled drug is given, the intent acknowledged first, trace kept",
            &ahead,
            |_| Request { headers: request("POST", "/api/v1/medications/administer").headers, ..read() },
            Expected { traced: true, ..PASSED },
        ),
        Scenario {
            plugins: FOUR,
            ..scenario("four-plugins", "the read through four plugins", &policy, |_| read(), PASSED)
        },
    ])
}

/// A read under a policy of [`careplane_benches::policy`], whatever its size: of its first tenant, in its eighth
/// context.
pub fn sized(policy: Value) -> Scenario {
    Scenario {
        name: "sized",
        about: "a read",
        plugins: BUNDLE,
        policy,
        request: |_| Request {
            claims: vec![("tenant_id", "care-home-000000".into()), ("sub", "user-17".into())],
            ..request("GET", "/api/v1/service-7/1732")
        },
        expected: PASSED,
    }
}

fn request(method: &str, path: &str) -> Request {
    let headers = [
        (":authority", "api.care.example"),
        (":path", path),
        (":method", method),
        (":scheme", "https"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"),
        ("accept", "application/json"),
        ("x-forwarded-proto", "https"),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Request { headers, claims: Vec::new(), draw: UNLUCKY }
}

fn read() -> Request {
    let claims = vec![("tenant_id", TENANT.into()), ("sub", "sian.oneill@care.example".into())];
    Request { claims, ..request("GET", "/api/v1/residents/1732/notes") }
}

/// The read of another user, of another resident.
fn stranger(number: u64) -> Request {
    let claims = vec![("tenant_id", TENANT.into()), ("sub", format!("nurse-{number:06}@care.example").into())];
    Request { claims, ..request("GET", &format!("/api/v1/residents/{}/notes", 1_732 + number)) }
}

/// The read with other claims in place of the tenant's, and the tenant in a header.
fn selecting(claims: Vec<(&'static str, Vec<u8>)>) -> Request {
    let mut read = read();
    read.headers.push(("x-tenant-id".into(), TENANT.into()));
    read.claims.retain(|(name, _)| *name == "sub");
    read.claims.extend(claims);
    read
}

/// With this many headers in all, `x-request-id` among them.
fn with_headers(mut request: Request, count: usize) -> Request {
    let more = (request.headers.len() + 1..count).map(|number| {
        (format!("x-application-{number:02}"), format!("an ordinary value of ordinary length, number {number}"))
    });
    request.headers.extend(more);
    request
}

// === impl Scenario ===

impl Scenario {
    /// Runs it.
    ///
    /// # Errors
    /// When the module fails, or something else becomes of a request than is expected.
    pub fn measure(&self, compiled: &Compiled) -> Result<(Measured, Option<Profile>)> {
        self.run(compiled).with_context(|| format!("scenario {}", self.name))
    }

    fn run(&self, compiled: &Compiled) -> Result<(Measured, Option<Profile>)> {
        let mut proxy = Proxy::start(compiled, self.plugins, &self.policy.to_string())?;
        self.serve(&mut proxy, 0..WARM_UP)?;
        proxy.take()?;
        proxy.take_profile();
        self.serve(&mut proxy, WARM_UP..WARM_UP + REQUESTS)?;
        let (instructions, tally) = proxy.take()?;
        Ok((Measured { requests: REQUESTS, instructions, tally }, proxy.take_profile()))
    }

    fn serve(&self, proxy: &mut Proxy, numbers: Range<u64>) -> Result<()> {
        for number in numbers {
            let served = proxy.serve(&(self.request)(number))?;
            let seen = Expected::of(&served);
            ensure!(seen == self.expected, "expected {:?}, and saw {served:?}", self.expected);
        }
        Ok(())
    }
}

impl Expected {
    fn of(served: &Served) -> Self {
        Self { status: served.status, traced: served.traced, recorded: served.record.is_some() }
    }
}

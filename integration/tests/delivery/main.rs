//! Records on their way to a collector that is well, ill, or away, out of a proxy that changes, ends, or is ended:
//! every one is acknowledged, rejected, or overflow in the proxy's log. What could be none of these is seen to be
//! missing.

mod collector;
mod faults;
mod lifecycle;
mod traffic;
mod trail;
mod write_ahead;

#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use anyhow::Result;
use careplane_integration::{Lab, Plugins, lab::Builder, prerequisites, prerequisites_and, workspace};
use serde_json::{Value, json};

/// Of each worker, as the policy of these tests has it: a few hundred records.
const QUEUE_BYTES: u64 = 512 * 1024;
/// What the policy gives the collector to answer.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Each with a VM, a chain and a queue of its own.
const WORKERS: u32 = 2;

/// Records go to the collector alone, and to the proxy's log when it does not take them.
fn exporting(policy: &mut Value) {
    policy["audit"] = json!({"sinks": {"accessLog": false, "otlp": true, "proxyLog": "overflow"}});
    policy["export"] = json!({
        "cluster": "otel",
        "timeout": format!("{}ms", TIMEOUT.as_millis()),
        "batch": {"records": 256, "interval": "200ms"},
        "queueBytes": QUEUE_BYTES,
    });
}

/// A lab whose records leave, at full speed.
fn lab() -> Builder {
    Lab::builder().concurrency(WORKERS).direct_response().policy(exporting)
}

/// A lab whose records leave, and whose critical requests wait until they have.
fn writing_ahead() -> Builder {
    Lab::builder().policy(|policy| {
        exporting(policy);
        policy["audit"]["writeAhead"] = json!(["critical"]);
    })
}

fn ready() -> bool {
    prerequisites(workspace::version(), Plugins::Bundle)
}

fn ready_with_collector() -> bool {
    prerequisites_and(&[careplane_integration::collector::PROGRAM], workspace::version(), Plugins::Bundle)
}

/// A token that all requests of these tests have.
fn token(lab: &Lab) -> Result<String> {
    lab.identity().token("care-home-0001", "user-1", json!({"roles": ["nurse"]}))
}

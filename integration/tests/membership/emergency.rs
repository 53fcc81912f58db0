//! Emergency access: always kept, limited per worker, written ahead if the policy says so.

use anyhow::Result;
use careplane_integration::{Lab, Request};
use serde_json::{Value, json};

use crate::{
    configure,
    support::{
        health::{finish, finish_without_chains},
        observe_numbered, refusal, request_id, versions,
    },
    token,
};

fn limited(policy: &mut Value) {
    configure(policy);
    policy["identity"]["grants"][2]["atMost"] = json!({"perUser": 3, "within": "1h"});
}

fn ahead(policy: &mut Value) {
    configure(policy);
    policy["identity"]["grants"][2]["writeAhead"] = json!(true);
    policy["export"] = json!({"cluster": "otel", "timeout": "2s"});
}

#[tokio::test]
async fn an_emergency_is_kept_whatever_its_tier_and_limited_per_user() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).policy(limited).start().await?;
        let doctor = |user| token(&lab, user, json!({"homes": "london-1", "realm_access": {"roles": ["doctor"]}}));
        let (ann, ben) = (doctor("ann")?, doctor("ben")?);
        let act = |token: &str, purpose: &str| {
            let request = Request::get("/homes/york-1/notes").header("x-purpose-of-use", purpose).bearer(token);
            (lab.gateway(), request)
        };
        let own = (lab.gateway(), Request::get("/homes/london-1/notes").bearer(&ann));
        let probes = [
            act(&ann, "BTG"),
            act(&ann, "ETREAT"),
            // None of these is a use of the grant.
            act(&ann, "TREAT"),
            act(&ann, "because I say so, of NHS number 943 476 5919"),
            own,
            act(&ann, "BTG"),
            act(&ann, "BTG"),
            act(&ben, "BTG"),
        ];
        // No tier below 100 % keeps this number.
        let seen = observe_numbered(&lab, 9_999, probes).await?;
        let answers: Vec<_> = seen.iter().map(|seen| seen.refusal()).collect();
        let (purpose, limit) = (Some("grant-purpose".to_owned()), Some("grant-limit".to_owned()));
        assert_eq!(answers, [None, None, purpose.clone(), purpose, None, None, limit, None], "{version}");
        for (index, seen) in seen.iter().enumerate() {
            let record = seen.record();
            let is_emergency = [0, 1, 5, 7].contains(&index);
            assert_eq!(seen.span.is_some(), index != 4, "{version}, row {index}");
            let reason = if is_emergency {
                "emergency"
            } else if index == 4 {
                "tier"
            } else {
                "denied"
            };
            assert_eq!(record["trace"]["reason"], reason, "{version}, row {index}");
            let rate = (index != 4 && version.has_formatter_tags()).then_some("100");
            assert_eq!(seen.tag("sampling_rate"), rate, "{version}, row {index}");
        }
        // What is no code is not repeated anywhere.
        assert_eq!(seen[3].record()["who"]["purpose"], Value::Null, "{version}");
        assert_eq!(lab.envoy().stat("wasmcustom.careplane.purposes_invalid").await?, 1, "{version}");
        assert_eq!(lab.envoy().stat("wasmcustom.careplane.emergency_access").await?, 4, "{version}");
        let log = std::fs::read_to_string(lab.directory().join("log/audit.jsonl"))?;
        assert!(!log.contains("because"), "{version}");
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_emergency_is_written_ahead_and_without_evidence_there_is_none() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).policy(ahead).start().await?;
        let doctor = token(&lab, "ann", json!({"homes": "london-1", "realm_access": {"roles": ["doctor"]}}))?;
        let act = |home: &str| {
            let request =
                Request::get(format!("/homes/{home}/notes")).header("x-purpose-of-use", "BTG").bearer(&doctor);
            request.header("x-request-id", request_id(0))
        };
        assert_eq!(lab.gateway().send(act("york-1")).await?.status, 200, "{version}");
        assert_eq!(lab.gateway().send(act("london-1")).await?.status, 200, "{version}");
        let records = crate::support::settle_records(&lab).await?;
        let of = |home: &str| records.iter().find(|record| record["tenant"]["id"] == home).expect("a record");
        assert!(of("york-1")["intent"].is_u64(), "{version}: {}", of("york-1"));
        assert!(of("london-1")["intent"].is_null(), "{version}: {}", of("london-1"));
        // Should the outcome never come, the intent says under what.
        let exported: Vec<Value> =
            lab.otlp().logs().iter().filter_map(|log| serde_json::from_str(&log.body).ok()).collect();
        let intents: Vec<_> = exported.iter().filter(|record| record["kind"] == "intent").collect();
        let [intent] = &intents[..] else { panic!("{version}: {intents:?}") };
        assert_eq!(intent["decision"], json!({"grant": "emergency"}), "{version}: {intent}");
        assert_eq!(intent["who"]["purpose"], "BTG", "{version}: {intent}");
        assert_eq!(intent["chain"]["seq"], of("york-1")["intent"], "{version}: {intent}");
        // The intent is with the collector, so the chain in the log begins after it.
        finish_without_chains(lab).await?;

        // A port whose listener is closed.
        let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let lab = Lab::builder().version(version).policy(ahead).collector(closed).start().await?;
        let doctor = token(&lab, "ann", json!({"homes": "london-1", "realm_access": {"roles": ["doctor"]}}))?;
        let act =
            |home: &str| Request::get(format!("/homes/{home}/notes")).header("x-purpose-of-use", "BTG").bearer(&doctor);
        let refused = lab.gateway().send(act("york-1")).await?;
        assert_eq!((refused.status, refusal(&refused).as_deref()), (503, Some("evidence-unavailable")), "{version}");
        assert_eq!(lab.gateway().send(act("london-1")).await?.status, 200, "{version}");
        lab.stop().await?;
    }
    Ok(())
}

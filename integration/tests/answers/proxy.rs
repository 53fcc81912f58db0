//! What the connection manager answers by itself: nothing was decided, and nothing was sent.

use std::time::Duration;

use anyhow::Result;
use careplane_integration::{Lab, poll::until};
use serde_json::{Value, json};

use crate::{
    application::Application,
    chains::{Chain, client},
    finish, lab,
    support::{SOON, settle_records, status, versions},
};

const CHAIN: &str = "strict";

/// Bytes, and what Envoy makes of them.
struct Case {
    name: &'static str,
    bytes: fn() -> Vec<u8>,
    status: u16,
    details: &'static str,
    flags: &'static [&'static str],
}

fn head(line: &str, fields: &str) -> Vec<u8> {
    format!("{line}\r\nhost: care\r\n{fields}connection: close\r\n\r\n").into_bytes()
}

const CASES: &[Case] = &[
    Case {
        name: "headers that are too large",
        bytes: || head("GET /api/v1/residents HTTP/1.1", &format!("x-large: {}\r\n", "a".repeat(70_000))),
        status: 431,
        details: "codec_error",
        flags: &["DPE"],
    },
    Case {
        name: "no host",
        bytes: || b"GET /api/v1/residents HTTP/1.1\r\nconnection: close\r\n\r\n".to_vec(),
        status: 400,
        details: "missing_host_header",
        flags: &[],
    },
    Case {
        name: "HTTP/1.0",
        bytes: || head("GET /api/v1/residents HTTP/1.0", ""),
        status: 426,
        details: "low_version",
        flags: &["DPE"],
    },
    Case {
        name: "a NUL in the path",
        bytes: || head("GET /api/v1/residents%00Zz9canary HTTP/1.1", ""),
        status: 400,
        details: "path_normalization_failed",
        flags: &[],
    },
    Case {
        name: "an escaped slash",
        bytes: || head("GET /api/v1%2Fresidents HTTP/1.1", ""),
        status: 400,
        details: "path_normalization_failed",
        flags: &[],
    },
    Case {
        name: "an upgrade that is not configured",
        bytes: || {
            b"GET /api/v1/residents HTTP/1.1\r\nhost: care\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
                .to_vec()
        },
        status: 403,
        details: "upgrade_failed",
        flags: &[],
    },
    Case {
        name: "an unknown transfer coding",
        bytes: || head("POST /api/v1/medications/administer HTTP/1.1", "transfer-encoding: Zz9canary\r\n"),
        status: 501,
        details: "codec_error",
        flags: &["DPE"],
    },
    Case {
        name: "no HTTP",
        bytes: || b"Zz9canary\r\n\r\n".to_vec(),
        status: 400,
        details: "codec_error",
        flags: &["DPE"],
    },
];

/// The records that came since there were `before`.
async fn next(lab: &Lab, before: usize) -> Result<Vec<Value>> {
    let log = lab.audit_log();
    until("a record", SOON, async || Ok(Some(log.records()?.split_off(before)).filter(|new| !new.is_empty()))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_connection_manager_refuses_was_neither_allowed_nor_denied_nor_forwarded() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let strict = Chain::new(CHAIN).manager(&json!({"path_with_escaped_slashes_action": "REJECT_REQUEST"}));
        let lab = lab(version, &application, &[strict]).start().await?;
        let mut before = settle_records(&lab).await?.len();
        for case in CASES {
            let answer = client(&lab, CHAIN).await?.raw(&(case.bytes)(), Duration::from_secs(3)).await?;
            let records = next(&lab, before).await?;
            before += records.len();
            let [record] = &records[..] else { panic!("{version}: {}: {records:?}", case.name) };
            let what = format!("{version}: {}: {record}", case.name);
            assert_eq!(status(&answer), Some(case.status), "{what}");
            let outcome = &record["outcome"];
            assert_eq!(record["decision"], json!({"result": "none"}), "{what}");
            assert_eq!((&outcome["answeredBy"], &outcome["forwarded"]), (&json!("proxy"), &json!(false)), "{what}");
            assert_eq!(outcome["details"], case.details, "{what}");
            let flags = outcome["flags"].as_array().cloned().unwrap_or_default();
            assert_eq!(flags, case.flags.iter().map(|flag| json!(flag)).collect::<Vec<_>>(), "{what}");
            assert!(outcome["cluster"].is_null() && outcome["attempts"].is_null(), "{what}");
        }
        assert!(application.received().is_empty(), "{version}: {:?}", application.received());
        let denials = lab.envoy().stats("wasmcustom.careplane.denials.").await?;
        let others: Vec<_> = denials.iter().filter(|(name, _)| !name.ends_with("identity-repeated")).collect();
        assert!(others.is_empty(), "{version}: {others:?}");
        finish(lab).await?;
    }
    Ok(())
}

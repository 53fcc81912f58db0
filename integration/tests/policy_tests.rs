//! `careplane test` against the module: the cases of `integration/envoy_test.yaml`, sent through a real Envoy, end as
//! they are expected to, which `careplane test` says of the same cases without an Envoy. And `careplane diff
//! --records`, which decides the records of this Envoy again.

mod support;

use std::collections::BTreeMap;
use std::env;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use careplane_integration::identity_provider::{AUDIENCE, ISSUER};
use careplane_integration::{Client, Lab, Request, workspace};
use hyper::Method;
use serde_json::{Value, json};
use support::{Seen, health::finish, observe_numbered, versions};

/// The command line, which `make integration` builds beside the tests.
fn careplane() -> Option<PathBuf> {
    let tests = env::current_exe().ok()?;
    let program = tests.parent()?.parent()?.join(format!("careplane{}", env::consts::EXE_SUFFIX));
    if program.is_file() {
        return Some(program);
    }
    let message = "SKIPPED: careplane test against Envoy: the command line is not built (cargo build -p careplane-cli)";
    assert!(env::var("CI").as_deref() != Ok("true"), "{message}");
    // Not eprintln!, which the test runner swallows for a test that passes.
    let _ = writeln!(std::io::stderr(), "{message}");
    None
}

/// The cases with their tables written out, each as expected by `careplane test` itself.
fn cases(careplane: &Path) -> Result<Vec<Value>> {
    let mut command = Command::new(careplane);
    command.current_dir(workspace::root()).args(["test", "--format", "json", "integration/envoy_test.yaml"]);
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    anyhow::ensure!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let result: Value = serde_json::from_str(&text)?;
    Ok(result["files"][0]["cases"].as_array().context("cases")?.clone())
}

/// The request of a case: claims in a token that Envoy verifies, a peer by its certificate.
fn probe(lab: &Lab, case: &Value) -> Result<(Client, Request)> {
    let asked = &case["request"];
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a text");
    let mut request = Request::new(Method::from_bytes(text(&asked["method"])?.as_bytes())?, text(&asked["path"])?);
    for header in asked["headers"].as_array().context("headers")? {
        request = request.header(text(&header[0])?, text(&header[1])?);
    }
    let mut claims = asked["claims"].as_object().context("claims")?.clone();
    if !claims.is_empty() {
        let expires = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)? + Duration::from_secs(3600);
        claims.extend([("iss".into(), json!(ISSUER)), ("aud".into(), json!(AUDIENCE))]);
        claims.insert("exp".into(), json!(expires.as_secs()));
        request = request.bearer(&lab.identity().sign(&Value::Object(claims))?);
    }
    let client = match asked["peer"].as_str() {
        Some(peer) => lab.sidecar(peer)?,
        None => lab.gateway(),
    };
    Ok((client, request))
}

/// What Envoy did, by the names of `expect`.
fn found(key: &str, expected: &Value, seen: &Seen) -> Value {
    let record = seen.record.as_ref();
    let member = |path: &str| record.and_then(|record| record.pointer(path)).cloned().unwrap_or_default();
    let forwarded = |name: &str| json!(seen.forwarded(name).first());
    // Without a record, the headers of the application decide.
    match (key, record.is_some()) {
        ("context", true) => member("/context/name"),
        ("context", false) => forwarded("x-healthcare-context"),
        ("level", true) => member("/context/complianceLevel"),
        ("level", false) => forwarded("x-compliance-level"),
        ("tenant", true) => member("/tenant/id"),
        ("tenant", false) => forwarded("x-tenant-id"),
        ("user", _) => forwarded("x-user-id"),
        ("tier", _) => member("/trace/tier"),
        ("pool", _) => member("/tenant/pool"),
        ("cohort", _) => member("/tenant/cohort"),
        ("grant", _) => member("/decision/grant"),
        ("recorded", has_record) => json!(has_record),
        ("decision", _) => match seen.refusal() {
            Some(_) if expected == "denied" => json!("denied"),
            Some(code) => json!(code),
            None => json!(if seen.upstream.is_some() { "allowed" } else { "none" }),
        },
        ("status", _) => json!(seen.refusal().map(|_| seen.response.status)),
        ("trace", _) => json!(if seen.span.is_some() { "kept" } else { "dropped" }),
        _ => match key.split_once('.') {
            Some(("headers", name)) => json!(seen.forwarded(name)),
            Some(("tags", name)) => json!(seen.tag(name)),
            _ => panic!("this test knows no {key}"),
        },
    }
}

/// Decided again without an Envoy, each record of this one comes to what it says.
fn assert_records_are_decided_alike(careplane: &Path, lab: &Lab) -> Result<()> {
    let mut command = Command::new(careplane);
    command.current_dir(workspace::root()).args(["diff", "integration/envoy.yaml", "integration/envoy.yaml"]);
    let output = command.args(["-o", "json", "--records"]).arg(lab.audit_log().path()).output()?;
    let difference: Value =
        serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let records = &difference["records"];
    assert!(records["compared"].as_u64() > Some(50), "{records}");
    assert_eq!((&records["notReproduced"], &records["changes"]), (&json!(0), &json!([])));
    assert!(output.status.success());
    Ok(())
}

#[tokio::test]
async fn what_careplane_test_expects_is_what_the_module_does_in_envoy() -> Result<()> {
    let Some(careplane) = careplane() else { return Ok(()) };
    let cases = cases(&careplane)?;
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let mut by_number: BTreeMap<u64, Vec<&Value>> = BTreeMap::new();
        for case in &cases {
            by_number.entry(case["request"]["number"].as_u64().unwrap_or(0)).or_default().push(case);
        }
        let mut compared = 0;
        for (number, cases) in by_number {
            let probes = cases.iter().map(|case| probe(&lab, case)).collect::<Result<Vec<_>>>()?;
            let seen = observe_numbered(&lab, u16::try_from(number)?, probes).await?;
            for (case, seen) in cases.into_iter().zip(seen) {
                for (key, expected) in case["expected"].as_object().context("expected")? {
                    // Envoy before 1.37 has some of the tags alone.
                    if key.starts_with("tags.") && !version.has_formatter_tags() {
                        continue;
                    }
                    assert_eq!(&found(key, expected, &seen), expected, "{version}: {}: {key}", case["name"]);
                    compared += 1;
                }
            }
        }
        assert!(compared > 100, "{version}: only {compared} expectations");
        assert_records_are_decided_alike(&careplane, &lab)?;
        finish(lab).await?;
    }
    Ok(())
}

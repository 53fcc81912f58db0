//! Exported events, judged by the JSON Schema that HL7 publishes.

mod events;
mod tools;

use std::collections::BTreeSet;
use std::fs;

use careplane_evidence::Record;
use careplane_evidence::fhir::{Exporter, Form};
use serde_json::{Value, json};

use events::{event_of, events, export, lines};
use tools::{Tool, tool};

#[test]
fn every_event_is_valid_by_the_published_schema() {
    let Some(schema) = tool(Tool::FhirSchema) else { return };
    let mut schema: Value = serde_json::from_str(&fs::read_to_string(schema).unwrap()).unwrap();
    assert_eq!(schema["id"], "http://hl7.org/fhir/json-schema/4.0");
    // For one resource, without the choice of all, so that an error says what is wrong with it.
    let mut validator = |resource: &str| {
        let root = schema.as_object_mut().unwrap();
        root.remove("oneOf");
        root.remove("discriminator");
        root.insert("$ref".into(), format!("#/definitions/{resource}").into());
        let only = json!({
            "$schema": "http://json-schema.org/draft-06/schema#",
            "allOf": [{"$ref": format!("#/definitions/{resource}")}], "definitions": root["definitions"]
        });
        jsonschema::options().should_validate_formats(true).build(&only).unwrap()
    };
    let (event, bundle) = (validator("AuditEvent"), validator("Bundle"));
    let lines = lines();
    let events = events(&lines);
    assert_eq!(events.len(), lines.iter().filter(|line| line.contains(r#""kind":"request""#)).count());
    for value in &events {
        let errors: Vec<_> =
            event.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:?} in {value}");
    }
    for form in [Form::Collection, Form::Transaction] {
        for lines in [&lines[..40], &[]] {
            let value: Value = serde_json::from_str(&export(lines, form)).unwrap();
            assert!(bundle.is_valid(&value), "{value}");
        }
    }
    // The judge does judge.
    let mut wrong = events[0].clone();
    wrong["outcome"] = "5".into();
    assert!(!event.is_valid(&wrong));
    let mut wrong = events[0].clone();
    wrong["unknown"] = "x".into();
    assert!(!event.is_valid(&wrong));
}

#[test]
fn the_same_records_are_the_same_events_in_any_order_and_however_often() {
    let lines = lines();
    let text = |lines: &[String]| export(lines, Form::Ndjson).lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let once = text(&lines);
    let mut shuffled = [lines.clone(), lines].concat();
    fastrand::Rng::with_seed(1).shuffle(&mut shuffled);
    assert_eq!(export(&shuffled, Form::Ndjson).lines().count(), once.len());
    assert_eq!(text(&shuffled), once);
}

#[test]
fn an_outcome_is_what_the_status_says() {
    let outcome = |decision: Value, outcome: Value| {
        let event = event_of(|record| (record["decision"], record["outcome"]) = (decision, outcome));
        (event["outcome"].as_str().unwrap().to_owned(), event["outcomeDesc"].as_str().map(str::to_owned))
    };
    let allowed = || json!({"result": "allowed"});
    let denied = |reason| json!({"result": "denied", "by": "careplane", "reason": reason});
    assert_eq!(outcome(allowed(), json!({"status": 200})), ("0".into(), None));
    assert_eq!(outcome(allowed(), json!({"status": 404})), ("4".into(), Some("status 404".into())));
    assert_eq!(
        outcome(allowed(), json!({"status": 504, "flags": ["UT"]})),
        ("8".into(), Some("status 504; UT".into()))
    );
    assert_eq!(outcome(allowed(), json!({})), ("8".into(), Some("no status".into())));
    assert_eq!(
        outcome(denied("tenant-conflict"), json!({"status": 403})),
        ("4".into(), Some("refused by careplane: tenant-conflict; status 403".into()))
    );
    assert_eq!(outcome(denied("evidence-unavailable"), json!({"status": 503})).0, "8");
    // To a gRPC call.
    assert_eq!(outcome(denied("evidence-unavailable"), json!({"status": 200, "grpcStatus": 14})).0, "8");
    assert_eq!(outcome(denied("tenant-conflict"), json!({"status": 200, "grpcStatus": 7})).0, "4");
}

/// No test validates events against a profile.
#[test]
fn no_event_claims_a_profile() {
    assert!(events(&lines()).iter().all(|event| event.get("meta").is_none()));
}

#[test]
fn a_crossing_names_both_tenants_and_one_agent_began_it() {
    let event = event_of(|record| record["tenant"]["other"] = "care-home-0001".into());
    let tenants: Vec<_> = event["entity"].as_array().unwrap().iter().filter(|it| it["type"]["code"] == "3").collect();
    assert_eq!(tenants.len(), 2);
    let requestors = |event: &Value| {
        let agents = event["agent"].as_array().unwrap();
        agents.iter().filter(|it| it["requestor"] == true).map(|it| it["policy"][0].clone()).collect::<Vec<_>>()
    };
    assert_eq!(requestors(&event), ["urn:careplane:policy:9f86d081884c7d65"]);
    assert_eq!(requestors(&event_of(|record| record["who"] = json!({}))).len(), 1);
}

#[test]
fn an_event_has_the_purpose_of_use_and_says_what_was_an_emergency() {
    let under = |grant: Value, purpose: Value, result: &str| {
        event_of(|record| {
            record["decision"] = json!({"result": result, "by": "careplane", "reason": "grant-limit", "grant": grant});
            record["who"]["purpose"] = purpose;
        })
    };
    let codes = |event: &Value| {
        let subtypes = event["subtype"].as_array().unwrap().iter();
        subtypes.map(|it| it["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let event = under("emergency".into(), "BTG".into(), "allowed");
    let purpose = json!([{"coding": [{
        "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "BTG", "display": "break the glass"
    }]}]);
    assert_eq!(event["purposeOfEvent"], purpose);
    assert_eq!((&event["agent"][0]["purposeOfUse"], &event["agent"][1]["purposeOfUse"]), (&purpose, &Value::Null));
    assert_eq!(codes(&event), ["read", "110127"]);
    assert!(event.to_string().contains(r#"{"type":"grant","valueString":"emergency"}"#), "{event}");
    // Refused, no emergency, no grant: nothing was overridden.
    assert_eq!(codes(&under("emergency".into(), "BTG".into(), "denied")), ["read"]);
    assert_eq!(codes(&under("inspector".into(), "HCOMPL".into(), "allowed")), ["read"]);
    assert_eq!(codes(&under(Value::Null, "ETREAT".into(), "allowed")), ["read"]);
    assert_eq!(event_of(|_| ()).get("purposeOfEvent"), None);
    let unknown = event_of(|record| record["who"]["purpose"] = "NEWCODE".into());
    assert_eq!(unknown["purposeOfEvent"], json!([{"text": "NEWCODE"}]));
}

#[test]
fn a_chain_that_cannot_be_an_id_is_refused() {
    let lines = [event_record("not a uuid").to_string()];
    let record: Record<'_> = serde_json::from_str(&lines[0]).unwrap();
    let error = Exporter::default().event(&record).unwrap_err().to_string();
    assert!(error.starts_with("chain and number make \"not a uuid-1\", which is no FHIR id"), "{error}");
}

fn event_record(chain: &str) -> Value {
    json!({
        "schema": "careplane.audit/v1", "kind": "request", "time": "2026-10-01T07:00:00Z", "hash": "",
        "chain": {"id": chain, "prev": "", "seq": 1}
    })
}

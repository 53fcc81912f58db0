//! Another Wasm plugin in the chain, which answers requests in words of its own; and filters that no list of
//! careplane's knows.

use std::fs;

use anyhow::Result;
use careplane_integration::{EnvoyVersion, Lab};
use serde_json::{Value, json};

use crate::{
    Run,
    application::{ACT, Application},
    chains::{APPLICATION, Chain, filter},
    finish, get, lab,
    support::versions,
};

/// A plugin that answers 403 in this phase, with these response code details.
fn module(phase: &str, details: &str) -> String {
    format!(
        r#"(module
            (import "env" "proxy_send_local_response"
                (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 16) "{details}")
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
            (func (export "proxy_on_context_create") (param i32 i32))
            (func (export "proxy_on_{phase}_headers") (param i32 i32 i32) (result i32)
                ;; Status, details, body, headers (a map of nothing), and no status of gRPC.
                (drop (call $reply (i32.const 403) (i32.const 16) (i32.const {length}) (i32.const 0) (i32.const 0)
                    (i32.const 0) (i32.const 4) (i32.const -1)))
                (i32.const 1)))"#,
        length = details.len(),
    )
}

fn plugin(name: &str, file: &str) -> Value {
    json!({
        "name": name,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {"name": name, "root_id": name, "vm_config": {
                "vm_id": name, "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": file}},
            }},
        },
    })
}

/// Each phase and text of a plugin, and what a record says of it.
const PLUGINS: [(&str, &str, &str, [&str; 4]); 5] = [
    ("free", "request", "Zz9canary was refused", ["denied", "filter", "other", "false"]),
    ("silent", "request", "", ["denied", "filter", "other", "false"]),
    ("pretender", "request", "via_upstream", ["denied", "filter", "via_upstream", "null"]),
    ("late", "response", "Zz9canary was refused", ["allowed", "filter", "other", "true"]),
    ("late-silent", "response", "", ["allowed", "filter", "other", "true"]),
];
const PLACES: [&str; 2] = ["before", "behind"];

async fn start(version: EnvoyVersion, application: &Application, directory: &std::path::Path) -> Result<Lab> {
    let mut chains = Vec::new();
    for (name, phase, details, _) in PLUGINS {
        let file = directory.join(format!("{name}.wasm"));
        fs::write(&file, wat::parse_str(module(phase, details))?)?;
        let plugin = plugin(name, &file.display().to_string());
        chains.push(Chain::new(format!("{name}-before")).before(plugin.clone()));
        chains.push(Chain::new(format!("{name}-behind")).behind(plugin));
    }
    lab(version, application, &chains).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_plugin_writes_stays_in_the_proxy_and_whether_it_refused_is_told() -> Result<()> {
    for version in versions() {
        let directory = tempfile::tempdir()?;
        let application = Application::start().await?;
        let lab = start(version, &application, directory.path()).await?;
        let mut run = Run::new(&lab, &application);
        let cases: Vec<_> = PLUGINS.iter().flat_map(|plugin| PLACES.map(|place| (plugin, place))).collect();
        for ((name, ..), place) in &cases {
            run.send(&format!("{name}-{place}"), get()).await?;
        }
        for (((name, .., expected), place), seen) in cases.iter().zip(run.finish().await?) {
            let what = format!("{version}: {name} {place} careplane: {}", seen.record);
            assert_eq!(seen.response.as_ref().map(|response| response.status), Some(403), "{what}");
            assert_eq!(seen.summary(), *expected, "{what}");
            assert_eq!(seen.received, usize::from(expected[3] == "true"), "{what}");
            assert_eq!(seen.spans.len(), usize::from(expected[0] == "denied"), "{what}: {:?}", seen.spans);
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_a_filter_puts_in_place_of_the_applications_was_forwarded() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let custom = filter(
            "custom_response",
            "CustomResponse",
            &json!({"custom_response_matcher": {"matcher_list": {"matchers": [{
                "predicate": {"single_predicate": {
                    "input": {"name": "status", "typed_config": {
                        "@type": "type.googleapis.com/envoy.type.matcher.v3.HttpResponseStatusCodeMatchInput",
                    }},
                    "value_match": {"exact": "500"},
                }},
                "on_match": {"action": {"name": "replace", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.http.custom_response\
                              .local_response_policy.v3.LocalResponsePolicy",
                    "status_code": 499, "body": {"inline_string": "Zz9canary"},
                }}},
            }]}}}),
        );
        let chains = PLACES.map(|place| match place {
            "before" => Chain::new(place).before(custom.clone()),
            _ => Chain::new(place).behind(custom.clone()),
        });
        let lab = lab(version, &application, &chains).start().await?;
        let mut run = Run::new(&lab, &application);
        for place in PLACES {
            run.send(place, get().header(ACT, "status-500")).await?;
        }
        for (place, seen) in PLACES.iter().zip(run.finish().await?) {
            assert_eq!(seen.response.as_ref().map(|response| response.status), Some(499), "{version}: {place}");
            assert_eq!(seen.summary(), ["allowed", "filter", "other", "true"], "{version}: {place}: {}", seen.record);
            assert_eq!((seen.received, seen.outcome("cluster")), (1, &json!(APPLICATION)), "{version}: {place}");
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_without_a_word_by_a_filter_that_is_not_known_is_a_refusal() -> Result<()> {
    for version in versions() {
        let directory = tempfile::tempdir()?;
        let application = Application::start().await?;
        let buffer = filter(
            "file_system_buffer",
            "FileSystemBufferFilterConfig",
            &json!({
                "manager_config": {"thread_pool": {"thread_count": 1}}, "storage_buffer_path": directory.path(),
                "request": {
                    "behavior": {"fully_buffer": {}}, "memory_buffer_bytes_limit": 10, "storage_buffer_bytes_limit": 10
                },
            }),
        );
        let lab = lab(version, &application, &[Chain::new("stored").behind(buffer)]).start().await?;
        let mut run = Run::new(&lab, &application);
        run.send("stored", careplane_integration::Request::post("/api/v1/financial", "Zz9canary".repeat(100))).await?;
        for seen in run.finish().await? {
            assert_eq!(seen.response.as_ref().map(|response| response.status), Some(413), "{version}");
            assert_eq!(seen.summary(), ["denied", "filter", "other", "false"], "{version}: {}", seen.record);
            assert_eq!((seen.received, seen.spans.len()), (0, 1), "{version}");
        }
        finish(lab).await?;
    }
    Ok(())
}

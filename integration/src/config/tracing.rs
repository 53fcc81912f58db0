//! What of the tracing configuration varies.

use std::{io::Write, sync::Once};

use serde_json::{Value, json};

use super::connection_managers;

/// The header in which the pseudonym of the user reaches the span where Envoy has no formatter tags.
const USER_PSEUDONYM_HEADER: &str = "x-user-pseudonym";

/// The tags that can be read from what careplane writes into the request.
const IN_HEADERS: [(&str, &str); 5] = [
    ("tenant_id", "x-tenant-id"),
    ("user_id", USER_PSEUDONYM_HEADER),
    ("correlation_id", "x-correlation-id"),
    ("healthcare_context", "x-healthcare-context"),
    ("compliance_level", "x-compliance-level"),
];

/// Sets the percentage of requests that Envoy samples by chance.
pub(super) fn set_random_sampling(document: &mut Value, percent: f64) {
    for manager in connection_managers(document) {
        manager["tracing"]["random_sampling"] = json!({"value": percent});
    }
}

/// Envoy before 1.37 refuses custom tags that are formatters: reads the five tags from request headers, one of which
/// the policy is configured for it, and leaves the others out.
pub(super) fn replace_formatter_tags(document: &mut Value, policy: &mut Value) {
    let mut dropped = Vec::new();
    for manager in connection_managers(document) {
        let Some(tags) = manager["tracing"]["custom_tags"].as_array_mut() else {
            continue;
        };
        for tag in tags.iter_mut() {
            if let Some((name, header)) = IN_HEADERS.iter().find(|(name, _)| tag["tag"] == *name) {
                *tag = json!({"tag": name, "request_header": {"name": header}});
                if *name == "tenant_id" {
                    tag["request_header"]["default_value"] = json!("unknown");
                }
            }
        }
        tags.retain(|tag| {
            let keep = tag.get("value").is_none();
            let name = tag["tag"].as_str().unwrap_or_default();
            if !keep && !dropped.iter().any(|known| known == name) {
                dropped.push(name.to_owned());
            }
            keep
        });
    }
    // What is no policy stays none.
    if policy.is_object() {
        policy["headers"]["userPseudonym"] = json!(USER_PSEUDONYM_HEADER);
    }
    // A lab derives its configuration again at every reload; once is enough.
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        // Not eprintln!, which the test runner swallows for a test that passes. A closed stderr is no error.
        let _ = writeln!(
            std::io::stderr(),
            "Envoy before 1.37 has no formatter tags: read from headers instead, left out: {dropped:?}"
        );
    });
}

#[cfg(test)]
mod tests {
    use careplane_exchange::SPAN_TAGS;

    use super::*;
    use crate::config::EnvoyConfig;

    #[test]
    fn envoy_reads_each_tag_from_the_filter_state_of_its_name() {
        let mut document = EnvoyConfig::load().unwrap().document().clone();
        for manager in connection_managers(&mut document) {
            let expected = SPAN_TAGS
                .map(|tag| json!({"tag": tag, "value": format!("%FILTER_STATE(wasm.careplane.{tag}:PLAIN)%")}));
            let tags = manager["tracing"]["custom_tags"].as_array().unwrap();
            let (ours, envoys) = tags.split_at(SPAN_TAGS.len());
            assert_eq!(ours, expected);
            assert!(envoys.iter().all(|tag| tag["literal"]["value"] == "-"), "{envoys:?}");
        }
    }
}

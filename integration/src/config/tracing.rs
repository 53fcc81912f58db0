//! What of the tracing configuration varies.

use std::sync::Once;

use serde_json::{Value, json};

use super::connection_managers;

/// The header in which the pseudonym of the user reaches the span where Envoy has no formatter tags.
const USER_PSEUDONYM_HEADER: &str = "x-user-pseudonym";

/// Sets the percentage of requests that Envoy samples by chance.
pub(super) fn set_random_sampling(document: &mut Value, percent: f64) {
    for manager in connection_managers(document) {
        manager["tracing"]["random_sampling"] = json!({"value": percent});
    }
}

/// Envoy before 1.37 refuses custom tags that are formatters: leaves them out, but for `user_id`, which then comes from a
/// request header that the policy is told to write.
pub(super) fn replace_formatter_tags(document: &mut Value, policy: &mut Value) {
    let mut dropped = Vec::new();
    for manager in connection_managers(document) {
        let Some(tags) = manager["tracing"]["custom_tags"].as_array_mut() else {
            continue;
        };
        for tag in tags.iter_mut().filter(|tag| tag["tag"] == "user_id") {
            *tag = json!({"tag": "user_id", "request_header": {"name": USER_PSEUDONYM_HEADER}});
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
    policy["headers"]["userPseudonym"] = json!(USER_PSEUDONYM_HEADER);
    // A lab derives its configuration again at every reload; once is enough.
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        eprintln!(
            "this Envoy has no formatter tags: user_id is read from {USER_PSEUDONYM_HEADER}, left out: {dropped:?}"
        );
    });
}

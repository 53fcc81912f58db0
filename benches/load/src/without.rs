//! What a part of careplane costs in Envoy: the same Envoy without that part, in the same rounds.
//!
//! Envoy has no symbols to sample by, so what it does for a filter (span tags, access log, another choice of the route)
//! shows only as a difference.

use serde_json::{Value, json};

/// One part, left out of the bootstrap of careplane's contender.
#[derive(Clone, Copy)]
pub struct Part {
    /// Its name in the table.
    pub name: &'static str,
    /// What stands in its place.
    pub instead: &'static str,
    /// Leaves it out.
    pub leave_out: fn(&mut Value),
}

/// All that are measured.
pub const PARTS: &[Part] = &[
    Part {
        name: "span tags",
        instead: "no custom tags",
        leave_out: |bootstrap| tracing(bootstrap)["custom_tags"] = json!([]),
    },
    Part {
        name: "span tags, six of eleven",
        instead: "the five tags of healthcare alone",
        leave_out: |bootstrap| {
            if let Some(tags) = tracing(bootstrap)["custom_tags"].as_array_mut() {
                tags.truncate(5);
            }
        },
    },
    Part {
        name: "span tags from filter state",
        instead: "the five tags from request headers, as Envoy before 1.37 has them",
        leave_out: |bootstrap| {
            let tags = TAGS.map(|(tag, header)| json!({"tag": tag, "request_header": {"name": header}}));
            tracing(bootstrap)["custom_tags"] = json!(tags);
        },
    },
    Part {
        name: "access log",
        instead: "no access log",
        leave_out: |bootstrap| manager(bootstrap)["access_log"] = json!([]),
    },
    Part {
        name: "condition of the access log",
        instead: "a line for every request",
        leave_out: |bootstrap| {
            if let Some(log) = manager(bootstrap)["access_log"][0].as_object_mut() {
                log.remove("filter");
            }
        },
    },
    Part {
        name: "records",
        instead: "`audit: none` in each context, no access log",
        leave_out: |bootstrap| {
            manager(bootstrap)["access_log"] = json!([]);
            policy(bootstrap, |policy| {
                let contexts = policy["contexts"].as_array_mut().into_iter().flatten();
                contexts.for_each(|context| context["audit"] = json!("none"));
                policy["defaultContext"]["audit"] = json!("none");
            });
        },
    },
    Part {
        name: "routes by header",
        instead: "one route for all",
        leave_out: |bootstrap| {
            for host in manager(bootstrap)["route_config"]["virtual_hosts"].as_array_mut().into_iter().flatten() {
                if let Some(routes) = host["routes"].as_array_mut() {
                    routes.drain(..routes.len().saturating_sub(1));
                }
            }
        },
    },
    Part {
        name: "five headers of the upstream request",
        instead: "`headers.omit` for all but the correlation id, the pool and the cohort",
        leave_out: |bootstrap| {
            let five = TAGS.map(|(_, header)| header).into_iter().filter(|header| *header != CORRELATION_ID);
            let omit: Vec<&str> = five.chain(["x-compliance-flags"]).collect();
            policy(bootstrap, |policy| policy["headers"]["omit"] = json!(omit));
        },
    },
    Part {
        name: "echo on the response",
        instead: "`correlation: {echo: false}`",
        leave_out: |bootstrap| policy(bootstrap, |policy| policy["identity"]["correlation"]["echo"] = json!(false)),
    },
    Part {
        name: "pseudonym of the user",
        instead: "`pseudonymise: false`",
        leave_out: |bootstrap| policy(bootstrap, |policy| policy["identity"]["user"]["pseudonymise"] = json!(false)),
    },
    Part {
        name: "release cohort",
        instead: "no `routing.canary`",
        leave_out: |bootstrap| {
            policy(bootstrap, |policy| {
                if let Some(routing) = policy["routing"].as_object_mut() {
                    routing.remove("canary");
                }
            });
        },
    },
];

const CORRELATION_ID: &str = "x-correlation-id";
/// The five tags, and the headers that have the same values; the user's pseudonym is in none.
const TAGS: [(&str, &str); 5] = [
    ("tenant_id", "x-tenant-id"),
    ("user_id", "x-user-id"),
    ("correlation_id", CORRELATION_ID),
    ("healthcare_context", "x-healthcare-context"),
    ("compliance_level", "x-compliance-level"),
];

fn manager(bootstrap: &mut Value) -> &mut Value {
    &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
}

fn tracing(bootstrap: &mut Value) -> &mut Value {
    &mut manager(bootstrap)["tracing"]
}

/// Changes the policy of each plugin.
fn policy(bootstrap: &mut Value, change: impl Fn(&mut Value)) {
    for filter in manager(bootstrap)["http_filters"].as_array_mut().into_iter().flatten() {
        let Some(configuration) = filter.pointer_mut("/typed_config/config/configuration/value") else { continue };
        let document = configuration.as_str().and_then(|text| serde_json::from_str(text).ok());
        if let Some(mut document) = document {
            change(&mut document);
            *configuration = json!(document.to_string());
        }
    }
}

//! Traces, access logs and alerts.

use std::fs;

use super::{Disagreement, changed, findings};

/// What is found where the mesh is changed.
pub const DISAGREEMENTS: &[Disagreement] = &[
    (
        "observability.yaml",
        "randomSamplingPercentage: 0",
        "randomSamplingPercentage: 5",
        &["observability.yaml:7:33 careplane/base-rate"],
    ),
    ("observability.yaml", "      randomSamplingPercentage: 0\n", "", &["observability.yaml:6:7 careplane/base-rate"]),
    (
        "observability.yaml",
        "wasm.careplane.user_id:",
        "wasm.careplane.user:",
        &[
            "observability.yaml:9:9 careplane/span-tag-unread",
            "observability.yaml:10:38 careplane/filter-state-unwritten",
        ],
    ),
    (
        "observability.yaml",
        "wasm.careplane.sampling_rate",
        "careplane.sampling_rate",
        &["observability.yaml:14:44 careplane/filter-state-unwritten"],
    ),
    ("observability.yaml", "x-healthcare-context", "x-context", &["observability.yaml:9:9 careplane/span-tag-unread"]),
    (
        "observability.yaml",
        "[{name: careplane-audit}]",
        "[{name: envoy}]",
        &["gateway.yaml:35:12 careplane/audit-unread", "inbound.yaml:18:14 careplane/audit-unread"],
    ),
    (
        "observability.yaml",
        "%FILTER_STATE(wasm.careplane.audit:PLAIN)%",
        "%START_TIME%",
        &["gateway.yaml:35:12 careplane/audit-unread"],
    ),
    (
        "observability.yaml",
        "randomSamplingPercentage: 0",
        "randomSamplingPercentage: 0\n      useRequestIdForTraceSampling: false",
        &["observability.yaml:8:37 careplane/trace-request-id"],
    ),
    (
        "observability.yaml",
        "    extensionProviders:\n",
        "    extensionProviders:\n      - name: otel\n        \
         opentelemetry: {service: a, port: 4317, dynatraceSampler: {tenant: t, clusterId: 1}}\n",
        &["observability.yaml:25:67 careplane/trace-sampler"],
    ),
    (
        "observability.yaml",
        "    extensionProviders:\n",
        "    extensionProviders:\n      - name: unused\n        \
         opentelemetry: {service: a, port: 4317, dynatraceSampler: {tenant: t, clusterId: 1}}\n",
        &[],
    ),
    (
        "observability.yaml",
        "    extensionProviders:\n",
        "    extensionProviders:\n      - {name: otel, zipkin: {service: a, port: 9411}}\n",
        &[],
    ),
    (
        "traffic.yaml",
        "---\n",
        "---\napiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\n\
         metadata: {name: tracer, namespace: core-healthcare}\nspec:\n  configPatches:\n    - patch:\n        \
         value:\n          request_id_extension: {typed_config: {pack_trace_reason: false}}\n---\n",
        &["traffic.yaml:33:68 careplane/trace-reason"],
    ),
    (
        "traffic.yaml",
        "---\n",
        "---\napiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\n\
         metadata: {name: tracer, namespace: core-healthcare}\nspec:\n  configPatches:\n    - patch:\n        \
         value:\n          \"@type\": type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig\n          \
         sampler: {name: envoy.tracers.opentelemetry.samplers.always_on}\n---\n",
        &["traffic.yaml:34:20 careplane/trace-sampler"],
    ),
];

#[test]
fn an_emergency_that_no_alert_tells_of_is_a_warning() {
    let emergency = "    identity:\n      purpose: {sources: [{header: x-purpose-of-use}]}\n      \
                     grants: [{name: emergency, when: {claim: roles, contains: nurse}, tenants: any, requires: \
                     {purpose: [BTG]}}]\n";
    let folder = changed("emergency", ("gateway.yaml", "    identity:\n", emergency));
    // Without rules among the inputs, nothing is known of alerts.
    assert_eq!(findings(&folder), Vec::<String>::new());
    let expected = ["gateway.yaml:19:107 careplane/emergency-unalerted"];
    let write = |metric: &str| {
        let rules = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: rules}}\ndata:\n  a.yaml: |\n    groups:\n      \
             - name: a\n        rules:\n          - alert: A\n            expr: {metric} > 0\n"
        );
        fs::write(folder.join("alerts.yaml"), rules).unwrap();
    };
    write("careplane_audit_lost");
    assert_eq!(findings(&folder), expected);
    write("careplane_emergency_access");
    assert_eq!(findings(&folder), Vec::<String>::new());
    let rule = "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata: {name: a}\n\
                spec: {groups: [{name: a, rules: [{alert: A, expr: up == 0}]}]}\n";
    fs::write(folder.join("alerts.yaml"), rule).unwrap();
    assert_eq!(findings(&folder), expected);
}

#[test]
fn spans_that_go_elsewhere_than_late_spans_are_noted() {
    let folder = changed(
        "zipkin",
        (
            "observability.yaml",
            "    extensionProviders:\n",
            "    extensionProviders:\n      - {name: otel, zipkin: {service: a, port: 9411}}\n",
        ),
    );
    let policy = fs::read_to_string(folder.join("inbound.yaml")).unwrap();
    let export = "version: careplane/v1\n      export: {cluster: collector}\n";
    fs::write(folder.join("inbound.yaml"), policy.replace("version: careplane/v1\n", export)).unwrap();
    assert_eq!(findings(&folder), ["observability.yaml:6:26 careplane/late-span-zipkin"]);
}

#[test]
fn a_base_rate_below_the_lowest_tier_is_still_a_matter_of_the_clock() {
    let folder = changed("clock", ("gateway.yaml", "tier: never", "tier: default"));
    let text = fs::read_to_string(folder.join("observability.yaml")).unwrap();
    let rate = text.replace("randomSamplingPercentage: 0", "randomSamplingPercentage: 5");
    fs::write(folder.join("observability.yaml"), rate).unwrap();
    assert_eq!(findings(&folder), ["observability.yaml:7:33 careplane/base-rate-clock"]);
}

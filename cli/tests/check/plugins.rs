//! Policies, and the plugins that have them.

use std::fs;

use super::{Disagreement, careplane, changed, findings, folder};

const DIGEST: &str = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What is found where the mesh is changed.
pub const DISAGREEMENTS: &[Disagreement] = &[
    ("gateway.yaml", "tier: never", "tier: nevver", &["gateway.yaml:27:15 careplane/policy"]),
    ("gateway.yaml", "tier: never", "teer: never", &["gateway.yaml:27:9 careplane/policy"]),
    (
        "gateway.yaml",
        "  pluginName: careplane",
        "  pluginName: careplain",
        &["gateway.yaml:9:15 careplane/plugin-name"],
    ),
    ("gateway.yaml", "phase: AUTHZ", "phase: AUTHN", &["gateway.yaml:10:10 careplane/plugin-phase"]),
    ("inbound.yaml", "  phase: AUTHZ\n", "", &["inbound.yaml:3:18 careplane/plugin-phase-late"]),
    ("gateway.yaml", "  priority: 100\n", "", &["gateway.yaml:3:18 careplane/plugin-priority"]),
    ("gateway.yaml", "url: oci://", "url: ", &["gateway.yaml:8:8 careplane/plugin-url"]),
    ("gateway.yaml", DIGEST, "", &["gateway.yaml:8:8 careplane/plugin-digest"]),
    (
        "inbound.yaml",
        "failStrategy: FAIL_RELOAD",
        "failStrategy: FAIL_OPEN",
        &["inbound.yaml:11:19 careplane/plugin-fail-strategy"],
    ),
    ("inbound.yaml", "    failStrategy: FAIL_RELOAD\n", "", &["inbound.yaml:3:18 careplane/plugin-fail-strategy"]),
    (
        "inbound.yaml",
        "env: [{name: CAREPLANE_PSEUDONYM_KEY, valueFrom: HOST}]",
        "env: [{name: KEY, valueFrom: HOST}]",
        &["inbound.yaml:13:12 careplane/plugin-env", "inbound.yaml:13:12 careplane/pseudonym-key"],
    ),
    (
        "inbound.yaml",
        "CAREPLANE_PSEUDONYM_KEY, valueFrom: HOST",
        "CAREPLANE_PSEUDONYM_KEY, value: secret",
        &["inbound.yaml:13:12 careplane/plugin-env", "inbound.yaml:13:52 careplane/pseudonym-key-inline"],
    ),
    (
        "inbound.yaml",
        "\n      version: careplane/v1\n      identity:\n        \
         trustedPeers: [spiffe://cluster.local/ns/core-healthcare/sa/api-gateway]\n      \
         audit: {placement: inbound}",
        " {}",
        &["inbound.yaml:14:19 careplane/policy-missing"],
    ),
    (
        "inbound.yaml",
        "      version: careplane/v1\n",
        "      version: careplane/v1\n      export: {cluster: collector, queueBytes: 65536}\n",
        &["inbound.yaml:16:48 careplane/queue-size"],
    ),
    (
        "traffic.yaml",
        "---\n",
        without_filter!("extensions.istio.io/wasmplugin/istio-system.gateway"),
        &["traffic.yaml:32:78 careplane/filter-disabled"],
    ),
    (
        "traffic.yaml",
        "---\n",
        "---\napiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\n\
         metadata: {name: off, namespace: istio-system}\nspec:\n  configPatches:\n    \
         - applyTo: HTTP_ROUTE\n      \
         patch: {operation: MERGE, value: {typed_per_filter_config: \
         {\"extensions.istio.io/trafficextension/istio-system.inbound\": {disabled: true}}}}\n---\n",
        &["traffic.yaml:32:67 careplane/filter-disabled"],
    ),
    (
        "traffic.yaml",
        "---\n",
        "---\napiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\n\
         metadata: {name: own, namespace: istio-system}\nspec:\n  configPatches:\n    \
         - applyTo: HTTP_FILTER\n      patch:\n        operation: INSERT_FIRST\n        \
         value: {name: careplane, typed_config: {\"@type\": \
         type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm}}\n---\n",
        &["traffic.yaml:33:20 careplane/filter-reordered"],
    ),
    ("inbound.yaml", "placement: inbound", "placement: outbound", &["inbound.yaml:18:26 careplane/placement"]),
    ("inbound.yaml", "      audit: {placement: inbound}\n", "", &["inbound.yaml:15:7 careplane/placement-missing"]),
    (
        "gateway.yaml",
        "        tier: always\n",
        "        tier: always\n        enforcement: shadow\n",
        &["gateway.yaml:23:22 careplane/shadow"],
    ),
    ("traffic.yaml", "apiVersion", "apiVersion: [", &["traffic.yaml:1:14 careplane/not-yaml"]),
];

#[test]
fn what_only_an_absent_filter_writes_is_noted_once() {
    let folder = changed("absent", ("gateway.yaml", "pluginName: careplane", "pluginName: audit"));
    fs::remove_file(folder.join("inbound.yaml")).unwrap();
    assert_eq!(findings(&folder), ["observability.yaml:9:40 careplane/filter-absent"]);
}

#[test]
fn a_directory_from_a_service_that_is_not_there_is_found() {
    let folder = folder("directory");
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: tenant-directory, namespace: operations}\n\
                   spec: {ports: [{port: 80}]}\n";
    fs::write(folder.join("service.yaml"), service).unwrap();
    for (cluster, found) in [
        ("outbound|80||tenant-directory.operations.svc.cluster.local", false),
        ("outbound|81||tenant-directory.operations.svc.cluster.local", true),
        ("outbound|80||tenants.operations.svc.cluster.local", true),
        ("a-static-cluster", false),
    ] {
        let policy = format!("version: careplane/v1\ntenants:\n  directory: {{cluster: \"{cluster}\"}}\n");
        fs::write(folder.join("policy.yaml"), policy).unwrap();
        let expected: &[&str] = if found { &["policy.yaml:3:24 careplane/directory-cluster"] } else { &[] };
        assert_eq!(findings(&folder), expected, "{cluster}");
    }
}

#[test]
fn what_is_in_shadow_is_noted_and_that_it_does_not_wait() {
    let folder = folder("shadow");
    let policy = "version: careplane/v1\nenforcement: shadow\ncontexts:\n  \
                  - {name: a, complianceLevel: critical, match: [{path: /a}]}\n  \
                  - {name: b, complianceLevel: critical, enforcement: enforce, match: [{path: /b}]}\n\
                  audit: {writeAhead: [critical]}\nexport: {cluster: collector}\n";
    fs::write(folder.join("policy.yaml"), policy).unwrap();
    let expected = ["policy.yaml:2:14 careplane/shadow", "policy.yaml:6:21 careplane/shadow-write-ahead"];
    assert_eq!(findings(&folder), expected);
    // Notes fail no pipeline.
    assert_eq!(careplane(&folder, &["."]).status.code(), Some(0));
}

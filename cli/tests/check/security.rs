//! Who is believed: peers, claims, headers, paths, grants.

use std::fs;

use super::{Disagreement, changed, findings};

/// What is found where the mesh is changed.
pub const DISAGREEMENTS: &[Disagreement] = &[
    ("inbound.yaml", "sa/api-gateway]", "sa/gateway]", &["inbound.yaml:17:24 careplane/trusted-peer-unknown"]),
    (
        "inbound.yaml",
        "[spiffe://cluster.local/ns/core-healthcare/sa/api-gateway]",
        "any",
        &["inbound.yaml:17:23 careplane/trusted-peers-any"],
    ),
    (
        "inbound.yaml",
        "match: [{mode: SERVER}]",
        "targetRefs: [{group: gateway.networking.k8s.io, kind: GatewayClass, name: istio-waypoint}]",
        &[],
    ),
    (
        "security.yaml",
        "kind: RequestAuthentication",
        "kind: PeerAuthentication",
        &["gateway.yaml:18:7 careplane/claims-unverified", "inbound.yaml:17:9 careplane/claims-unverified"],
    ),
    (
        "observability.yaml",
        "  meshConfig:\n",
        "  meshConfig:\n    trustDomain: care.example\n",
        &["gateway.yaml:18:22 careplane/trust-domain", "inbound.yaml:17:24 careplane/trust-domain"],
    ),
    (
        "observability.yaml",
        "  meshConfig:\n",
        "  meshConfig:\n    trustDomain: care.example\n    trustDomainAliases: [cluster.local]\n",
        &[],
    ),
    (
        "observability.yaml",
        "  meshConfig:\n",
        "  meshConfig:\n    caCertificates: [{pem: x, trustDomains: [cluster.local]}]\n    \
         trustDomain: care.example\n",
        &[],
    ),
    (
        "traffic.yaml",
        "---\n",
        without_filter!("envoy.filters.http.jwt_authn"),
        &["traffic.yaml:32:78 careplane/claims-unverified"],
    ),
    (
        "traffic.yaml",
        "  http:\n",
        "  http:\n    - {match: [{uri: {prefix: /b}}], headers: {request: {set: {X-Tenant-Pool: pool-a}}}, route: \
         [{destination: {host: a}}]}\n",
        &["traffic.yaml:7:64 careplane/header-overwritten"],
    ),
    (
        "traffic.yaml",
        "  http:\n",
        "  http:\n    - {match: [{uri: {prefix: /b}}], route: [{destination: {host: a}, headers: {request: \
         {remove: [x-other, x-tenant-id]}}}]}\n",
        &["traffic.yaml:7:109 careplane/header-overwritten"],
    ),
    (
        "traffic.yaml",
        "---\n",
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n\
         metadata: {name: out, namespace: core-healthcare}\nspec:\n  hosts: [nhs.example]\n  \
         http: [{headers: {request: {remove: [x-tenant-id]}}, route: [{destination: {host: nhs.example}}]}]\n---\n\
         apiVersion: networking.istio.io/v1\nkind: ServiceEntry\n\
         metadata: {name: nhs, namespace: core-healthcare}\n\
         spec: {hosts: [nhs.example], location: MESH_EXTERNAL}\n---\n",
        &[],
    ),
    (
        "gateway.yaml",
        "    identity:\n",
        "    identity:\n      overrides: pass\n",
        &["gateway.yaml:18:18 careplane/overrides-pass"],
    ),
    (
        "security.yaml",
        "items:\n",
        "items:\n  - apiVersion: security.istio.io/v1\n    kind: AuthorizationPolicy\n    \
         metadata: {name: nurses, namespace: core-healthcare}\n    spec:\n      action: DENY\n      \
         rules: [{to: [{operation: {paths: [/api/v1/medications/administer]}}]}]\n",
        &["observability.yaml:23:5 careplane/path-normalization", "security.yaml:9:42 careplane/path-spelling"],
    ),
    (
        "security.yaml",
        "items:\n",
        "items:\n  - apiVersion: security.istio.io/v1\n    kind: AuthorizationPolicy\n    \
         metadata: {name: nurses, namespace: core-healthcare}\n    spec:\n      action: DENY\n      \
         rules:\n        - to: [{operation: {paths: [/api/v1/medications/administer]}}]\n        \
         - when: [{key: \"request.headers[x-healthcare-context]\", values: [medication-administration]}]\n",
        &[],
    ),
    (
        "security.yaml",
        "items:\n",
        "items:\n  - apiVersion: security.istio.io/v1\n    kind: AuthorizationPolicy\n    \
         metadata: {name: nurses, namespace: core-healthcare}\n    spec:\n      \
         rules: [{to: [{operation: {paths: [/api/v1/medications/administer*]}}]}]\n",
        &["security.yaml:8:42 careplane/path-suffix"],
    ),
    (
        "security.yaml",
        "items:\n",
        "items:\n  - apiVersion: security.istio.io/v1\n    kind: AuthorizationPolicy\n    \
         metadata: {name: nurses, namespace: core-healthcare}\n    spec:\n      \
         rules: [{to: [{operation: {paths: [/api/v1/medications, /api/v1/medications/*]}}]}]\n",
        &[],
    ),
    (
        "security.yaml",
        "items:\n",
        "items:\n  - apiVersion: v1\n    kind: ConfigMap\n    metadata: {name: istio-ca}\n    \
         data: {mesh: \"not: [yaml\"}\n",
        &[],
    ),
    (
        "gateway.yaml",
        "    identity:\n",
        "    identity:\n      tenant: {sources: [{claim: [care, tenants]}]}\n",
        &["gateway.yaml:18:26 careplane/list-unselected"],
    ),
    (
        "gateway.yaml",
        "    identity:\n",
        "    identity:\n      tenant: {sources: [{claim: tenants}, {path: tenant}]}\n",
        &["gateway.yaml:18:44 careplane/path-source-unknown"],
    ),
    (
        "gateway.yaml",
        "    identity:\n",
        "    identity:\n      grants: [{name: support, when: {claim: roles, contains: support}, tenants: any}]\n",
        &["gateway.yaml:18:16 careplane/grant-unlimited"],
    ),
    (
        "gateway.yaml",
        "    identity:\n",
        "    identity:\n      \
         grants: [{name: support, when: {claim: roles, contains: support}, tenants: any, actions: [read]}]\n",
        &[],
    ),
    (
        "gateway.yaml",
        "    identity:\n",
        "    identity:\n      \
         grants: [{name: chain, when: {claim: roles, contains: group-manager}, tenants: {group: {claim: \
         group}}}]\n",
        &["gateway.yaml:18:86 careplane/grant-reaches-none"],
    ),
];

#[test]
fn a_waypoint_that_believes_everyone_is_a_warning() {
    let folder = changed(
        "waypoint",
        ("inbound.yaml", "match: [{mode: SERVER}]", "targetRefs: [{kind: GatewayClass, name: istio-waypoint}]"),
    );
    let file = folder.join("inbound.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("[spiffe://cluster.local/ns/core-healthcare/sa/api-gateway]", "any")).unwrap();
    assert_eq!(findings(&folder), ["inbound.yaml:17:23 careplane/trusted-peers-waypoint"]);
}

#[test]
fn suffixes_that_the_policy_refuses_are_no_finding() {
    let folder = changed(
        "suffixes",
        (
            "security.yaml",
            "items:\n",
            "items:\n  - apiVersion: security.istio.io/v1\n    kind: AuthorizationPolicy\n    \
             metadata: {name: nurses, namespace: core-healthcare}\n    spec:\n      \
             rules: [{to: [{operation: {paths: [/api/v1/medications/administer*]}}]}]\n",
        ),
    );
    assert_eq!(findings(&folder), ["security.yaml:8:42 careplane/path-suffix"]);
    for file in ["gateway.yaml", "inbound.yaml"] {
        let text = fs::read_to_string(folder.join(file)).unwrap();
        let indent = if file == "gateway.yaml" { "    " } else { "      " };
        fs::write(folder.join(file), format!("{text}{indent}paths: {{ambiguous: reject}}\n")).unwrap();
    }
    assert_eq!(findings(&folder), [""; 0]);
}

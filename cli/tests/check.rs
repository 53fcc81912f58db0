//! `careplane check` on a mesh that agrees with itself, and on the same mesh with one thing changed.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const MESH: [&str; 5] = ["gateway.yaml", "inbound.yaml", "observability.yaml", "security.yaml", "traffic.yaml"];

fn mesh() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mesh")
}

/// An empty folder of its own for a test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("check").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A copy of the mesh in which one text is another one.
fn changed(name: &str, (file, from, to): (&str, &str, &str)) -> PathBuf {
    let folder = folder(name);
    for known in MESH {
        let text = fs::read_to_string(mesh().join(known)).unwrap();
        assert!(known != file || text.contains(from), "{file} has no {from:?}");
        let text = if known == file { text.replacen(from, to, 1) } else { text };
        fs::write(folder.join(known), text).unwrap();
    }
    folder
}

fn careplane(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_careplane")).current_dir(folder).arg("check").args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// `file:line:column rule` of each finding.
fn findings(folder: &Path) -> Vec<String> {
    let output = careplane(folder, &[".", "--format", "json"]);
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let text = |finding: &Value| {
        let place = &finding["place"];
        let file = place["file"].as_str().unwrap();
        format!("{file}:{}:{} {}", place["line"], place["column"], finding["rule"].as_str().unwrap())
    };
    report["findings"].as_array().unwrap().iter().map(text).collect()
}

#[test]
fn a_mesh_that_agrees_with_itself_is_good() {
    let output = careplane(&mesh(), &["."]);
    assert_eq!(stdout(&output), "0 errors, 0 warnings, 0 notes in 8 documents: 2 policies, 2 plugins\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn each_disagreement_is_found_where_it_is() {
    let digest = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let url = format!("oci://registry.example/careplane/careplane:0.1.0{digest}");
    let table: &[(&str, &str, &str, &[&str])] = &[
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
        ("gateway.yaml", &url, url.trim_start_matches("oci://"), &["gateway.yaml:8:8 careplane/plugin-url"]),
        ("gateway.yaml", digest, "", &["gateway.yaml:8:8 careplane/plugin-digest"]),
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
            "gateway.yaml",
            "canary: {percent: 5}",
            "canary: {percent: 5, header: x-cohort}",
            &["gateway.yaml:31:36 careplane/routing-header-unread"],
        ),
        (
            "gateway.yaml",
            "    routing:\n",
            "    routing:\n      poolHeader: x-pool\n",
            &["gateway.yaml:30:19 careplane/routing-header-unread"],
        ),
        (
            "traffic.yaml",
            "- match: [{headers: {x-release-cohort: {exact: canary}}}]",
            "- match: [{headers: {x-release-cohort: {exact: next}}}]",
            &["gateway.yaml:31:15 careplane/cohort-without-route"],
        ),
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
            "gateway.yaml",
            "[pool-a, pool-b]",
            "[pool-a, pool-b, pool-c]",
            &["gateway.yaml:30:31 careplane/pool-without-route", "gateway.yaml:30:31 careplane/pool-without-subset"],
        ),
        ("traffic.yaml", "exact: pool-b", "exact: pool-x", &["gateway.yaml:30:23 careplane/pool-without-route"]),
        (
            "traffic.yaml",
            "x-tenant-pool: {exact: pool-a}",
            "x-tenant-pool: {exact: pool-b}",
            &["gateway.yaml:30:15 careplane/pool-without-route", "traffic.yaml:14:64 careplane/misrouted"],
        ),
        // A route that comes too late is none.
        (
            "traffic.yaml",
            "    - match: [{headers: {x-tenant-pool: {exact: pool-b}}}]",
            "    - route: [{destination: {host: medication-service, subset: stable}}]\n    \
             - match: [{headers: {x-tenant-pool: {exact: pool-b}}}]",
            &["traffic.yaml:15:7 careplane/misrouted"],
        ),
        // The cohort comes before the pool: a route of a pool that goes first keeps its canary tenants.
        (
            "traffic.yaml",
            "    - match: [{headers: {x-release-cohort: {exact: canary}}}]\n      \
             route: [{destination: {host: medication-service, subset: canary}}]\n    \
             - match: [{headers: {x-tenant-pool: {exact: pool-a}}}]\n      \
             route: [{destination: {host: medication-service, subset: pool-a}}]\n",
            "    - match: [{headers: {x-tenant-pool: {exact: pool-a}}}]\n      \
             route: [{destination: {host: medication-service, subset: pool-a}}]\n    \
             - match: [{headers: {x-release-cohort: {exact: canary}}}]\n      \
             route: [{destination: {host: medication-service, subset: canary}}]\n",
            &["traffic.yaml:11:15 careplane/misrouted"],
        ),
        // A route for some paths can be meant to come first, and one for everything cannot, however it says so.
        (
            "traffic.yaml",
            "    - match: [{headers: {x-tenant-pool: {exact: pool-a}}}]",
            "    - match: [{uri: {prefix: /assets/}}]\n      \
             route: [{destination: {host: medication-service, subset: stable}}]\n    \
             - match: [{headers: {x-tenant-pool: {exact: pool-a}}}]",
            &[],
        ),
        (
            "traffic.yaml",
            "    - match: [{headers: {x-tenant-pool: {exact: pool-a}}}]",
            "    - match: [{uri: {regex: \"/.*\"}, headers: {x-tenant-pool: {}}}]\n      \
             route: [{destination: {host: medication-service, subset: stable}}]\n    \
             - match: [{headers: {x-tenant-pool: {exact: pool-a}}}]",
            &[],
        ),
        (
            "traffic.yaml",
            "    - match: [{headers: {x-tenant-pool: {exact: pool-a}}}]",
            "    - match: [{uri: {regex: \"/.*\"}}]\n      \
             route: [{destination: {host: medication-service, subset: stable}}]\n    \
             - match: [{headers: {x-tenant-pool: {exact: pool-a}}}]",
            &["traffic.yaml:13:15 careplane/misrouted"],
        ),
        (
            "traffic.yaml",
            "      route: [{destination: {host: medication-service, subset: pool-a}}]\n",
            "      route: [{destination: {host: medication-service, subset: pool-a}}]\n      \
             mirror: {host: next-release}\n",
            &["traffic.yaml:15:15 careplane/write-mirrored"],
        ),
        (
            "traffic.yaml",
            "      route: [{destination: {host: medication-service, subset: pool-a}}]\n",
            "      route: [{destination: {host: medication-service, subset: pool-a}}]\n      \
             mirrors: [{destination: {host: next-release}, percentage: {value: 0}}]\n",
            &[],
        ),
        ("traffic.yaml", "subset: pool-a", "subset: pool-z", &["traffic.yaml:14:64 careplane/subset-undefined"]),
        (
            "traffic.yaml",
            "    - {name: canary, labels: {release: canary}}\n",
            "",
            &["traffic.yaml:9:64 careplane/subset-undefined", "traffic.yaml:12:64 careplane/subset-undefined"],
        ),
        ("traffic.yaml", "connect-failure,refused-stream", "5xx", &["traffic.yaml:24:39 careplane/write-retried"]),
        (
            "traffic.yaml",
            "connect-failure,refused-stream",
            "connect-failure, 503",
            &["traffic.yaml:24:39 careplane/write-retried"],
        ),
        ("traffic.yaml", "method: {regex: GET|HEAD}, ", "", &["traffic.yaml:10:39 careplane/write-retried"]),
        ("gateway.yaml", "/api/v1/medications}", "/api/v2/medications}", &[]),
        (
            "gateway.yaml",
            "match: [{methods: [POST], path: /api/v1/medications/administer}]",
            "match: [{methods: [POST], path: /api/v2/administer}]",
            &[],
        ),
        (
            "observability.yaml",
            "randomSamplingPercentage: 0",
            "randomSamplingPercentage: 5",
            &["observability.yaml:7:33 careplane/base-rate"],
        ),
        (
            "observability.yaml",
            "      randomSamplingPercentage: 0\n",
            "",
            &["observability.yaml:6:7 careplane/base-rate"],
        ),
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
        (
            "observability.yaml",
            "x-healthcare-context",
            "x-context",
            &["observability.yaml:9:9 careplane/span-tag-unread"],
        ),
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
            "inbound.yaml",
            "      version: careplane/v1\n",
            "      version: careplane/v1\n      export: {cluster: collector, queueBytes: 65536}\n",
            &["inbound.yaml:16:48 careplane/queue-size"],
        ),
        // Trust domains: its own, and those whose certificates it takes.
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
        // Tracers that decide by themselves.
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
        // Envoy filters.
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
        (
            "traffic.yaml",
            "---\n",
            "---\napiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\n\
             metadata: {name: without, namespace: istio-system}\nspec:\n  configPatches:\n    \
             - applyTo: HTTP_FILTER\n      \
             match: {listener: {filterChain: {filter: {name: hcm, subFilter: {name: \
             extensions.istio.io/wasmplugin/istio-system.gateway}}}}}\n      patch: {operation: REMOVE}\n---\n",
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
        (
            "traffic.yaml",
            "---\n",
            "---\napiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\n\
             metadata: {name: without, namespace: istio-system}\nspec:\n  configPatches:\n    \
             - applyTo: HTTP_FILTER\n      \
             match: {listener: {filterChain: {filter: {name: hcm, subFilter: {name: \
             envoy.filters.http.jwt_authn}}}}}\n      patch: {operation: REMOVE}\n---\n",
            &["traffic.yaml:32:78 careplane/claims-unverified"],
        ),
        // Headers.
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
        // Where a plugin stands.
        ("inbound.yaml", "placement: inbound", "placement: outbound", &["inbound.yaml:18:26 careplane/placement"]),
        ("inbound.yaml", "      audit: {placement: inbound}\n", "", &["inbound.yaml:15:7 careplane/placement-missing"]),
        (
            "gateway.yaml",
            "        tier: always\n",
            "        tier: always\n        enforcement: shadow\n",
            &["gateway.yaml:23:22 careplane/shadow"],
        ),
        (
            "gateway.yaml",
            "    identity:\n",
            "    identity:\n      overrides: pass\n",
            &["gateway.yaml:18:18 careplane/overrides-pass"],
        ),
        // Paths as an AuthorizationPolicy sees them.
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
            &[],
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
        ("traffic.yaml", "apiVersion", "apiVersion: [", &["traffic.yaml:1:14 careplane/not-yaml"]),
    ];
    let mut wrong = String::new();
    for (index, (file, from, to, expected)) in table.iter().enumerate() {
        let found = findings(&changed(&format!("disagreement-{index}"), (file, from, to)));
        if found != *expected {
            wrong += &format!("{file}: {from:?} → {to:?}\n  expected {expected:?}\n  found    {found:?}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// What a changed mesh says of headers: `file:line:column message`.
fn about_headers(name: &str, changes: &[(&str, &str, &str)], arguments: &[&str]) -> Vec<String> {
    let folder = folder(name);
    for known in MESH {
        let mut text = fs::read_to_string(mesh().join(known)).unwrap();
        for (_, from, to) in changes.iter().filter(|(file, ..)| *file == known) {
            assert!(text.contains(from), "{known} has no {from:?}");
            text = text.replacen(from, to, 1);
        }
        fs::write(folder.join(known), text).unwrap();
    }
    let output = careplane(&folder, &[&[".", "--format", "short"], arguments].concat());
    let lines = stdout(&output);
    let lines = lines.lines().filter(|line| line.contains("[careplane/header-"));
    lines.map(ToOwned::to_owned).collect()
}

/// A file, a text in it, and what is there instead.
type Change = (&'static str, &'static str, String);

const HEADER_RULES: [&str; 2] = [" careplane/header-omitted", " careplane/header-unread"];
const AT_THE_GATEWAY: &str = "    routing:\n";
const INBOUND: &str = "      audit: {placement: inbound}";

#[test]
fn a_header_that_the_policy_omits_has_no_reader() {
    let gateway = |names: &str| format!("    headers: {{omit: [{names}]}}\n{AT_THE_GATEWAY}");
    let inbound = |names: &str| format!("      headers: {{omit: [{names}]}}\n{INBOUND}");
    let both = |names: &str| [gateway(names), inbound(names)];
    let envoy = "items:\n  - apiVersion: networking.istio.io/v1alpha3\n    kind: EnvoyFilter\n    metadata: {name: limit, namespace: istio-system}\n    spec: {configPatches: [{patch: {value: {actions: [{request_headers: {header_name: x-user-id}}], request_headers_to_remove: [x-compliance-flags]}}}]}\n";
    let authorization = "items:\n  - apiVersion: security.istio.io/v1\n    kind: AuthorizationPolicy\n    metadata: {name: all, namespace: core-healthcare}\n    spec: {rules: [{when: [{key: \"request.headers[X-Compliance-Level]\", values: [low]}]}]}\n";
    let hash = "  host: medication-service.core-healthcare.svc.cluster.local\n";
    let by_tenant =
        format!("{hash}  trafficPolicy: {{loadBalancer: {{consistentHash: {{httpHeaderName: x-user-id}}}}}}\n");
    let record = "%FILTER_STATE(wasm.careplane.audit:PLAIN)%";
    let log = format!("%REQ(X-USER-ID)% {record}");
    let message = |place: &str, title: &str, name: &str, instead: &str| {
        format!(
            "{place}: error: {title} reads {name:?}, which careplane does not write: expected {instead} [{}]",
            HEADER_RULES[0].trim()
        )
    };
    let back = "the header not in headers.omit";
    let table: Vec<(&str, Vec<Change>, Vec<String>)> = vec![
        (
            "a route by pool",
            vec![("gateway.yaml", AT_THE_GATEWAY, gateway("x-tenant-pool"))],
            vec![message("traffic.yaml:13:41", "VirtualService medication-service", "x-tenant-pool", back)],
        ),
        ("the route is taken before the workload", vec![("inbound.yaml", INBOUND, inbound("x-tenant-pool"))], vec![]),
        (
            "a tag from a header",
            vec![("gateway.yaml", AT_THE_GATEWAY, gateway("X-Healthcare-Context"))],
            vec![message(
                "observability.yaml:12:45",
                "Telemetry mesh",
                "x-healthcare-context",
                "formatter: {value: \"%FILTER_STATE(wasm.careplane.healthcare_context:PLAIN)%\"}",
            )],
        ),
        (
            "the next hop believes it",
            vec![("gateway.yaml", AT_THE_GATEWAY, gateway("x-tenant-id"))],
            vec![message(
                "inbound.yaml:17:9",
                "TrafficExtension inbound",
                "x-tenant-id",
                "the header not in headers.omit, or no such source in identity",
            )],
        ),
        ("the last hop reads it first", vec![("inbound.yaml", INBOUND, inbound("x-tenant-id, x-user-id"))], vec![]),
        (
            "the format of a log",
            vec![("inbound.yaml", INBOUND, inbound("x-user-id")), ("observability.yaml", record, log)],
            vec![message(
                "observability.yaml:28:29",
                "the meshConfig",
                "x-user-id",
                &format!("the record, {record}, or {back}"),
            )],
        ),
        (
            "the condition is for the workload, and so is the header",
            vec![
                ("gateway.yaml", AT_THE_GATEWAY, gateway("x-compliance-level")),
                ("security.yaml", "items:\n", authorization.into()),
            ],
            vec![],
        ),
        (
            "a condition of authorization",
            vec![
                ("gateway.yaml", AT_THE_GATEWAY, both("x-compliance-level")[0].clone()),
                ("inbound.yaml", INBOUND, both("x-compliance-level")[1].clone()),
                ("security.yaml", "items:\n", authorization.into()),
            ],
            vec![message("security.yaml:7:34", "AuthorizationPolicy all", "x-compliance-level", back)],
        ),
        (
            "an EnvoyFilter, which may remove what is not written",
            vec![
                ("gateway.yaml", AT_THE_GATEWAY, both("x-compliance-flags")[0].clone()),
                ("inbound.yaml", INBOUND, both("x-compliance-flags, x-user-id")[1].clone()),
                ("security.yaml", "items:\n", envoy.into()),
            ],
            vec![],
        ),
        (
            "load balancing",
            vec![
                ("gateway.yaml", AT_THE_GATEWAY, both("x-compliance-flags, x-user-id")[0].clone()),
                ("inbound.yaml", INBOUND, both("x-compliance-flags, x-user-id")[1].clone()),
                ("traffic.yaml", hash, by_tenant),
                ("security.yaml", "items:\n", envoy.into()),
            ],
            vec![
                message(
                    "inbound.yaml:17:9",
                    "TrafficExtension inbound",
                    "x-user-id",
                    "the header not in headers.omit, or no such source in identity",
                ),
                message("security.yaml:7:87", "EnvoyFilter limit", "x-user-id", back),
                message("traffic.yaml:31:67", "DestinationRule medication-service", "x-user-id", back),
            ],
        ),
    ];
    let mut wrong = String::new();
    for (about, changes, expected) in table {
        let changes: Vec<_> = changes.iter().map(|(file, from, to)| (*file, *from, to.as_str())).collect();
        let name = format!("omitted-{}", about.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
        let found = about_headers(&name, &changes, &[]);
        if found != expected {
            wrong += &format!("{about}\n  expected {expected:#?}\n  found    {found:#?}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn headers_that_no_manifest_reads_are_noted_where_that_is_asked_for() {
    assert_eq!(about_headers("unread-quiet", &[], &[]), [""; 0]);
    let omit = format!("    headers: {{omit: [x-compliance-flags]}}\n{AT_THE_GATEWAY}");
    let found = about_headers("unread", &[("gateway.yaml", AT_THE_GATEWAY, &omit)], &["--unread-headers"]);
    let line = |place: &str, name: &str| {
        format!(
            "{place}: note: no manifest here reads {name:?}: where no application reads it either, expected \
             `headers: {{omit: [{name}]}}` [{}]",
            HEADER_RULES[1].trim()
        )
    };
    let inbound = ["x-compliance-flags", "x-compliance-level", "x-tenant-id", "x-user-id"];
    let mut expected = vec![line("gateway.yaml:29:14", "x-compliance-level")];
    expected.extend(inbound.map(|name| line("inbound.yaml:15:7", name)));
    let mut found = found;
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn without_routes_subsets_are_what_there_is_to_go_by() {
    let traffic = fs::read_to_string(mesh().join("traffic.yaml")).unwrap();
    let (_, rule) = traffic.split_once("---\n").unwrap();
    let rule: String = rule
        .lines()
        .filter(|line| !line.contains("canary") && !line.contains("pool-b"))
        .map(|line| line.to_owned() + "\n")
        .collect();
    let folder = folder("subsets");
    fs::copy(mesh().join("gateway.yaml"), folder.join("gateway.yaml")).unwrap();
    fs::write(folder.join("traffic.yaml"), rule).unwrap();
    assert_eq!(
        findings(&folder),
        ["gateway.yaml:30:23 careplane/pool-without-subset", "gateway.yaml:31:15 careplane/cohort-without-subset"]
    );
}

#[test]
fn a_context_without_a_route_is_noted() {
    let folder = folder("unrouted");
    let policy = "version: careplane/v1\ncontexts:\n  - {name: a, complianceLevel: low, match: [{path: /a}]}\n  \
                  - {name: b, complianceLevel: low, match: [{path: /b}]}\n";
    fs::write(folder.join("policy.yaml"), policy).unwrap();
    let service = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  \
                   http: [{match: [{uri: {prefix: /a}}], route: [{destination: {host: a}}]}]\n";
    fs::write(folder.join("service.yaml"), service).unwrap();
    assert_eq!(findings(&folder), ["policy.yaml:4:44 careplane/context-unrouted"]);
    assert_eq!(careplane(&folder, &[".", "--strict"]).status.code(), Some(0));
}

#[test]
fn what_only_an_absent_filter_writes_is_noted_once() {
    let folder = changed("absent", ("gateway.yaml", "pluginName: careplane", "pluginName: audit"));
    fs::remove_file(folder.join("inbound.yaml")).unwrap();
    assert_eq!(findings(&folder), ["observability.yaml:9:40 careplane/filter-absent"]);
}

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

#[test]
fn every_rule_has_a_test() {
    let sarif: Value = serde_json::from_str(&stdout(&careplane(&mesh(), &[".", "--format", "sarif"]))).unwrap();
    let tests = include_str!("check.rs");
    for rule in sarif["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap() {
        let id = rule["id"].as_str().unwrap();
        assert!(tests.contains(&format!(" {id}\"")), "{id}");
    }
}

#[test]
fn a_finding_says_what_instead_and_where_else() {
    let folder = changed("human", ("traffic.yaml", "connect-failure,refused-stream", "5xx"));
    let expected = "\
traffic.yaml:24:39: error: VirtualService medication-service sends POST /api/v1/medications/administer again on 5xx, \
when the application may have done it already (context medication-administration and 1 more): expected a route of its \
own for writes, with `retryOn: connect-failure,refused-stream` or `attempts: 0` [careplane/write-retried]
    gateway.yaml:24:41: context medication-administration
1 error, 0 warnings, 0 notes in 8 documents: 2 policies, 2 plugins
";
    assert_eq!(stdout(&careplane(&folder, &[".", "--format", "short"])), expected);
}

#[test]
fn people_see_the_lines_that_a_finding_is_about() {
    let folder = changed("lines", ("traffic.yaml", "connect-failure,refused-stream", "5xx"));
    let expected = "\
error[careplane/write-retried]: VirtualService medication-service sends POST /api/v1/medications/administer again on \
5xx, when the application may have done it already (context medication-administration and 1 more)
  --> traffic.yaml:24:39
   |
24 |       retries: {attempts: 3, retryOn: \"5xx\"}
   |                                       ^^^^^
   |
  ::: gateway.yaml:24:41
   |
24 |         match: [{methods: [POST], path: /api/v1/medications/administer}]
   |                                         ------------------------------ context medication-administration
   |
   = help: expected a route of its own for writes, with `retryOn: connect-failure,refused-stream` or `attempts: 0`

1 error, 0 warnings, 0 notes in 8 documents: 2 policies, 2 plugins
";
    assert_eq!(stdout(&careplane(&folder, &["."])), expected);
}

#[test]
fn the_exit_code_tells_errors_from_warnings_and_from_what_cannot_be_read() {
    let code = |name, change, arguments: &[&str]| careplane(&changed(name, change), arguments).status.code();
    let warning = ("inbound.yaml", "  priority: 100\n", "");
    let error = ("inbound.yaml", "pluginName: careplane", "pluginName: other");
    assert_eq!(code("warning", warning, &["."]), Some(0));
    assert_eq!(code("strict", warning, &[".", "--strict"]), Some(1));
    assert_eq!(code("error", error, &["."]), Some(1));
    assert_eq!(code("unreadable", error, &[".", "missing.yaml"]), Some(2));
    assert_eq!(code("usage", error, &[]), Some(2));
}

#[test]
fn what_comes_through_a_pipe_is_checked() {
    let text = MESH.map(|file| fs::read_to_string(mesh().join(file)).unwrap()).join("---\n");
    let text = text.replace("subset: pool-b", "subset: pool-x");
    let mut child = Command::new(env!("CARGO_BIN_EXE_careplane"))
        .args(["check", "-", "--format", "short"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let first = stdout(&output).lines().next().unwrap().to_owned();
    let line = 1 + text.lines().position(|line| line.contains("subset: pool-x")).unwrap();
    assert!(
        first.starts_with(&format!("stdin:{line}:64: error: VirtualService medication-service routes to subset")),
        "{first}"
    );
}

#[test]
fn a_policy_on_its_own_is_checked() {
    let folder = folder("alone");
    let policy =
        "# ours\nversion: careplane/v1\nsampling:\n  tiers: {default: 101}\ncontexts:\n  - match: [{path: x}]\n";
    fs::write(folder.join("policy.yaml"), policy).unwrap();
    fs::write(folder.join("policy.json"), r#"{"version": "careplane/v1", "contexts": 1}"#).unwrap();
    fs::write(folder.join("other.yaml"), "a: 1\n").unwrap();
    let expected = [
        "policy.json:1:41 careplane/policy",
        "policy.yaml:4:20 careplane/policy",
        "policy.yaml:6:5 careplane/policy",
        "policy.yaml:6:5 careplane/policy",
        "policy.yaml:6:20 careplane/policy",
    ];
    assert_eq!(findings(&folder), expected);
    // Named, it is meant to be one.
    let named = stdout(&careplane(&folder, &["other.yaml", "--format", "short"]));
    assert!(named.contains("other.yaml:1:1: error: a: unknown field"), "{named}");
    assert!(named.contains("other.yaml:1:1: error: version: missing: expected \"careplane/v1\""), "{named}");
}

#[test]
fn a_kustomization_is_checked_as_it_is_rendered_and_told_where_it_is_written() {
    let has = |program: &str| Command::new(program).arg("--help").output().is_ok();
    if !has("kubectl") && !has("kustomize") {
        let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!ci, "neither kubectl nor kustomize is on the PATH");
        return eprintln!("SKIPPED: neither kubectl nor kustomize is on the PATH");
    }
    let folder = changed("kustomize", ("gateway.yaml", "tier: never", "tier: nevver"));
    let gateway = fs::read_to_string(folder.join("gateway.yaml")).unwrap();
    let (plugin, policy) = gateway.split_once("  pluginConfig: &policy\n").unwrap();
    fs::write(folder.join("gateway.yaml"), plugin).unwrap();
    let patch = format!(
        "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{name: gateway}}\nspec:\n  \
         pluginConfig:\n{policy}"
    );
    fs::create_dir(folder.join("policy")).unwrap();
    fs::write(folder.join("policy/patch.yaml"), patch).unwrap();
    let component = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n\
                     patches: [{path: patch.yaml, target: {kind: WasmPlugin}}]\n";
    fs::write(folder.join("policy/kustomization.yaml"), component).unwrap();
    let resources = "resources: [gateway.yaml, inbound.yaml, observability.yaml, security.yaml, traffic.yaml]\n\
                     components: [policy]\n";
    fs::write(folder.join("kustomization.yaml"), resources).unwrap();
    assert_eq!(findings(&folder), ["policy/patch.yaml:17:15 careplane/policy"]);
    // A folder above it finds it, and does not take its files for the mesh.
    let output = careplane(folder.parent().unwrap(), &["kustomize", "--format", "short"]);
    assert!(stdout(&output).starts_with("kustomize/policy/patch.yaml:17:15: error"), "{}", stdout(&output));
}

#[test]
fn sarif_is_what_the_types_of_its_schema_read() {
    let folder = changed("sarif", ("gateway.yaml", "[pool-a, pool-b]", "[pool-a, pool-b, pool-c]"));
    let written: Value = serde_json::from_str(&stdout(&careplane(&folder, &[".", "--format", "sarif"]))).unwrap();
    let read: serde_sarif::sarif::Sarif = serde_json::from_value(written.clone()).unwrap();
    // What the types do not know would be lost on the way.
    assert_eq!(serde_json::to_value(read).unwrap(), written);
    let result = &written["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "careplane/pool-without-route");
    assert_eq!(result["level"], "error");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "gateway.yaml");
    assert_eq!((&place["region"]["startLine"], &place["region"]["startColumn"]), (&30.into(), &31.into()));
    assert_eq!(result["relatedLocations"][0]["physicalLocation"]["artifactLocation"]["uri"], "traffic.yaml");
    let rule = &written["runs"][0]["tool"]["driver"]["rules"][result["ruleIndex"].as_u64().unwrap() as usize];
    assert_eq!(rule["id"], result["ruleId"]);
}

/// The mesh with its routes in another file.
fn routed_by(name: &str, routes: &str) -> PathBuf {
    let folder = changed(name, ("gateway.yaml", "", ""));
    fs::write(folder.join("traffic.yaml"), routes).unwrap();
    folder
}

/// Rules of an HTTPRoute for the pools of the mesh, and the canary, as Services of their own.
fn http_route(rules: &[&str]) -> String {
    let rules: String = rules.iter().map(|rule| format!("    - {rule}\n")).collect();
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
         metadata: {{name: medication, namespace: core-healthcare}}\n\
         spec:\n  parentRefs: [{{group: \"\", kind: Service, name: medication}}]\n  rules:\n{rules}"
    )
}

fn pool_rule(pool: &str) -> String {
    format!(
        "{{matches: [{{headers: [{{name: x-tenant-pool, value: {pool}}}]}}], backendRefs: [{{name: \
         medication-{pool}}}]}}"
    )
}

const CANARY_RULE: &str = "{matches: [{method: GET, headers: [{name: x-release-cohort, value: canary}]}, {headers: \
                           [{name: x-release-cohort, value: canary}]}], backendRefs: [{name: medication-canary}]}";
const REST_RULE: &str = "{backendRefs: [{name: medication-stable}]}";

#[test]
fn pools_are_looked_for_in_the_gateway_api_too() {
    let (a, b, dedicated) = (pool_rule("pool-a"), pool_rule("pool-b"), pool_rule("dedicated-a"));
    let check = |name, rules: &[&str]| findings(&routed_by(name, &http_route(rules)));
    // The order of rules decides only between equals: one without a condition comes last wherever it is written.
    assert_eq!(check("http-route", &[REST_RULE, CANARY_RULE, &a, &b, &dedicated]), [""; 0]);
    assert_eq!(
        check("http-route-without-pool", &[CANARY_RULE, &a, &dedicated, REST_RULE]),
        ["gateway.yaml:30:23 careplane/pool-without-route"]
    );
    assert_eq!(
        check("http-route-canary-last", &[&a, &b, &dedicated, CANARY_RULE, REST_RULE]),
        [7, 8, 9].map(|line| format!("traffic.yaml:{line}:18 careplane/misrouted"))
    );
    // A longer path comes before any number of headers, and with it goes every tenant.
    let path = "{matches: [{path: {value: /api/v1/medications}}], backendRefs: [{name: medication-stable}]}";
    assert_eq!(
        check("http-route-path", &[CANARY_RULE, &a, &b, &dedicated, path, REST_RULE]),
        ["traffic.yaml:11:18 careplane/misrouted"]
    );
    // Paths that no context has can be meant to be for all tenants.
    let assets = path.replace("/api/v1/medications", "/assets");
    assert_eq!(check("http-route-assets", &[CANARY_RULE, &a, &b, &dedicated, &assets, REST_RULE]), [""; 0]);
    let wrong = b.replace("medication-pool-b", "medication-pool-a");
    assert_eq!(
        check("http-route-wrong", &[CANARY_RULE, &a, &wrong, &dedicated, REST_RULE]),
        ["traffic.yaml:9:91 careplane/misrouted"]
    );
    let retried = REST_RULE.replace("{backend", "{retry: {codes: [503], attempts: 2}, backend");
    assert_eq!(
        check("http-route-retry", &[CANARY_RULE, &a, &b, &dedicated, &retried]),
        ["traffic.yaml:11:15 careplane/write-retried"]
    );
    let mirrored = REST_RULE
        .replace("{backend", "{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: next}}}], backend");
    assert_eq!(
        check("http-route-mirror", &[CANARY_RULE, &a, &b, &dedicated, &mirrored]),
        ["traffic.yaml:11:75 careplane/write-mirrored"]
    );
}

#[test]
fn a_route_that_comes_first_is_named_with_the_one_that_comes_too_late() {
    let folder = changed(
        "misrouted",
        (
            "traffic.yaml",
            "    - match: [{headers: {x-tenant-pool: {exact: pool-b}}}]",
            "    - name: all\n      route: [{destination: {host: medication-service, subset: stable}}]\n    \
             - match: [{headers: {x-tenant-pool: {exact: pool-b}}}]",
        ),
    );
    let expected = "\
traffic.yaml:15:7: error: route \"all\" of VirtualService medication-service takes the requests of pool \"pool-b\", \
pool \"dedicated-a\" first: expected the route for them before it [careplane/misrouted]
    traffic.yaml:17:41: the route for pool \"pool-b\" comes after it
    gateway.yaml:30:23: from the policy
    traffic.yaml:19:41: the route for pool \"dedicated-a\" comes after it
    gateway.yaml:34:32: from the policy
";
    let output = stdout(&careplane(&folder, &[".", "--format", "short"]));
    assert!(output.starts_with(expected), "{output}");
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

#[test]
fn the_mesh_config_is_found_where_istio_reads_it() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  \
                mesh: |-\n    \
                enableTracing: true\n    trustDomain: care.example\n";
    let folder = folder("config-map");
    fs::copy(mesh().join("inbound.yaml"), folder.join("inbound.yaml")).unwrap();
    fs::write(folder.join("istio.yaml"), text).unwrap();
    let output = stdout(&careplane(&folder, &["."]));
    assert!(
        output.contains("7 |     trustDomain: care.example\n   |                  ------------ the trust domain"),
        "{output}"
    );
    let sail = "apiVersion: sailoperator.io/v1\nkind: Istio\nmetadata: {name: default}\nspec:\n  values:\n    \
                meshConfig: {trustDomain: care.example}\n";
    fs::write(folder.join("istio.yaml"), sail).unwrap();
    assert_eq!(
        findings(&folder),
        ["inbound.yaml:17:24 careplane/trust-domain", "inbound.yaml:18:14 careplane/audit-unread"]
    );
}

/// Also a promise of the README: what is shipped is what one should take.
#[test]
fn the_shipped_manifests_have_no_findings_but_those_that_a_deployment_answers() {
    let has = |program: &str| Command::new(program).arg("--help").output().is_ok();
    if !has("kubectl") && !has("kustomize") {
        let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!ci, "neither kubectl nor kustomize is on the PATH");
        return eprintln!("SKIPPED: neither kubectl nor kustomize is on the PATH");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = careplane(&root, &["wasmplugin-manifests", "--format", "json"]);
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let rules: Vec<&str> =
        report["findings"].as_array().unwrap().iter().map(|it| it["rule"].as_str().unwrap()).collect();
    // `careplane image pin` adds the digest. The manifests of the mesh say which callers pass a waypoint.
    let open = ["careplane/plugin-digest", "careplane/trusted-peers-waypoint"];
    assert!(rules.iter().all(|rule| open.contains(rule)), "{rules:?}");
    assert!(report["looked"]["plugins"].as_u64().unwrap() > 20, "{report}");
}

//! Headers that the policy omits.

use std::fs;

use super::{MESH, careplane, folder, mesh, stdout};

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
    let envoy = "items:\n  - apiVersion: networking.istio.io/v1alpha3\n    kind: EnvoyFilter\n    \
                 metadata: {name: limit, namespace: istio-system}\n    \
                 spec: {configPatches: [{patch: {value: {actions: [{request_headers: {header_name: x-user-id}}], \
                 request_headers_to_remove: [x-compliance-flags]}}}]}\n";
    let authorization = "items:\n  - apiVersion: security.istio.io/v1\n    kind: AuthorizationPolicy\n    \
                         metadata: {name: all, namespace: core-healthcare}\n    \
                         spec: {rules: [{when: [{key: \"request.headers[X-Compliance-Level]\", values: [low]}]}]}\n";
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

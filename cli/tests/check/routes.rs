//! Routes and subsets.

use std::fs;
use std::path::PathBuf;

use super::{Disagreement, careplane, changed, findings, folder, mesh, stdout};

/// What is found where the mesh is changed.
pub const DISAGREEMENTS: &[Disagreement] = &[
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
    (
        "traffic.yaml",
        "    - match: [{headers: {x-tenant-pool: {exact: pool-b}}}]",
        "    - route: [{destination: {host: medication-service, subset: stable}}]\n    \
         - match: [{headers: {x-tenant-pool: {exact: pool-b}}}]",
        &["traffic.yaml:15:7 careplane/misrouted"],
    ),
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
];

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

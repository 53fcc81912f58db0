//! What `check` reads: pipes, policies, kustomizations, the configuration of the mesh, the shipped manifests.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{MESH, careplane, changed, findings, folder, mesh, stdout};

/// What another command prints as an error.
fn errors_of(arguments: &[&str], folder: &Path) -> String {
    let command = Command::new(env!("CARGO_BIN_EXE_careplane")).current_dir(folder).args(arguments).output();
    String::from_utf8_lossy(&command.unwrap().stderr).into_owned()
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

#[cfg(unix)]
#[test]
fn a_folder_that_a_config_map_is_mounted_at_is_read_once() {
    use std::os::unix::fs::symlink;
    let folder = folder("mounted");
    fs::create_dir(folder.join("..2026_11_28_09_30_00.1")).unwrap();
    fs::copy(mesh().join("gateway.yaml"), folder.join("..2026_11_28_09_30_00.1/gateway.yaml")).unwrap();
    symlink("..2026_11_28_09_30_00.1", folder.join("..data")).unwrap();
    symlink("..data/gateway.yaml", folder.join("gateway.yaml")).unwrap();
    let once = stdout(&careplane(&mesh(), &["gateway.yaml"]));
    assert_eq!(stdout(&careplane(&folder, &["."])), once);
    assert!(once.contains("1 plugin"), "{once}");
}

#[test]
fn where_there_is_nothing_to_check_check_fails() {
    let folder = folder("nothing");
    fs::write(folder.join("empty.yaml"), "# nothing\n").unwrap();
    for argument in ["empty.yaml", "."] {
        let output = careplane(&folder, &[argument]);
        assert_eq!(output.status.code(), Some(2), "{argument}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(&format!("there is nothing to check in {argument}: expected a policy")), "{said}");
    }
}

#[test]
fn a_source_of_a_path_parameter_that_no_template_has_is_a_warning() {
    let folder = folder("path-source");
    let policy = "version: careplane/v1\nidentity:\n  tenant: {sources: [{path: tenant}, {path: tennant}]}\n\
                  contexts:\n  - {name: staff, complianceLevel: high, match: [{path: '/tenants/{tenant}/staff'}]}\n";
    fs::write(folder.join("policy.yaml"), policy).unwrap();
    assert_eq!(findings(&folder), ["policy.yaml:3:38 careplane/path-source-unknown"]);
}

#[test]
fn a_tenant_of_a_host_has_no_case() {
    let folder = folder("host-case");
    let policy = |case: &str| {
        let sources = "sources: [{claim: home}, {host: '{tenant}.example'}]";
        format!("version: careplane/v1\nidentity:\n  tenant: {{{case}{sources}}}\n")
    };
    fs::write(folder.join("policy.yaml"), policy("")).unwrap();
    assert_eq!(findings(&folder), ["policy.yaml:3:37 careplane/host-case"]);
    fs::write(folder.join("policy.yaml"), policy("case: lower, ")).unwrap();
    assert_eq!(findings(&folder), [""; 0]);
}

#[test]
fn a_policy_in_the_configuration_of_an_envoy_has_to_be_json() {
    let folder = folder("envoy-json");
    let envoy = |policy: &str| {
        let filter = "static_resources:\n  configuration:\n    \"@type\": \
                      type.googleapis.com/google.protobuf.StringValue\n    value: |\n";
        fs::write(folder.join("envoy.yaml"), format!("{filter}      {policy}\n")).unwrap();
        findings(&folder)
    };
    assert_eq!(envoy(r#"{"version": "careplane/v1"}"#), [""; 0]);
    let twice = r#"{"version": "careplane/v1", "version": "careplane/v1"}"#;
    for policy in ["version: careplane/v1", r#"{"version": "careplane/v1", "#, twice] {
        assert_eq!(envoy(policy), ["envoy.yaml:5:7 careplane/policy"], "{policy}");
        let explained = errors_of(&["explain", "--request", "/", "--policy", "envoy.yaml"], &folder);
        assert!(explained.contains("envoy.yaml:5:7: not the JSON of a policy document"), "{explained}");
    }
}

#[test]
fn a_policy_that_envoy_hands_over_as_protobuf_is_refused() {
    let folder = folder("envoy-struct");
    let envoy = "static_resources:\n  configuration:\n    \"@type\": type.googleapis.com/google.protobuf.Struct\n    \
                 value: {version: careplane/v1}\n";
    fs::write(folder.join("envoy.yaml"), envoy).unwrap();
    assert_eq!(findings(&folder), ["envoy.yaml:4:12 careplane/policy"]);
    let explained = errors_of(&["explain", "--request", "/", "--policy", "envoy.yaml"], &folder);
    let expected = "envoy.yaml:4:12: the policy is a map, which Envoy hands over as protobuf";
    assert!(explained.contains(expected), "{explained}");
}

#[test]
fn a_policy_in_quotes_has_the_place_of_its_beginning() {
    let folder = folder("envoy-quotes");
    let policy = r#"{\"version\": \"careplane/v1\",\n \"nope\": 1, \"contexts\": 1}"#;
    let envoy = format!("{{\"static_resources\":\n {{\"configuration\": {{\"value\": \"{policy}\"}}}}}}\n");
    fs::write(folder.join("envoy.json"), envoy).unwrap();
    assert_eq!(findings(&folder), ["envoy.json:2:30 careplane/policy", "envoy.json:2:30 careplane/policy"]);
}

#[test]
fn what_is_not_utf_8_is_an_error_that_says_so() {
    let folder = folder("utf-16");
    let text: Vec<u8> = "\u{feff}version: careplane/v1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(folder.join("policy.yaml"), text).unwrap();
    let output = careplane(&folder, &["policy.yaml"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.starts_with("careplane: policy.yaml is not UTF-8: save it as UTF-8"), "{said}");
    assert_eq!(output.status.code(), Some(2));
}

#[cfg(unix)]
#[test]
fn a_folder_is_read_once_whatever_links_lead_to_it() {
    let folder = folder("links");
    fs::write(folder.join("policy.yaml"), "version: careplane/v1\nnope: 1\n").unwrap();
    let case = "cases: [{request: /, expect: {decision: allowed}}]\n";
    fs::write(folder.join("policy_test.yaml"), format!("policy: other.json\n{case}")).unwrap();
    let policy = r#"{"version": "careplane/v1", "identity": {"tenant": {"required": false}}}"#;
    fs::write(folder.join("other.json"), policy).unwrap();
    let api = r#"{"openapi": "3.1.0", "info": {"title": "a"}, "paths": {"/a": {"get": {}}}}"#;
    fs::write(folder.join("api.json"), api).unwrap();
    for link in ["a", "b"] {
        std::os::unix::fs::symlink(".", folder.join(link)).unwrap();
    }
    assert_eq!(findings(&folder), ["policy.yaml:2:1 careplane/policy"]);
    for (command, expected) in [("test", "policy_test.yaml: 1 case, all"), ("init", "for 1 operations")] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_careplane")).current_dir(&folder).args([command, "."]).output().unwrap();
        let said = stdout(&output) + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.matches(expected).count(), 1, "{said}");
    }
}

#[test]
fn what_kubectl_reads_otherwise_is_an_error_where_it_is_written() {
    let folder = folder("unquoted");
    let policy = "version: careplane/v1\nsampling: {tiers: {default: 010}}\ntenants:\n  entries:\n    \
                  0042: {jurisdiction: wales}\n    a-1: {jurisdiction: wales}\n";
    fs::write(folder.join("policy.yaml"), policy).unwrap();
    let said = stdout(&careplane(&folder, &["policy.yaml", "--format", "short"]));
    let number = "policy.yaml:2:29: error: 010 is 10 here and 8 to kubectl: expected 10, or quotes";
    let key = "policy.yaml:5:5: error: the key 0042 is 34 to kubectl: expected quotes: \"0042\"";
    assert!(said.contains(number) && said.contains(key), "{said}");
    assert_eq!(findings(&folder), ["policy.yaml:2:29 careplane/unquoted", "policy.yaml:5:5 careplane/unquoted"]);
    // Other commands warn of it.
    for arguments in
        [&["explain", "--policy", "policy.yaml", "--request", "/"][..], &["diff", "policy.yaml", "policy.yaml"]]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_careplane")).current_dir(&folder).args(arguments).output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let warning = key.replace("policy.yaml:5:5: error: ", "careplane: warning: policy.yaml:5:5: ");
        assert!(output.status.success() && said.contains(&warning), "{said}");
    }
    // Of what careplane does not read, it is meant.
    let mode = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {template: {spec: {volumes: \
                [{secret: {defaultMode: 0400}}]}}}\n";
    fs::write(folder.join("policy.yaml"), mode).unwrap();
    assert_eq!(findings(&folder), [""; 0]);
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

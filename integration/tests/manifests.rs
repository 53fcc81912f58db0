//! The careplane resources among the manifests, as files: what they say is good, and what is written twice is the same.
//! That a real API server and a real Istio take what `kubectl kustomize` makes of them is tested in `integration/mesh`.

use std::path::{Path, PathBuf};

use careplane_integration::{config::EnvoyConfig, workspace};
use careplane_policy::{Method, Policy, Rate};
use serde_json::{Value, json};

const PLACEMENTS: [&str; 4] =
    ["bundle/gateway.yaml", "bundle/inbound.yaml", "outbound/tenant-routing.yaml", "outbound/tracing-tags.yaml"];
const FILTERS: [&str; 4] = ["audit", "tracing-tags", "tenant-routing", "sampling"];
const OVERLAYS: [&str; 6] =
    ["ambient", "audit-only", "isolated", "one-plugin-per-filter", "tenant-directory", "traffic-extension"];

fn manifests() -> PathBuf {
    workspace::root().join("wasmplugin-manifests")
}

fn documents(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn document(path: impl AsRef<Path>) -> Value {
    let mut documents = documents(&manifests().join(path));
    assert_eq!(documents.len(), 1);
    documents.remove(0)
}

fn careplane(name: &str) -> Value {
    document(Path::new("base/careplane").join(name))
}

/// As kustomize merges a patch into a custom resource: maps by key, everything else replaced.
fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

/// The policy of a placement.
fn policy(placement: &str) -> Value {
    let mut policy = careplane(placement)["spec"]["pluginConfig"].clone();
    merge(&mut policy, &careplane("policy/policy.yaml")["spec"]["pluginConfig"]);
    policy
}

fn compiled(placement: &str) -> Policy {
    Policy::from_json(policy(placement).to_string().as_bytes())
        .unwrap_or_else(|problems| panic!("{placement}: {problems}"))
}

#[test]
fn each_placement_says_what_istio_would_otherwise_decide_in_silence() {
    for placement in PLACEMENTS {
        let manifest = careplane(placement);
        let spec = &manifest["spec"];
        assert_eq!(manifest["kind"], "WasmPlugin", "{placement}");
        assert_eq!(
            manifest["metadata"]["labels"]["app.kubernetes.io/name"], "careplane",
            "{placement}: takes the policy by it"
        );
        assert_eq!(spec["phase"], "AUTHZ", "{placement}: claims are verified before AUTHZ, and not before AUTHN");
        assert!(spec["priority"].is_i64(), "{placement}: a plugin without a priority sorts last");
        assert_eq!(spec["failStrategy"], "FAIL_RELOAD", "{placement}: one image, one VM, one failStrategy");
        assert!(spec["match"][0]["mode"].is_string(), "{placement}");
    }
}

#[test]
fn each_policy_is_good_and_they_differ_in_whom_they_believe_and_where_they_stand_alone() {
    for placement in PLACEMENTS {
        compiled(placement);
        let own = &careplane(placement)["spec"]["pluginConfig"];
        let mut expected =
            json!({"version": "careplane/v1", "identity": {"trustedPeers": own["identity"]["trustedPeers"]}});
        match placement {
            "bundle/gateway.yaml" => expected["audit"] = json!({"placement": "gateway"}),
            "bundle/inbound.yaml" => expected["audit"] = json!({"placement": "inbound"}),
            _ => expected["identity"]["tenant"] = json!({"required": false}),
        }
        assert_eq!(own, &expected, "{placement}");
    }
    assert_eq!(policy("bundle/gateway.yaml")["identity"]["trustedPeers"], json!([]), "outsiders are no peers");
}

#[test]
fn the_policy_of_the_sidecars_is_the_one_that_is_demonstrated() {
    let mut deployed = policy("bundle/inbound.yaml");
    let mut demonstrated = EnvoyConfig::load().unwrap().policy().unwrap();
    // A collector has another name where there is no mesh.
    for policy in [&mut deployed, &mut demonstrated] {
        policy.as_object_mut().unwrap().remove("export").unwrap();
    }
    // Grants are a policy's own; the demonstration adds them for its day. See `careplane-lab demo`.
    for only_deployed in ["grants", "purpose"] {
        deployed["identity"].as_object_mut().unwrap().remove(only_deployed).unwrap();
    }
    for entry in deployed["tenants"]["entries"].as_object_mut().unwrap().values_mut() {
        entry.as_object_mut().unwrap().remove("group");
    }
    // The demonstration is gateway and sidecar in one.
    deployed["audit"].as_object_mut().unwrap().remove("placement").unwrap();
    assert_eq!(deployed, demonstrated);
}

#[test]
fn every_service_is_sampled_as_its_table_says() {
    let policy = compiled("bundle/inbound.yaml");
    for (method, path, percent) in [
        (Method::Get, "/api/v1/residents/7", 50.0),
        (Method::Get, "/api/v1/residents", 50.0),
        (Method::Post, "/api/v1/residents", 100.0),
        (Method::Get, "/api/v1/medications/7", 100.0),
        (Method::Post, "/api/v1/medications/administer", 100.0),
        (Method::Get, "/api/v1/care-plans/7", 50.0),
        (Method::Get, "/api/v1/assessments", 30.0),
        (Method::Get, "/api/v1/health-records/7", 50.0),
        (Method::Get, "/api/v1/compliance/reports", 100.0),
        (Method::Post, "/api/v1/compliance/violations", 100.0),
        (Method::Get, "/api/v1/audit/records", 100.0),
        (Method::Get, "/api/v1/financial/invoices", 10.0),
        (Method::Post, "/api/v1/payroll", 10.0),
        (Method::Get, "/api/v1/nhs/patients/7", 80.0),
        (Method::Get, "/elsewhere", 10.0),
        (Method::Get, "/health", 0.0),
    ] {
        let about = policy.classify(method, path.as_bytes());
        assert_eq!(about.context.tier.rate, Rate::from_percent(percent).unwrap(), "{path}");
    }
}

#[test]
fn an_image_is_named_in_one_place() {
    let image = careplane("policy/image.yaml")["spec"]["url"].as_str().unwrap().to_owned();
    assert!(image.starts_with("oci://"), "{image}: a url without a scheme is dropped");
    for placement in PLACEMENTS {
        assert!(careplane(placement)["spec"]["url"].is_null(), "{placement}");
    }
    for filter in FILTERS {
        let spec = document(format!("overlays/isolated/{filter}.yaml"))["spec"].clone();
        let url = spec["url"].as_str().unwrap();
        assert!(url.starts_with("oci://") && url.contains(&format!("/careplane-{filter}:")), "{url}");
        assert!(spec["failStrategy"].is_string(), "{filter}: it is what the overlay is for");
    }
}

#[test]
fn each_overlay_has_the_whole_mesh() {
    let resources = |folder: &str| -> Vec<PathBuf> {
        let folder = manifests().join(folder);
        let listed = document(folder.join("kustomization.yaml"))["resources"].clone();
        listed.as_array().unwrap().iter().map(|entry| folder.join(entry.as_str().unwrap())).collect()
    };
    let canonical =
        |paths: Vec<PathBuf>| -> Vec<PathBuf> { paths.iter().map(|path| path.canonicalize().unwrap()).collect() };
    let mut mesh = canonical(resources("base"));
    mesh.retain(|part| !part.ends_with("careplane"));
    mesh.push(manifests().join("base/careplane/admission").canonicalize().unwrap());
    for overlay in OVERLAYS {
        let mut all = canonical(resources(&format!("overlays/{overlay}")));
        if overlay == "isolated" {
            all = canonical(resources("overlays/one-plugin-per-filter"));
        }
        for part in &mesh {
            assert!(all.contains(part), "{overlay} lacks {}", part.display());
        }
    }
}

/// In an ambient mesh they come from this address, and not from the node:
/// <https://istio.io/latest/docs/ambient/usage/networkpolicy/>.
#[test]
fn probes_reach_the_pods_of_an_ambient_mesh_past_network_policies() {
    let probes = json!({"from": [{"ipBlock": {"cidr": "169.254.7.127/32"}}]});
    let policies = documents(&manifests().join("overlays/ambient/waypoint/access.yaml"));
    let policy = policies.iter().find(|policy| policy["kind"] == "NetworkPolicy").expect("it has one");
    let spec = &policy["spec"];
    assert!(spec["podSelector"]["matchLabels"].is_null(), "all pods: {spec}");
    assert!(spec["ingress"].as_array().is_some_and(|rules| rules.contains(&probes)), "{spec}");
}

/// The overlay changes the policy where it is; the server is what the policy names, and its sidecar lets proxies fetch.
#[test]
fn the_directory_of_the_overlay_can_be_fetched_from_its_server() {
    let overlay = |name: &str| documents(&manifests().join("overlays/tenant-directory").join(name));
    let find = |of: &[Value], kind: &str| -> Value { of.iter().find(|one| one["kind"] == kind).unwrap().clone() };
    let server = overlay("server/server.yaml");
    let (service, deployment) = (find(&server, "Service"), find(&server, "Deployment"));
    let namespace = overlay("server/kustomization.yaml")[0]["namespace"].as_str().unwrap().to_owned();
    let host = format!("{}.{namespace}.svc.cluster.local", service["metadata"]["name"].as_str().unwrap());
    let port = &service["spec"]["ports"][0];
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(port["targetPort"], container["ports"][0]["name"]);
    assert_eq!(service["spec"]["selector"], deployment["spec"]["template"]["metadata"]["labels"]);
    let allowed = find(&overlay("server/access.yaml"), "AuthorizationPolicy");
    let readers = &allowed["spec"]["rules"][0]["from"][0]["source"]["namespaces"];
    for policy in overlay("network-policies.yaml") {
        assert!(readers.as_array().unwrap().contains(&policy["metadata"]["namespace"]), "{policy}");
        assert_eq!(policy["spec"]["egress"][0]["ports"][0]["port"], container["ports"][0]["containerPort"], "{policy}");
    }

    for placement in PLACEMENTS {
        let mut policy = policy(placement);
        for change in overlay("policy.yaml")[0].as_array().unwrap() {
            let path = change["path"].as_str().unwrap().strip_prefix("/spec/pluginConfig/").unwrap();
            match path.rsplit_once('/').unwrap() {
                (list, "0") => policy[list].as_array_mut().unwrap().insert(0, change["value"].clone()),
                (parent, name) => policy[parent][name] = change["value"].clone(),
            }
        }
        let policy = Policy::from_json(policy.to_string().as_bytes()).unwrap_or_else(|problems| panic!("{problems}"));
        let directory = policy.routing.directory.as_ref().expect("a directory");
        assert_eq!(directory.cluster, format!("outbound|{}||{host}", port["port"]), "{placement}");
        assert_eq!(directory.authority, host, "{placement}");
        for path in ["index.json".to_owned(), format!("parts/{}", "a".repeat(64))] {
            let about = policy.classify(Method::Get, format!("{}/{path}", directory.path).as_bytes());
            assert_eq!(&*about.context.name, "tenant-directory", "{placement}: {path}");
            assert!(!about.context.tenant_required && !about.context.audited, "{placement}: {path}");
        }
    }
}

/// A label of a metric must have few values, so it lists them: all that careplane can write.
#[test]
fn metric_labels_know_the_words_of_the_policy() {
    let telemetry = documents(&manifests().join("base/observability/telemetry/telemetry.yaml")).remove(0);
    let labels = &telemetry["spec"]["metrics"][0]["overrides"][0]["tagOverrides"];
    let words = |label: &str| -> Vec<String> {
        let expression = labels[label]["value"].as_str().unwrap_or_default();
        let (_, list) = expression.split_once(" in [").unwrap_or_else(|| panic!("{label} lists nothing: {expression}"));
        let list = list.split_once(']').map_or(list, |(list, _)| list);
        list.split(',').map(|word| word.trim().trim_matches('\'').to_owned()).collect()
    };
    let policy = policy("bundle/gateway.yaml");
    let names = |list: &Value| -> Vec<String> {
        list.as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| Some(one["name"].as_str().or(one.as_str())?.to_owned()))
            .collect()
    };
    let contexts =
        [names(&policy["contexts"]), vec![policy["defaultContext"]["name"].as_str().unwrap().to_owned()]].concat();
    assert_eq!(words("healthcare_context"), contexts);
    assert_eq!(
        words("tenant_pool"),
        [names(&policy["routing"]["pools"]), names(&policy["routing"]["dedicated"])].concat()
    );
    assert_eq!(words("compliance_level"), ["critical", "high", "standard", "low"]);
}

/// The API server must not refuse a policy that the module takes.
#[test]
fn admission_knows_the_fields_that_the_document_has() {
    let schema: Value = serde_json::from_str(&careplane_policy::schema::json_schema().unwrap()).unwrap();
    let fields = schema["properties"].as_object().unwrap().keys();
    let policy = documents(&manifests().join("base/careplane/admission/refuse.yaml")).remove(0);
    let one = |list: &str, key: &str, name: &str, text: &str| {
        let found = policy["spec"][list].as_array().unwrap().iter().find(|it| it[key].as_str().unwrap().contains(name));
        found.unwrap()[text].as_str().unwrap().to_owned()
    };
    let taken = one("variables", "name", "unknownFields", "expression");
    let message = one("validations", "expression", "variables.unknownFields", "messageExpression");
    let mut listed: Vec<&str> = taken.split('\'').skip(1).step_by(2).collect();
    listed.sort_unstable();
    assert_eq!(listed, fields.clone().collect::<Vec<_>>());
    for field in fields {
        assert!(message.split([' ', ',', '\'', '\n']).any(|word| word == field), "the message does not name {field}");
    }
}

/// Applied again, a Job that has run does nothing, and its old report looks new.
#[test]
fn the_jobs_of_an_audit_are_removed_before_they_run_again() {
    let page = std::fs::read_to_string(workspace::root().join("docs/audit-verify.md")).unwrap();
    let delete = page.lines().find(|line| line.starts_with("kubectl delete")).unwrap();
    for file in ["audit/verify/verify-job.yaml", "audit/merge/merge-job.yaml"] {
        let job = document(file)["metadata"]["name"].as_str().unwrap().to_owned();
        assert!(delete.contains(&format!("job/{job}")) && delete.contains("--ignore-not-found"), "{job}: {delete}");
    }
    let commands = page.split("```").find(|part| part.contains(delete)).unwrap();
    let joined = commands.lines().filter(|line| line.starts_with("kubectl") && line.ends_with("&&")).count();
    assert_eq!(joined, 4, "no command runs after one that failed:{commands}");
}

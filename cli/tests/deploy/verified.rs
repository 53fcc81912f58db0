//! What `verify` looks at, and what it calls wrong.

use serde_json::{Value, json};

use super::{Ended, Played, ends_with};

/// In front of every service, beside the plugin of the gateway that the played manifests have.
const INBOUND: &str = "\
---
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: careplane-inbound, namespace: istio-system}
spec: {match: [{mode: SERVER}]}
";

#[test]
fn a_check_that_cannot_be_made_has_failed() {
    let calls = Played::new("verify").run(&["verify", "--timeout", "1s"]).calls;
    let at = calls.iter().position(|call| call.contains("get peerauthentications")).unwrap();
    let played = Played::new("verify").with("FAIL_AT", (at + 1).to_string());
    ends_with(&played.run(&["verify", "--timeout", "1s"]), 1, "mutual TLS     FAILED: `kubectl get peerauth");
    let at = calls.iter().position(|call| call.contains("get pods -A")).unwrap();
    let ended = Played::new("verify").with("FAIL_AT", (at + 1).to_string()).run(&["verify", "--timeout", "1s"]);
    ends_with(&ended, 1, "plugins        FAILED: `kubectl get pods -A");
    assert!(ended.said.contains("injection      FAILED: `kubectl get pods -A"), "{}", ended.said);
}

/// A pod with these labels and annotations that runs, and has a container of this name.
fn pod(namespace: &str, name: &str, labels: &Value, annotations: &Value, container: &str) -> Value {
    json!({
        "metadata": {"namespace": namespace, "name": name, "labels": labels, "annotations": annotations},
        "spec": {"containers": [{"name": container}]},
        "status": {"phase": "Running"},
    })
}

/// The pods whose proxies were asked which plugins they have.
fn asked(ended: &Ended) -> Vec<&str> {
    ended.calls.iter().filter_map(|call| call.split_once(" exec ")?.1.split(' ').next()).collect()
}

/// A gateway is a client of what is behind it: what is for requests that come in is not for gateways, whatever their
/// labels.
#[test]
fn a_proxy_has_the_plugins_that_select_it() {
    let played = Played::new("gateways");
    played.answer("rendered.yaml", &(played.state("rendered.yaml") + INBOUND));
    let gateway = |name: &str, labels: Value| {
        let mut pod = pod("core-healthcare", name, &labels, &json!({}), "istio-proxy");
        pod["spec"]["containers"][0]["args"] =
            json!(["proxy", "router", "--domain", "core-healthcare.svc.cluster.local"]);
        pod
    };
    let of_gateway_api = json!({
        "gateway.networking.k8s.io/gateway-name": "partners",
        "gateway.networking.k8s.io/gateway-class-name": "istio",
    });
    let pods = [
        gateway("ingress-1", json!({"istio": "ingressgateway"})),
        gateway("egress-1", json!({"istio": "egressgateway"})),
        gateway("east-west-1", json!({"istio": "eastwestgateway", "topology.istio.io/network": "north"})),
        gateway("partners-istio-1", of_gateway_api),
        pod("core-healthcare", "resident-service-1", &json!({}), &json!({}), "istio-proxy"),
    ];
    played.answer("pods.json", &json!({"items": pods}).to_string());
    let ended = played.run(&["verify", "--timeout", "1s"]);
    assert_eq!(asked(&ended), ["ingress-1", "resident-service-1"], "{}", ended.said);
}

/// That some plugin is there, and some VM, says nothing about the one that is meant.
#[test]
fn a_plugin_that_is_absent_or_refused_is_found_beside_others() {
    let played = Played::new("absent");
    played.answer("rendered.yaml", &(played.state("rendered.yaml") + INBOUND));
    let pods = [pod("core-healthcare", "resident-service-1", &json!({}), &json!({}), "istio-proxy")];
    played.answer("pods.json", &json!({"items": pods}).to_string());
    let plugin = |name: &str| json!({"metadata": {"name": name, "namespace": "istio-system"}});
    let plugins = ["careplane-inbound", "careplane-outbound"].map(plugin);
    played.answer("wasmplugins.json", &json!({"items": plugins}).to_string());
    let has = |plugins: &[&str]| {
        let filter = |name: &&str| {
            let name = format!("extensions.istio.io/wasmplugin/istio-system.{name}");
            let config = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"});
            json!({"name": name, "typed_config": config})
        };
        played.answer("dump.json", &json!({"configs": plugins.iter().map(filter).collect::<Vec<_>>()}).to_string());
    };
    let vms = "wasm.envoy.wasm.runtime.v8.active: 3\n";
    let accepted = format!("{vms}wasmcustom.careplane.pseudonym_key_ephemeral: 0\n");
    let both = ["careplane-inbound", "careplane-outbound"];
    for (plugins, stats, text) in [
        (&both[1..], accepted.as_str(), "resident-service-1: does not have WasmPlugin istio-system/careplane-inbound"),
        (&both, vms, "resident-service-1: refused the policy when it started"),
        (&both, &accepted, "plugins        ok: 2 in 1 proxies"),
    ] {
        has(plugins);
        played.answer("stats", stats);
        ends_with(&played.run(&["verify", "--timeout", "1s"]), 1, text);
    }
}

/// The container of ztunnel is named as that of a sidecar, and has no Envoy. Where waypoints have plugins, sidecars
/// have none.
#[test]
fn of_an_ambient_mesh_the_gateway_and_the_waypoints_have_plugins() {
    let played = Played::new("ambient");
    let targets = "targetRefs: [{group: gateway.networking.k8s.io, kind: GatewayClass, name: istio-waypoint}]";
    played.answer(
        "rendered.yaml",
        &(played.state("rendered.yaml") + &INBOUND.replace("match: [{mode: SERVER}]", targets)),
    );
    let labels = json!({"istio-injection": "disabled", "istio.io/dataplane-mode": "ambient"});
    let namespaces = json!({"items": [{"metadata": {"name": "core-healthcare", "labels": labels}}]});
    played.answer("namespaces.json", &namespaces.to_string());
    let none = json!({});
    let waypoint = json!({"gateway.networking.k8s.io/gateway-class-name": "istio-waypoint"});
    let redirected = json!({"ambient.istio.io/redirection": "enabled"});
    let pods = [
        pod("istio-system", "ztunnel-7xk2p", &json!({"app": "ztunnel"}), &none, "istio-proxy"),
        pod("monitoring", "prometheus-0", &json!({"app": "prometheus"}), &none, "istio-proxy"),
        pod("core-healthcare", "waypoint-5d9", &waypoint, &none, "istio-proxy"),
        pod("core-healthcare", "ingress-1", &json!({"istio": "ingressgateway"}), &none, "istio-proxy"),
        pod("core-healthcare", "resident-service-1", &none, &redirected, "app"),
        pod("core-healthcare", "backup-1", &json!({"istio.io/dataplane-mode": "none"}), &none, "app"),
    ];
    played.answer("pods.json", &json!({"items": pods}).to_string());
    let ended = played.run(&["verify", "--overlay", "ambient", "--timeout", "1s"]);
    ends_with(&ended, 1, "injection      ok: 3 pods, each with a proxy");
    assert_eq!(asked(&ended), ["waypoint-5d9", "ingress-1"], "{}", ended.said);
}

/// A namespace may name a revision of Istio, and a pod may say by the older annotation that it wants no proxy, or end.
#[test]
fn a_namespace_with_a_revision_is_in_the_mesh() {
    let played = Played::new("revision");
    let namespaces = json!({"items": [
        {"metadata": {"name": "istio-system"}},
        {"metadata": {"name": "core-healthcare", "labels": {"istio.io/rev": "stable"}}},
        {"metadata": {"name": "others", "labels": {"istio.io/rev": "stable", "istio-injection": "disabled"}}},
    ]});
    played.answer("namespaces.json", &namespaces.to_string());
    let (none, left_out) = (json!({}), json!({"sidecar.istio.io/inject": "false"}));
    let mut replaced = pod("core-healthcare", "resident-service-0", &none, &none, "app");
    replaced["metadata"]["deletionTimestamp"] = "2026-11-28T09:00:00Z".into();
    let pods = [
        replaced,
        pod("core-healthcare", "resident-service-1", &none, &none, "istio-proxy"),
        pod("core-healthcare", "backup-1", &none, &left_out, "app"),
        pod("others", "app-1", &none, &none, "app"),
    ];
    played.answer("pods.json", &json!({"items": pods}).to_string());
    let rendered = played.state("rendered.yaml").replace("istio-injection: enabled", "istio.io/rev: stable");
    played.answer("rendered.yaml", &rendered);
    ends_with(&played.run(&["verify", "--timeout", "1s"]), 1, "injection      ok: 1 pods, each with a proxy");
    let ended = played.run(&["plan"]);
    ends_with(&ended, 0, "to be made: Secret careplane-pseudonym-key, the same random key in core-healthcare");
    // Its istiod has another name.
    played.answer("istiod", "deployment.apps/istiod-stable\n");
    ends_with(&played.run(&["undo", "--yes", "--purge"]), 0, "istio          removed");
}

//! What a plan shows, what `apply` changes, and what `undo` takes out.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{IMAGE, Played, changes, ends_with, plugin, wanted_namespace};

/// What kubectl prints of the API server's answers.
const FORBIDDEN: &str = "Error from server (Forbidden): deployments.apps \"istiod\" is forbidden: User \"dev\" cannot \
                         patch resource \"deployments\" in API group \"apps\"";
const TERMINATING: &str = "Error from server (Forbidden): serviceaccounts \"x\" is forbidden: unable to create new \
                           content in namespace core-healthcare because it is being terminated";
const TIMED_OUT: &str = "error: timed out waiting for the condition";
const AWAY: &str = "The connection to the server dev.example was refused - did you specify the right host or port?";

/// The namespace has another owner than the manifests say.
fn with_another_owner(played: &Played) {
    let mut namespace = wanted_namespace();
    namespace["metadata"]["labels"]["owner"] = "platform".into();
    played.answer("live.json", &json!({"items": [namespace, plugin()]}).to_string());
}

/// What kubectl prints of a webhook that does not answer.
fn webhook(name: &str) -> String {
    format!(
        "Error from server (InternalError): Internal error occurred: failed calling webhook \"{name}\": failed to call \
         webhook: Post \"https://x.svc:443/v1/admit\": dial tcp 10.96.1.2:443: connect: connection refused"
    )
}

#[test]
fn a_plan_changes_nothing_and_shows_what_would_change() {
    let played = Played::new("plan");
    with_another_owner(&played);
    for arguments in [&[][..], &["plan"]] {
        let ended = played.run(arguments);
        ends_with(&ended, 0, "nothing was changed");
        for text in [
            "to be changed: Namespace core-healthcare",
            "- metadata.labels.owner: \"platform\"",
            "+ metadata.labels.owner: \"careplane\"",
            "to be made: Secret careplane-pseudonym-key",
        ] {
            assert!(ended.said.contains(text), "no {text:?} in\n{}", ended.said);
        }
        assert_eq!(ended.calls.iter().find(|call| changes(call)), None);
    }
}

#[test]
fn a_plan_is_json_for_programs() {
    let played = Played::new("json").with("CONFLICT", "kubectl-edit");
    with_another_owner(&played);
    let ended = played.run(&["plan", "-o", "json"]);
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let plan: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(plan["nothingToDo"], false);
    assert_eq!(plan["conflicts"], 1);
    assert_eq!(plan["keys"]["missing"], json!(["core-healthcare"]));
    let field = json!({"path": "metadata.labels.owner", "is": "platform", "becomes": "careplane"});
    let conflict = json!({"manager": "kubectl-edit", "fields": [".metadata.labels.owner"]});
    let changed = json!({"object": "Namespace core-healthcare", "fields": [field], "conflicts": [conflict]});
    assert_eq!(plan["steps"][0], json!({"step": "namespaces", "total": 1, "new": [], "changed": [changed]}));
}

#[test]
fn what_is_there_already_needs_no_answer() {
    let played = Played::new("unchanged");
    played.answer("live.json", &played.state("wanted.json"));
    played.answer("key", "a2V5");
    let ended = played.run(&[&["plan"][..], &IMAGE].concat());
    ends_with(&ended, 0, "nothing to do: the cluster is as the manifests say");
    // Its checks fail here; nothing was asked before.
    let ended = played.run(&[&["apply", "--timeout", "1s"][..], &IMAGE].concat());
    ends_with(&ended, 1, "nothing was changed: the cluster was as the manifests say");
    assert_eq!(ended.calls.iter().find(|call| changes(call)), None);
}

#[test]
fn nothing_is_applied_that_should_not_be() {
    let refused = "  pluginConfig:\n    version: careplane/v1\n    contexts: 5\n";
    let played = Played::new("refused");
    let bad = played.state("rendered.yaml").replace("  pluginConfig:\n    version: careplane/v1\n", refused);
    played.answer("bad.yaml", &bad);
    let apply = [&["apply", "--yes"][..], &IMAGE].concat();
    let cases = [
        (Played::new("placeholder"), &["--apply", "--yes"][..], 2, "placeholder oci://registry.example/"),
        (played.with("RENDERED", "bad.yaml"), &apply, 7, "careplane check refuses the policies"),
        (Played::new("question"), &apply[..1].iter().chain(&apply[2..]).copied().collect::<Vec<_>>(), 8, "no terminal"),
        (
            Played::new("admission").with("REFUSED", "ValidatingAdmissionPolicy 'careplane-plugins' with binding"),
            &apply,
            7,
            "the admission policy refuses namespaces",
        ),
        (
            Played::new("owners").with("REFUSED", "ValidatingAdmissionPolicy 'owners' with binding 'owners' denied"),
            &apply,
            5,
            "namespaces cannot be compared: the reason is above",
        ),
        (
            Played::new("gatekeeper").with("REFUSED", webhook("validation.gatekeeper.sh")),
            &apply,
            5,
            "namespaces cannot be compared: the webhook validation.gatekeeper.sh does not answer",
        ),
        (
            Played::new("validation").with("REFUSED", webhook("rev.validation.istio.io")),
            &apply,
            5,
            "namespaces cannot be compared: istiod, which validates it, does not answer",
        ),
        (
            Played::new("forbidden").with("REFUSED", FORBIDDEN),
            &apply,
            5,
            "namespaces cannot be compared: this account may not",
        ),
        (
            Played::new("terminating").with("REFUSED", TERMINATING),
            &apply,
            5,
            "namespaces cannot be compared: a namespace is being terminated",
        ),
    ];
    for (played, arguments, code, text) in cases {
        let ended = played.run(arguments);
        ends_with(&ended, code, text);
        assert_eq!(ended.calls.iter().find(|call| changes(call)), None, "{text}");
    }
}

/// Timeouts, missing rights and a cluster that is away have codes of their own, at every step.
#[test]
fn the_exit_code_says_why_a_step_failed() {
    let workload = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: kiali, namespace: core-healthcare}\n";
    let apply = [&["apply", "--yes", "--timeout", "1s"][..], &IMAGE].concat();
    let undo = ["undo", "--yes", "--timeout", "1s"];
    for (variable, words, arguments, code, text) in [
        ("APPLY", FORBIDDEN, &apply[..], 5, "namespaces cannot be applied: this account may not"),
        ("APPLY", AWAY, &apply, 4, "namespaces cannot be applied: the cluster does not answer"),
        ("ROLLOUT", TIMED_OUT, &apply, 6, "deployment core-healthcare/kiali is not ready after 1s"),
        (
            "ROLLOUT",
            FORBIDDEN,
            &apply,
            5,
            "deployment core-healthcare/kiali cannot be waited for: this account may not",
        ),
        ("DELETE", TIMED_OUT, &undo, 6, "careplane cannot be removed"),
        ("DELETE", FORBIDDEN, &undo, 5, "careplane cannot be removed: this account may not"),
        ("DELETE", AWAY, &undo, 4, "careplane cannot be removed: the cluster does not answer"),
    ] {
        let played = Played::new("codes").with(variable, words);
        if variable != "APPLY" {
            played.answer("rendered.yaml", &(played.state("rendered.yaml") + workload));
        }
        with_another_owner(&played);
        ends_with(&played.run(arguments), code, text);
    }
}

#[test]
fn a_secret_without_a_key_is_no_secret_to_be_made() {
    let played = Played::new("keyless");
    played.answer("key", " ");
    for arguments in [&["plan"][..], &[&["apply", "--yes"][..], &IMAGE].concat()] {
        let ended = played.run(arguments);
        ends_with(&ended, 5, "Secret careplane-pseudonym-key in core-healthcare has no field key");
        assert_eq!(ended.calls.iter().find(|call| changes(call)), None);
    }
}

#[test]
fn the_difference_is_shown_before_the_question() {
    let played = Played::new("before");
    with_another_owner(&played);
    let ended = played.run(&[&["apply"][..], &IMAGE].concat());
    ends_with(&ended, 8, "there is no terminal to ask on");
    assert!(ended.stdout.contains("- metadata.labels.owner: \"platform\""), "{}", ended.stdout);
}

#[test]
fn fields_of_others_are_taken_only_by_force() {
    let played = Played::new("force").with("CONFLICT", "kubectl-edit");
    with_another_owner(&played);
    let apply = [&["apply", "--yes", "--timeout", "1s"][..], &IMAGE].concat();
    let ended = played.run(&apply);
    ends_with(&ended, 5, "! belongs to kubectl-edit: .metadata.labels.owner");
    assert!(ended.said.contains("--force-conflicts"), "{}", ended.said);
    assert_eq!(ended.calls.iter().find(|call| changes(call)), None);

    let ended = played.run(&[&apply[..], &["--force-conflicts"]].concat());
    ends_with(&ended, 1, "namespaces     1 changed, 0 unchanged");
    let applied: Vec<&String> = ended.calls.iter().filter(|call| call.contains(" apply ") && changes(call)).collect();
    assert!(!applied.is_empty() && applied.iter().all(|call| call.contains("--force-conflicts")), "{applied:?}");

    let played = Played::new("peaceful");
    let ended = played.run(&apply);
    let applied: Vec<&String> = ended.calls.iter().filter(|call| call.contains(" apply ") && changes(call)).collect();
    assert!(!applied.is_empty() && applied.iter().all(|call| !call.contains("force")), "{applied:?}");
}

#[test]
fn a_key_is_made_and_seen_by_no_process() {
    let played = Played::new("key");
    // It is applied, and then the verification fails: there is no mesh.
    let ended = played.run(&[&["--apply", "--yes", "--timeout", "1s"][..], &IMAGE].concat());
    ends_with(&ended, 1, "made: Secret careplane-pseudonym-key");
    let secret: Value = serde_json::from_str(&played.state("created")).unwrap();
    let key = secret["data"]["key"].as_str().unwrap();
    assert!(key.len() >= 80, "{} characters", key.len());
    assert!(!ended.said.contains(key) && !ended.calls.concat().contains(key));
}

#[test]
fn the_image_takes_the_place_of_the_placeholder() {
    let played = Played::new("image");
    let ended = played.run(&[&["plan"][..], &IMAGE].concat());
    ends_with(&ended, 0, "nothing was changed");
    assert!(!ended.said.contains("placeholder"), "{}", ended.said);
    ends_with(&played.run(&["plan"]), 0, "warning        the manifests have the placeholder");
}

/// What is checked is what is applied.
#[test]
fn the_image_is_checked_in_place_of_the_one_in_the_manifests() {
    let played = Played::new("checked");
    let pinned = format!("{}@sha256:{}", IMAGE[1], "a".repeat(64));
    let ended = played.run(&["plan", "--image", &pinned]);
    assert!(!ended.said.contains("has no digest"), "{}", ended.said);
    played.answer(
        "rendered.yaml",
        &played.state("rendered.yaml").replace(":0.1.0", &format!(":0.1.0@sha256:{}", "b".repeat(64))),
    );
    ends_with(
        &played.run(&["plan", "--image", IMAGE[1]]),
        0,
        "oci://registry.test/careplane/careplane:1\" has no digest",
    );
}

#[test]
fn images_of_another_istio_than_istioctl_are_a_warning() {
    let played = Played::new("tag").with("ISTIOCTL", "1.29.2");
    let operator = "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {tag: 1.31.0}\n";
    fs::write(played.folder.join("manifests/install/istio.yaml"), operator).unwrap();
    ends_with(&played.run(&["plan"]), 0, "warning        istioctl is 1.29.2, and ");
    let ended = played.with("ISTIOCTL", "1.31.4").run(&["plan"]);
    assert!(!ended.said.contains("istioctl is"), "{}", ended.said);
}

#[test]
fn a_registry_that_network_policies_do_not_let_proxies_reach_is_a_warning() {
    const FILE: &str = "../wasmplugin-manifests/base/security/every-namespace/network-policies.yaml";
    let played = Played::new("registry");
    let shipped = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE)).unwrap();
    let rendered = played.state("rendered.yaml");
    played.answer("rendered.yaml", &format!("{rendered}---\n{shipped}"));
    ends_with(&played.run(&["plan"]), 0, "warning        NetworkPolicy proxies has the placeholder 192.0.2.10/32");
    played.answer("rendered.yaml", &format!("{rendered}---\n{}", shipped.replace("192.0.2.10", "10.1.2.3")));
    let ended = played.run(&["plan"]);
    assert!(!ended.said.contains("NetworkPolicy proxies has"), "{}", ended.said);
}

#[test]
fn the_certificate_is_the_one_that_the_gateway_names() {
    let played = Played::new("certificate");
    let gateway = "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: writecarenotes, namespace: \
                   core-healthcare}\nspec: {servers: [{tls: {credentialName: care-tls}}]}\n";
    played.answer("rendered.yaml", &(played.state("rendered.yaml") + gateway));
    let ended = played.run(&["plan"]);
    ends_with(&ended, 0, "warning        Secret care-tls is not in core-healthcare");
    assert!(!ended.said.contains("writecarenotes-tls"), "{}", ended.said);
}

#[test]
fn an_image_does_not_unpin_others() {
    let played = Played::new("images");
    let digest = format!("@sha256:{}", "a".repeat(64));
    let rendered = played.state("rendered.yaml");
    let (_, plugin) = rendered.split_once("---\n").unwrap();
    let audit = plugin
        .replace("pluginName: careplane", "pluginName: audit")
        .replace("name: careplane-gateway", "name: careplane-audit")
        .replace("/careplane:0.1.0", "/careplane-audit:0.1.0");
    let several = |audit: &str| played.answer("rendered.yaml", &format!("{rendered}---\n{audit}"));
    let pinned = format!("{}{digest}", IMAGE[1]);
    several(&audit);
    ends_with(&played.run(&["plan", "--image", &pinned]), 2, "which it would unpin: careplane-audit");
    // A tag is a tag for all of them.
    ends_with(&played.run(&["plan", "--image", IMAGE[1]]), 0, "nothing was changed");
    several(&audit.replace("careplane-audit:0.1.0", &format!("careplane-audit:0.1.0{digest}")));
    ends_with(&played.run(&["plan", "--image", IMAGE[1]]), 2, "which it would unpin: careplane-audit");
}

#[test]
fn undo_asks_and_shows_what_it_would_remove() {
    let played = Played::new("undo");
    played.answer("live.json", &json!({"items": [plugin()]}).to_string());
    let ended = played.run(&["undo"]);
    ends_with(&ended, 8, "to be removed: WasmPlugin istio-system/careplane-gateway");
    assert_eq!(ended.calls.iter().find(|call| changes(call)), None);
}

#[test]
fn purge_removes_the_claims_of_the_manifests_alone_and_shows_them_first() {
    const OURS: &str = "core-healthcare/data-prometheus-0";
    const OTHERS: &str = "prometheus-stack-prometheus-db-prometheus-stack-prometheus-0";
    let played = Played::new("claims");
    let set = "---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: prometheus, namespace: core-healthcare}\n\
               spec: {volumeClaimTemplates: [{metadata: {name: data}}]}\n";
    played.answer("rendered.yaml", &(played.state("rendered.yaml") + set));
    let claim = "persistentvolumeclaim/";
    played.answer("claims", &format!("{claim}data-prometheus-0\n{claim}{OTHERS}\n"));
    let ended = played.run(&["undo", "--purge"]);
    ends_with(&ended, 8, &format!("to be removed: PersistentVolumeClaim {OURS}, and what it holds"));
    let ended = played.run(&["undo", "--yes"]);
    ends_with(&ended, 0, &format!("kept: PersistentVolumeClaim {OURS}"));
    assert!(!ended.calls.iter().any(|call| call.contains("delete persistentvolumeclaim")), "{:?}", ended.calls);
    let ended = played.run(&["undo", "--yes", "--purge"]);
    ends_with(&ended, 0, &format!("removed: PersistentVolumeClaim {OURS}, and what it held"));
    assert!(ended.calls.iter().any(|call| call.contains("delete persistentvolumeclaim data-prometheus-0")));
    assert!(!ended.said.contains(OTHERS) && !ended.calls.concat().contains(OTHERS), "{}", ended.said);
}

/// Those of another overlay, of files that are gone, and of configurations that have changed: each change of one gives
/// its ConfigMap another name, and leaves behind what a rollback leads to.
#[test]
fn what_an_earlier_apply_made_is_named_and_undo_removes_it() {
    let played = Played::new("left");
    let object = |version: &str, kind: &str, name: &str, manager: &str| {
        let metadata = json!({"name": name, "namespace": "core-healthcare", "managedFields": [{"manager": manager}]});
        json!({"apiVersion": version, "kind": kind, "metadata": metadata})
    };
    let found = json!({"items": [
        object("security.istio.io/v1", "AuthorizationPolicy", "waypoint", "careplane-deploy"),
        object("security.istio.io/v1", "AuthorizationPolicy", "theirs", "kubectl"),
        object("v1", "ConfigMap", "prometheus-rules-7b", "careplane-deploy"),
    ]});
    played.answer("left.json", &found.to_string());
    let ended = played.run(&["plan"]);
    ends_with(&ended, 0, "warning        an earlier apply has made these, which base does not have; they stay:");
    assert!(ended.said.contains("               AuthorizationPolicy core-healthcare/waypoint\n"), "{}", ended.said);
    assert!(!ended.said.contains("theirs") && !ended.said.contains("prometheus-rules"), "{}", ended.said);
    let plan: Value = serde_json::from_str(&played.run(&["plan", "-o", "json"]).stdout).unwrap();
    assert_eq!(plan["left"], json!(["AuthorizationPolicy core-healthcare/waypoint"]));

    played.answer("live.json", &found.to_string());
    let ended = played.run(&["undo"]);
    ends_with(&ended, 8, "to be removed: ConfigMap core-healthcare/prometheus-rules-7b");
    assert!(ended.said.contains("to be removed: AuthorizationPolicy core-healthcare/waypoint"), "{}", ended.said);
    assert!(!ended.said.contains("theirs"), "{}", ended.said);
}

#[test]
fn plugins_that_apply_has_not_made_stay() {
    let played = Played::new("plugins");
    let plugin = |name: &str, manager: &str| {
        let managers = json!([{"manager": manager}]);
        json!({"metadata": {"name": name, "namespace": "istio-system", "managedFields": managers}})
    };
    let found =
        [plugin("careplane-gateway-audit", "careplane-deploy"), plugin("careplane-partner", "argocd-controller")];
    played.answer("wasmplugins.json", &json!({"items": found}).to_string());
    let warning = "warning        WasmPlugin istio-system/careplane-partner is not of base, and apply has not made it";
    for (arguments, code, text) in [
        (&[&["apply", "--yes", "--timeout", "1s"][..], &IMAGE].concat()[..], 1, warning),
        (&["undo", "--yes", "--timeout", "1s"], 0, "kept: WasmPlugin istio-system/careplane-partner"),
    ] {
        let ended = played.run(arguments);
        ends_with(&ended, code, text);
        let removed: Vec<&str> = ended
            .calls
            .iter()
            .filter_map(|call| call.split_once("delete wasmplugins.extensions.istio.io "))
            .map(|it| it.1)
            .collect();
        assert_eq!(removed, ["careplane-gateway-audit --ignore-not-found"], "{}", ended.said);
    }
}

#[test]
fn undo_keeps_what_holds_something() {
    let played = Played::new("holds");
    played.answer("contents", "deployment.apps/mine\nserviceaccount/default\nconfigmap/kube-root-ca.crt\n");
    let ended = played.run(&["undo", "--yes"]);
    ends_with(&ended, 0, "kept: core-healthcare, without our labels; it holds deployment.apps/mine");
    assert!(!ended.calls.iter().any(|call| call.contains("delete namespace")), "{:?}", ended.calls);
    played.answer("contents", "configmap/istio-custom-bootstrap\nconfigmap/istio-ca-root-cert\n");
    ends_with(&played.run(&["undo", "--yes"]), 0, "it holds configmap/istio-custom-bootstrap");
    played.answer("contents", "serviceaccount/default\nconfigmap/kube-root-ca.crt\nconfigmap/istio-ca-root-cert\n");
    ends_with(&played.run(&["undo", "--yes"]), 0, "removed: core-healthcare");
}

/// In the middle of a canary upgrade there are two.
#[test]
fn undo_says_which_istio_it_has_removed() {
    let (ours, canary) = ("deployment.apps/istiod", "deployment.apps/istiod-1-32");
    let played = Played::new("canary");
    for (installed, left, text) in [
        (
            format!("{ours}\n{canary}\n"),
            canary,
            "istio          removed; kept: deployment.apps/istiod-1-32, of another",
        ),
        (format!("{canary}\n"), canary, "istio          kept: not the installation that apply made"),
        (format!("{ours}\n"), "", "istio          removed; its CRDs stay"),
    ] {
        played.answer("istiod", &installed);
        played.answer("canary", left);
        ends_with(&played.run(&["undo", "--yes", "--timeout", "1s"]), 0, text);
    }
}

/// Each call in turn fails: then the run does not succeed, and nothing is removed or applied on the strength of it.
#[test]
fn a_failed_read_is_never_an_empty_answer() {
    for (name, arguments) in [
        ("read-undo", &["undo", "--yes", "--timeout", "1s"][..]),
        ("read-purge", &["undo", "--yes", "--purge", "--timeout", "1s"]),
        ("read-apply", &[&["apply", "--yes", "--timeout", "1s"][..], &IMAGE].concat()),
    ] {
        let prepare = || {
            let played = Played::new(name);
            with_another_owner(&played);
            played.answer("key", if name == "read-apply" { "" } else { "a2V5" });
            played.answer("istiod", "deployment.apps/istiod\n");
            played
        };
        let calls = prepare().run(arguments).calls;
        let applied = calls.iter().rposition(|call| changes(call)).unwrap();
        for (at, call) in calls.iter().enumerate().take(applied + 1) {
            // Waits for what may be gone already, and asks for what has to be refused.
            if call.contains(" wait ") || call.contains("--dry-run=server -f -") && call.contains(" create ") {
                continue;
            }
            let ended = prepare().with("FAIL_AT", (at + 1).to_string()).run(arguments);
            assert_ne!(ended.code, Some(0), "{call} failed, and all was well:\n{}", ended.said);
            assert_ne!(ended.code, None);
            let deleted = ended.calls.iter().skip(at + 1).find(|call| call.contains("delete namespace"));
            assert_eq!(deleted, None, "{call} failed before:\n{}", ended.said);
            let is_read = [" get ", " api-versions", " config "].iter().any(|verb| call.contains(verb));
            if is_read && name == "read-apply" {
                let changed = ended.calls.iter().skip(at + 1).find(|call| changes(call));
                assert_eq!(changed, None, "{call} failed before:\n{}", ended.said);
            }
        }
    }
}

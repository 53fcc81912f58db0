//! `careplane explain`: what it says about requests, word for word.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use careplane_cli::explain::{CollectorAnswer, Judged, RequestArguments};
use careplane_cli::input::Input;
use serde_json::{Value, json};

#[path = "../../integration/tests/membership/answers.rs"]
mod answers;

fn careplane(arguments: &[&str]) -> Output {
    careplane_with("explain/policy.yaml", arguments)
}

fn careplane_with(policy: &str, arguments: &[&str]) -> Output {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    Command::new(env!("CARGO_BIN_EXE_careplane"))
        .current_dir(folder)
        .env_remove("CAREPLANE_PSEUDONYM_KEY")
        .args(["explain", "--policy", policy])
        .args(arguments)
        .output()
        .unwrap()
}

fn text(arguments: &[&str]) -> String {
    let output = careplane(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn account(arguments: &[&str]) -> Value {
    serde_json::from_str(&text(&[arguments, &["--format", "json"]].concat())).unwrap()
}

fn golden(name: &str, arguments: &[&str]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/explain/{name}.txt"));
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    let found = text(arguments);
    assert_eq!(found, expected, "{} is not what is said now", file.display());
}

/// The texts between fences of a page.
fn blocks(page: &str) -> impl Iterator<Item = &str> {
    page.split("```").skip(1).step_by(2)
}

#[test]
fn the_page_shows_what_the_policy_of_the_manifests_makes_of_its_requests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = |name: &str| std::fs::read_to_string(root.join("docs").join(name)).unwrap();
    let (explain, trouble) = (page("explain.md"), page("troubleshooting.md"));
    let policy = std::fs::read_to_string(root.join("wasmplugin-manifests/base/careplane/policy/policy.yaml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let run = |policy: &str, command: &str| {
        std::fs::write(folder.path().join("policy.yaml"), policy).unwrap();
        let script = format!("careplane() {{ '{}' \"$@\"; }}\n{command}", env!("CARGO_BIN_EXE_careplane"));
        let output = Command::new("sh").current_dir(folder.path()).args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let shows = |shown: &str, printed: &str| {
        for line in shown.lines().filter(|line| !line.is_empty() && line.trim() != "…") {
            assert!(printed.lines().any(|it| it == line), "{line:?} is not in\n{printed}");
        }
    };
    let all: Vec<&str> = blocks(&explain).collect();
    let command = all[0].strip_prefix("sh\n").unwrap();
    shows(all[1], &run(&policy, command));
    let waits = all.iter().find(|block| block.starts_with("\nintent")).unwrap();
    let write_ahead = policy.replace("# writeAhead: [critical]", "writeAhead: [critical]");
    shows(waits, &run(&write_ahead, &(command.trim_end().to_owned() + " --collector unavailable")));
    let pool = blocks(&trouble).find(|block| block.starts_with("\nrouting")).unwrap();
    let pool = pool.split("\n\n").next().unwrap().replace("…/policy/", "");
    shows(&pool, &run(&policy, command));
}

#[test]
fn a_request_that_is_let_through() {
    golden(
        "allowed",
        &[
            "--request",
            "POST /api/v1//residents/..;/Medications;v=1/%61dminister?x=1",
            "-H",
            "X-Tenant-Id: care-home-0001",
            "--claim",
            "tenant_id=care-home-0042",
            "--claim",
            "sub=nurse-1",
        ],
    );
}

#[test]
fn a_request_that_crosses_a_tenant_boundary() {
    golden(
        "denied",
        &[
            "--request",
            "/api/v1/tenants/care-home-0001/staff",
            "--claims",
            r#"{"tenant_id": "care-home-0012", "sub": 17, "roles": ["manager"]}"#,
            "--peer",
            "spiffe://cluster.local/ns/core-healthcare/sa/api-gateway",
            "--sampling-number",
            "3000",
        ],
    );
}

#[test]
fn a_trace_is_kept_below_the_rate_and_not_at_it() {
    let kept = |number: &str| {
        account(&["--request", "/api/v1/residents/17", "--claim", "tenant_id=a", "--sampling-number", number])["trace"]
            ["kept"]
            .clone()
    };
    assert_eq!((kept("4999"), kept("5000")), (true.into(), false.into()));
}

#[test]
fn a_request_in_shadow_passes_and_the_account_says_what_enforcement_would_do() {
    let folder = tempfile::tempdir().unwrap();
    let policy =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/explain/policy.yaml")).unwrap();
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, policy.replacen("version: careplane/v1", "version: careplane/v1\nenforcement: shadow", 1))
        .unwrap();
    let explain = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_careplane"));
        let output = command.args(["explain", "--policy", path.to_str().unwrap()]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let conflict = ["--request", "/api/v1/tenants/care-home-0001/staff", "--claim", "tenant_id=care-home-0012"];
    let text = explain(&conflict);
    let expected = "decision    allowed: the request is in shadow, so nothing of it changes\n              \
                    enforced: denied with 403, tenant-conflict, by tracing-tags\nheaders     as they were sent\n";
    assert!(text.contains(expected), "{text}");
    let account: Value = serde_json::from_str(&explain(&[&conflict[..], &["--format", "json"]].concat())).unwrap();
    assert_eq!(account["shadow"]["code"], "tenant-conflict");
    let shadow = &account["record"]["record"]["decision"]["shadow"];
    assert_eq!(*shadow, json!({"reason": "tenant-conflict", "result": "denied"}));
}

#[test]
fn headers_are_believed_from_trusted_peers() {
    let tenant = |peer: &str| {
        account(&["--request", "/api/v1/residents/17", "-H", "x-tenant-id: care-home-0042", "--peer", peer])
    };
    let trusted = tenant("spiffe://cluster.local/ns/core-healthcare/sa/api-gateway");
    assert_eq!(trusted["tenant"]["value"], "care-home-0042");
    assert_eq!(
        trusted["peer"]["rule"],
        json!({"path": "identity.trustedPeers[0]", "place": "explain/policy.yaml:4:7"})
    );
    let other = tenant("spiffe://cluster.local/ns/other/sa/api-gateway");
    assert_eq!(other["tenant"]["value"], Value::Null);
    assert_eq!(other["tenant"]["sources"][2]["verdict"], "not believed: the peer is not trusted");
    assert_eq!(other["decision"]["code"], "tenant-missing");
}

#[test]
fn a_header_that_the_policy_omits_is_not_among_those_that_are_written() {
    let policy =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/explain/policy.yaml")).unwrap();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("explain-omit.yaml");
    std::fs::write(&file, policy + "\nheaders: {omit: [x-tenant-pool, x-compliance-level, x-compliance-flags]}\n")
        .unwrap();
    let request = ["--request", "/", "-H", "x-compliance-level: low", "--claim", "tenant_id=a", "--format", "json"];
    let output = careplane_with(file.to_str().unwrap(), &request);
    let account: Value = serde_json::from_slice(&output.stdout).unwrap();
    let headers = account["headers"].as_array().unwrap();
    let after = |name: &str| headers.iter().find(|it| it["name"] == name).map(|it| it["after"].clone());
    assert_eq!(after("x-compliance-level"), Some(json!([])));
    assert_eq!((after("x-tenant-pool"), after("x-compliance-flags")), (None, None));
    assert_eq!(after("x-healthcare-context"), Some(json!(["general"])));
}

#[test]
fn one_filter_does_its_own_part_alone() {
    let routing =
        account(&["--request", "/api/v1/residents/17", "--claim", "tenant_id=a", "--plugin", "tenant-routing"]);
    let written: Vec<&str> =
        routing["headers"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(written, ["x-release-cohort", "x-tenant-pool"]);
    assert_eq!((&routing["trace"]["decided"], &routing["record"]), (&false.into(), &Value::Null));
}

#[test]
fn the_plugin_of_a_manifest_is_taken() {
    let arguments =
        ["explain", "--policy", "mesh/gateway.yaml", "--request", "/", "--claim", "tenant_id=a", "--format", "json"];
    let output = Command::new(env!("CARGO_BIN_EXE_careplane"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"))
        .args(arguments)
        .args(["--name", "gateway"])
        .output()
        .unwrap();
    let account: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&account["plugin"], &account["context"]["rule"]["path"]),
        (&"careplane".into(), &"defaultContext".into())
    );
}

#[test]
fn what_is_not_careplanes_is_not_taken_for_the_policy() {
    let plugin = |name: &str, config: &str| {
        format!(
            "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{name: {name}}}\n\
             spec: {{url: 'oci://registry.example/{name}', pluginConfig: {{{config}}}}}\n"
        )
    };
    let careplane = plugin("careplane", "version: careplane/v1");
    for other in [plugin("other", "version: 7"), "a: 1\n".to_owned()] {
        let input = Input::of_text("policy.yaml", &format!("{other}---\n{careplane}"));
        let judged = Judged::of(&input, "policy.yaml", None);
        assert!(judged.is_ok(), "{:?}", judged.err());
    }
}

#[test]
fn grants_say_what_is_missing() {
    let explain = |request: &str, claims: &str, headers: &[&str]| {
        let mut arguments = vec!["--request", request, "--claims", claims, "--format", "json"];
        arguments.extend(headers.iter().flat_map(|header| ["-H", *header]));
        let output = careplane_with("explain/grants.yaml", &arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let account: Value = serde_json::from_slice(&output.stdout).unwrap();
        let grants = account["grants"].as_array().unwrap().iter();
        let verdicts: Vec<String> = grants.map(|grant| grant["verdict"].as_str().unwrap().to_owned()).collect();
        (account, verdicts)
    };
    const NURSE: &str = r#"{"homes": ["york-1", "cardiff-1"], "roles": ["staff", "nurse"], "sub": "ann"}"#;

    // One of the person's own: no grant is asked.
    let (account, verdicts) = explain("/homes/york-1/notes", NURSE, &[]);
    assert_eq!(verdicts, Vec::<String>::new());
    let said = |account: &Value, index: usize| account["tenant"]["sources"][index]["verdict"].clone();
    assert_eq!(said(&account, 0), "lists 2: what is selected has to be among them");
    assert_eq!(said(&account, 1), "selects");
    assert_eq!(account["decision"]["result"], "allowed");

    let (account, verdicts) = explain("/homes/glasgow-1/notes", NURSE, &[]);
    let missing = ["not the caller's: claim roles has none of inspector", "needs a purpose of use: BTG or ETREAT"];
    assert_eq!(verdicts, missing);
    assert_eq!(said(&account, 1), "reaches beyond the caller's own");
    assert_eq!(account["grants"][1]["rule"]["path"], "identity.grants[1].requires");
    assert_eq!(account["decision"]["code"], "grant-purpose");

    // Explained as the first request of its user.
    let (account, verdicts) = explain("/homes/glasgow-1/notes", NURSE, &["x-purpose-of-use: BTG"]);
    assert_eq!(verdicts[1], "used");
    assert_eq!((&account["grants"][1]["used"], &account["trace"]["reason"]), (&json!(true), &json!("emergency")));
    assert_eq!(account["record"]["record"]["decision"]["grant"], "emergency");

    let inspector = r#"{"roles": "inspector", "jurisdiction": ["wales", "england"]}"#;
    let (_, verdicts) = explain("/homes/glasgow-1/notes", inspector, &[]);
    assert_eq!(verdicts[0], "does not reach glasgow-1: claim jurisdiction has no scotland");
    let (_, verdicts) = explain("/homes/unlisted-1/notes", inspector, &[]);
    assert_eq!(verdicts[0], "does not reach unlisted-1, which is in no jurisdiction");
    let (account, verdicts) = explain("POST /homes/york-1/notes", inspector, &[]);
    assert_eq!(verdicts[0], "does not cover create in notes");
    assert_eq!(account["decision"]["code"], "grant-action");
    let (account, verdicts) = explain("/x", inspector, &["host: york-1.app.care.example"]);
    assert_eq!((verdicts[0].as_str(), &account["tenant"]["value"]), ("used", &json!("york-1")));
    let (account, _) = explain("/x", inspector, &[]);
    let host = json!({"said": null, "source": "host {tenant}.app.care.example", "verdict": "says nothing"});
    let is_it = |source: &Value| host.as_object().unwrap().iter().all(|(key, value)| source[key] == *value);
    assert!(account["tenant"]["sources"].as_array().unwrap().iter().any(is_it), "{account:#}");
}

#[test]
fn what_cannot_be_explained_is_refused_with_what_would_be_right() {
    for (arguments, expected) in [
        (&["--request", "GET residents"][..], "has no path: expected such as"),
        (&["--request", "/", "-H", "nonsense"], "is not a header: expected 'name: value'"),
        (&["--request", "/", "--claim", "x"], "has no value: expected name=value"),
        (&["--request", "/", "--claims", "[]"], "is not an object"),
        (&["--request", "/", "--request-id", "7"], "is not a UUID"),
        (&["--request", "/", "--name", "x"], "has no policy in a manifest named \"x\""),
        (&["--request", "/", "--plugin", "x"], "possible values: careplane, tracing-tags"),
    ] {
        let output = careplane(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

/// `integration/tests/membership` gets the same answers from a real Envoy.
#[test]
fn hostile_claims_end_in_the_answer_of_a_real_envoy() {
    let mut policy = json!({"version": "careplane/v1", "identity": {"user": {"sources": [{"claim": "sub"}]}}});
    answers::configure(&mut policy);
    let judged = Judged::of(&Input::of_text("policy.yaml", &policy.to_string()), "policy.yaml", None).unwrap();
    let mut cases = Vec::new();
    for (mut claims, path, answer) in answers::rows() {
        claims["sub"] = "ann".into();
        let about: String = format!("{claims} at {path}").chars().take(100).collect();
        let request = json!({"request": format!("GET {path}"), "payload": claims.to_string()});
        let request: RequestArguments = serde_json::from_value(request).unwrap();
        let explanation = judged.explain(&request.read().unwrap(), None, CollectorAnswer::Acknowledges).unwrap();
        assert_eq!(explanation.decision.code.unwrap_or("200"), answer, "{about}");
        let decision = if answer == "200" { "allowed" } else { answer };
        cases.push(json!({"name": about, "request": path, "claims": claims, "expect": {"decision": decision}}));
    }
    // And `careplane test`.
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, value: &Value| std::fs::write(folder.path().join(name), value.to_string()).unwrap();
    write("policy.json", &policy);
    write("policy_test.json", &json!({"cases": cases}));
    let output = Command::new(env!("CARGO_BIN_EXE_careplane")).arg("test").arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn what_a_path_decodes_to_stays_in_its_line() {
    let said =
        text(&["--request", "GET /api/v1/residents/x%0Adecision%20%20%20%20allowed%1B[31m", "--claim", "tenant_id=a"]);
    assert!(
        said.contains("path        /api/v1/residents/x\\ndecision    allowed\\u{1b}[31m  (percent-decoded)\n"),
        "{said}"
    );
    assert_eq!(said.lines().filter(|line| line.starts_with("decision")).count(), 1, "{said}");
    assert!(!said.contains('\u{1b}'), "{said}");
}

#[test]
fn a_claim_that_the_filters_take_for_no_tenant_cannot_be_one() {
    for claim in [json!(1.5), json!(-5), json!(9_007_199_254_740_992_u64), json!(true), json!([1.5]), json!([""])] {
        let payload = json!({"tenant_id": claim}).to_string();
        let account = account(&["--request", "/api/v1/residents/17", "--claims", &payload]);
        assert_eq!(account["tenant"]["sources"][0]["verdict"], "cannot be a tenant", "{claim}");
        assert_eq!(account["decision"]["code"], "tenant-malformed", "{claim}");
    }
}

#[test]
fn a_claim_on_the_command_line_can_be_nested_or_have_dots_in_its_name() {
    for name in ["[realm, home]", "realm.home", "https://care.example/home"] {
        let policy = format!("version: careplane/v1\nidentity: {{tenant: {{sources: [{{claim: {name}}}]}}}}\n");
        let judged = Judged::of(&Input::of_text("policy.yaml", &policy), "policy.yaml", None).unwrap();
        let tenant = |request: Value| {
            let request: RequestArguments = serde_json::from_value(request).unwrap();
            let explained = judged.explain(&request.read().unwrap(), None, CollectorAnswer::Acknowledges).unwrap();
            let [source] = explained.tenant.sources.as_slice() else { panic!("{name}") };
            (explained.tenant.value.clone(), source.said.clone())
        };
        let home = || Some("home-1".to_owned());
        let claim = if name.starts_with("https") { name } else { "realm.home" };
        assert_eq!(tenant(json!({"request": "/", "claims": [format!("{claim}=home-1")]})), (home(), home()), "{name}");
        let dotted = json!({claim: "home-1"}).to_string();
        let expected = if name.starts_with('[') { (None, None) } else { (home(), home()) };
        assert_eq!(tenant(json!({"request": "/", "payload": dotted})), expected, "{name}");
    }
}

use careplane_cli::explain::RequestArguments;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{Answer, Question, TextSpan, look};

const EXAMPLE: &str = include_str!("../web/policy.yaml");

fn request(line: &str) -> RequestArguments {
    let request = serde_json::json!({
        "request": line,
        "headers": ["x-tenant-id: care-home-0001"],
        "payload": r#"{"tenant_id": "care-home-0042", "sub": "nurse-1"}"#,
    });
    serde_json::from_value(request).unwrap()
}

fn ask(policy: &str, before: &str, line: &str) -> Answer {
    Answer::to(&Question {
        policy: policy.into(),
        before: before.into(),
        request: request(line),
        ..Question::default()
    })
}

/// Name, now and before of what changed.
fn changes(answer: &Answer) -> Vec<(&str, Option<&str>, Option<&str>)> {
    let facts = answer.explanation.iter().flat_map(|it| &it.facts).filter(|fact| fact.changed);
    facts.map(|fact| (fact.name.as_str(), fact.now.as_deref(), fact.before.as_deref())).collect()
}

#[test]
fn the_example_is_accepted_and_explained() {
    let answer = ask(EXAMPLE, EXAMPLE, "POST /api/v1/medications/administer");
    assert!(answer.findings.is_empty(), "{:?}", answer.findings);
    assert_eq!(changes(&answer), []);
    let explanation = answer.explanation.unwrap();
    assert_eq!((explanation.decision.as_str(), explanation.denied), ("allowed", false));
    assert!(explanation.text.contains("header x-tenant-id = care-home-0001: not believed"), "{}", explanation.text);
    assert!(explanation.text.contains("by contexts[0].match[0] at policy.yaml:14:13"), "{}", explanation.text);
}

#[test]
fn a_refusal_has_its_reason_and_its_filter() {
    let explanation = ask(EXAMPLE, "", "GET /api/v1/tenants/care-home-0001/staff").explanation.unwrap();
    assert_eq!(explanation.decision, "denied with 403, tenant-conflict, by tracing-tags");
    assert!(explanation.denied);
}

#[test]
fn a_change_of_the_policy_is_a_change_of_the_decision() {
    let policy = EXAMPLE.replace("tier: clinical", "tier: always");
    let answer = ask(&policy, EXAMPLE, "GET /api/v1/residents/7");
    let change = ("trace", Some("kept: tier always, 100 %"), Some("kept: tier clinical, 50 %"));
    let others = changes(&answer).into_iter().filter(|it| !it.0.starts_with("span tag")).collect::<Vec<_>>();
    assert_eq!(others, [change]);
    // A line above moves every place, and changes nothing.
    assert_eq!(changes(&ask(&format!("# a comment\n{EXAMPLE}"), EXAMPLE, "GET /api/v1/residents/7")), []);
}

#[test]
fn a_change_in_shadow_is_one_of_what_enforcement_would_do() {
    let shadow = |policy: &str| format!("enforcement: shadow\n{policy}");
    let before = "version: careplane/v1\nidentity: {tenant: {required: false, sources: [{claim: home}]}}\n";
    let answer = ask(&shadow(&before.replace("false", "true")), &shadow(before), "GET /x");
    let now = "denied with 403, tenant-missing, by tracing-tags";
    assert_eq!(changes(&answer)[0], ("enforced", Some(now), Some("allowed")));
}

#[test]
fn a_grant_is_a_fact() {
    let grant = |name: &str| {
        format!(
            "version: careplane/v1\nidentity:\n  tenant: {{sources: [{{claim: home}}, {{path: tenant}}]}}\n  \
             grants: [{{name: {name}, when: {{claim: sub, equals: nurse-1}}, tenants: any}}]\ncontexts:\n  \
             - {{name: homes, complianceLevel: high, match: [{{path: '/homes/{{tenant}}'}}]}}\n"
        )
    };
    let answer = ask(&grant("a"), &grant("b"), "GET /homes/york-1");
    assert!(changes(&answer).contains(&("grant", Some("a"), Some("b"))), "{:?}", changes(&answer));
}

#[test]
fn a_mistake_is_a_finding_with_its_place_and_no_explanation() {
    let policy = EXAMPLE.replace("complianceLevel: high", "complianceLevel: hihg");
    let answer = ask(&policy, EXAMPLE, "GET /api/v1/residents/7");
    let [finding] = answer.findings.as_slice() else { panic!("{:?}", answer.findings) };
    assert_eq!((finding.rule, &finding.place), ("careplane/policy", &TextSpan { line: 16, column: 22, length: 4 }));
    assert!(answer.explanation.is_none());
    assert_eq!(answer.problem.as_deref(), Some("A proxy would refuse this policy: see the findings."));
}

#[test]
fn manifests_are_checked_as_well() {
    let indented: String = EXAMPLE.lines().map(|line| format!("    {line}\n")).collect();
    let plugin = format!(
        "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{name: careplane}}\nspec:\n  \
         url: registry.example/careplane\n  phase: AUTHZ\n  priority: 100\n  pluginName: audit\n  \
         pluginConfig:\n{indented}"
    );
    let answer = ask(&plugin, "", "GET /api/v1/residents/7");
    assert!(answer.findings.iter().any(|finding| finding.rule == "careplane/plugin-url"), "{:?}", answer.findings);
    let facts = answer.explanation.unwrap().facts;
    // The filter audit alone does not say where the tenant is served.
    assert!(facts.iter().all(|fact| fact.name != "header x-tenant-pool"), "{facts:?}");
}

#[test]
fn no_text_stops_it() {
    for policy in ["", "a: [", "- 1", "version: careplane/v1", "kind: 7", "\u{feff}version: careplane/v1", "a: &a [*a]"]
    {
        for line in ["", "GET", "GET /", "\u{1} /\u{0}%", "GET /%ff%00"] {
            let answer = ask(policy, EXAMPLE, line);
            assert!(answer.explanation.is_some() != answer.problem.is_some(), "{policy:?} {line:?}");
        }
    }
}

#[test]
fn the_page_speaks_json() {
    let question = serde_json::json!({
        "policy": EXAMPLE, "before": "", "request": {"request": "GET /api/v1/residents/7"}, "plugin": null,
        "collector": "unavailable",
    });
    let answer: serde_json::Value = serde_json::from_str(&look(&question.to_string()).unwrap()).unwrap();
    assert_eq!(answer["explanation"]["decision"], "denied with 403, tenant-missing, by tracing-tags");
    assert_eq!(look("{}").map(|it| it.is_empty()), Ok(false));
    assert!(look("no").is_err());
}

//! What `check` prints, and its exit code.

use serde_json::Value;

use super::{careplane, changed, stdout};

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

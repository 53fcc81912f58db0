//! The Test Anything Protocol, version 14: <https://testanything.org/tap-version-14-specification.html>.

use std::fmt::Write as _;

use super::shown;
use crate::test::{CaseResult, Tested};

pub fn text(tested: &[Tested]) -> String {
    let results: Vec<&CaseResult> = tested.iter().flat_map(|tested| &tested.results).collect();
    let mut text = format!("TAP version 14\n1..{}\n", results.len());
    for (index, result) in results.into_iter().enumerate() {
        let not = if result.mismatches.is_empty() { "" } else { "not " };
        let name = format!("{}: {}", result.case.place.file, result.case.name);
        // What would begin a directive.
        let name = name.replace('\\', r"\\").replace('#', r"\#").replace(['\n', '\r'], " ");
        let _ = writeln!(text, "{not}ok {} - {name}", index + 1);
        if !result.mismatches.is_empty() {
            diagnostics(&mut text, result);
        }
    }
    text
}

/// A block of YAML. JSON's texts are YAML's.
fn diagnostics(text: &mut String, result: &CaseResult) {
    let quoted = |text: String| serde_json::Value::from(text).to_string();
    text.push_str("  ---\n");
    for mismatch in &result.mismatches {
        let _ = writeln!(text, "  {}:", quoted(mismatch.key.clone()));
        let _ = writeln!(text, "    expected: {}", quoted(shown(&mismatch.expected)));
        let _ = writeln!(text, "    found: {}", quoted(shown(&mismatch.found)));
        let _ = writeln!(text, "    at: {}", quoted(mismatch.place.to_string()));
        if let Some(why) = &mismatch.why {
            let _ = writeln!(text, "    why: {}", quoted(why.clone()));
        }
    }
    text.push_str("  ...\n");
}

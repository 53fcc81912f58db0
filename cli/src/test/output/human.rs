//! Results for people: the lines of a test that are not as expected, as a compiler prints them.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::shown;
use crate::snippet;
use crate::test::coverage::Coverage;
use crate::test::file::TestFile;
use crate::test::{CaseResult, Tested};

pub fn text(tested: &[Tested], with_coverage: bool) -> String {
    // Without a terminal, anstream takes the colours out.
    let renderer = Renderer::styled();
    let mut text = String::new();
    for tested in tested {
        for result in tested.results.iter().filter(|result| !result.mismatches.is_empty()) {
            text += &failure(&renderer, &tested.file, result);
        }
    }
    for tested in tested {
        let failed = tested.results.iter().filter(|result| !result.mismatches.is_empty()).count();
        let _ = writeln!(text, "{}: {}", tested.file.path.display(), counts(tested.results.len(), failed));
        if with_coverage {
            coverage(&mut text, &tested.coverage);
        }
    }
    text
}

fn counts(cases: usize, failed: usize) -> String {
    let cases = if cases == 1 { "1 case".to_owned() } else { format!("{cases} cases") };
    if failed == 0 { format!("{cases}, all as expected") } else { format!("{cases}, {failed} not as expected") }
}

fn failure(renderer: &Renderer, file: &TestFile, result: &CaseResult) -> String {
    let labels: Vec<String> = result
        .mismatches
        .iter()
        .map(|it| format!("{}: expected {}, found {}", it.key, shown(&it.expected), shown(&it.found)))
        .collect();
    let annotations = result.mismatches.iter().zip(&labels).filter_map(|(mismatch, label)| {
        let span = snippet::span(&file.text, &mismatch.place)?;
        Some(AnnotationKind::Primary.span(span).label(label.as_str()))
    });
    let place = &result.case.place;
    let snippet = Snippet::source(&file.text).line_start(1).path(&*place.file).annotations(annotations);
    let mut group = Level::ERROR.primary_title(result.case.name.as_str()).element(snippet);
    let mut notes: Vec<(Vec<&str>, &str)> = Vec::new();
    for (key, why) in result.mismatches.iter().filter_map(|it| Some((it.key.as_str(), it.why.as_deref()?))) {
        match notes.iter_mut().find(|(_, known)| *known == why) {
            Some((keys, _)) => keys.push(key),
            None => notes.push((vec![key], why)),
        }
    }
    let notes: Vec<String> = notes.into_iter().map(|(keys, why)| format!("{}: {why}", keys.join(", "))).collect();
    for note in &notes {
        group = group.element(Level::NOTE.message(note.as_str()));
    }
    let explain = explain(file, result);
    if let Some(explain) = &explain {
        group = group.element(Level::HELP.message(explain.as_str()));
    }
    renderer.render(&[group]) + "\n\n"
}

/// The command that shows all of it. `explain` takes no layers.
fn explain(file: &TestFile, result: &CaseResult) -> Option<String> {
    let [policy] = file.policy.as_slice() else { return None };
    let mut arguments = vec!["--policy".to_owned(), policy.display().to_string()];
    file.name.iter().for_each(|name| arguments.extend(["--name".to_owned(), name.clone()]));
    file.plugin.iter().for_each(|plugin| arguments.extend(["--plugin".to_owned(), plugin.clone()]));
    arguments.extend(result.case.arguments());
    Some(format!("careplane explain {}", arguments.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")))
}

/// A word of a shell.
fn quoted(word: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_./:@%+=,".contains(character);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn coverage(text: &mut String, coverage: &Coverage) {
    for part in &coverage.parts {
        let untouched: Vec<_> = part.items.iter().filter(|item| !item.touched).collect();
        let touched = part.items.len() - untouched.len();
        let _ = writeln!(text, "  {:<15} {touched} of {}", part.name, part.items.len());
        for item in untouched {
            let place = item.place.as_ref().map(|place| format!(" at {place}")).unwrap_or_default();
            let _ = writeln!(text, "    no case touches {}{place}", item.name);
        }
    }
}

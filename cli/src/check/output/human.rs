//! Findings as a compiler prints them: what is wrong, the lines that it is about, and what to write instead.

use annotate_snippets::{AnnotationKind, Element, Group, Level as Title, Renderer};

use crate::check::finding::Finding;
use crate::check::rules::Level;
use crate::input::Input;
use crate::snippet;
use crate::yaml::Location;

/// Between what is wrong and what would be right, in every message.
const EXPECTED: &str = ": expected ";

pub fn text(input: &Input, findings: &[Finding]) -> String {
    // Without a terminal, anstream takes the colours out.
    let renderer = Renderer::styled();
    findings.iter().map(|finding| renderer.render(&[group(input, finding)]) + "\n\n").collect()
}

fn group<'i>(input: &'i Input, finding: &'i Finding) -> Group<'i> {
    let level = match finding.rule.level {
        Level::Error => Title::ERROR,
        Level::Warning => Title::WARNING,
        Level::Note => Title::NOTE,
    };
    let (wrong, expected) = match finding.message.split_once(EXPECTED) {
        Some((wrong, expected)) => (wrong, Some(format!("expected {expected}"))),
        None => (finding.message.as_str(), None),
    };
    // A policy's problems say what was expected in the middle of their sentence.
    let title = level.primary_title(wrong).id(finding.rule.id);
    let mut group = title.element(lines(input, &finding.place, AnnotationKind::Primary, None));
    for related in &finding.related {
        group = group.element(lines(input, &related.place, AnnotationKind::Context, Some(&related.message)));
    }
    match expected {
        Some(expected) => group.element(Title::HELP.message(expected)),
        None => group,
    }
}

fn lines<'i>(input: &'i Input, place: &'i Location, kind: AnnotationKind, label: Option<&'i str>) -> Element<'i> {
    snippet::lines(input.text(place), place, kind, label)
}

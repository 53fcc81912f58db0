//! Findings as a compiler prints them: what is wrong, the lines that it is about, and what to write instead.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Element, Group, Level as Title, Origin, Renderer, Snippet};

use crate::check::finding::Finding;
use crate::check::rules::Level;
use crate::input::Input;
use crate::yaml::Place;

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

/// The line of a place; the place alone where the text cannot be read again.
fn lines<'i>(input: &'i Input, place: &'i Place, kind: AnnotationKind, label: Option<&'i str>) -> Element<'i> {
    let found = input.text(place).and_then(|text| Some((span(&text, place)?, text)));
    match found {
        Some((span, text)) => {
            let snippet = Snippet::source(text).line_start(1).path(&*place.file);
            snippet.annotation(kind.span(span).label(label)).into()
        }
        None => {
            let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
            Origin::path(&*place.file).line(number(place.line)).char_column(number(place.column)).into()
        }
    }
}

/// The bytes of a place in its text: no further than the end of its line.
fn span(text: &str, place: &Place) -> Option<Range<usize>> {
    let lines = text.split_inclusive('\n').take(usize::try_from(place.line).ok()?);
    let (before, line) = lines.fold((0, ""), |(before, last): (usize, &str), line| (before + last.len(), line));
    let line = line.trim_end();
    let byte = |character: u64| {
        let character = usize::try_from(character).ok()?;
        Some(line.char_indices().nth(character).map_or(line.len(), |(byte, _)| byte))
    };
    let (start, end) = (byte(place.column - 1)?, byte(place.column - 1 + place.length)?);
    Some(before + start..before + end.max(start))
}

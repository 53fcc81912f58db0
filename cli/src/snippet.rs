//! Lines of a text with what is to be said of them, as a compiler prints them.

use std::borrow::Cow;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Element, Origin, Snippet};

use crate::yaml::Location;

/// The line of a place; the place alone where there is no text.
pub fn lines<'i>(
    text: Option<Cow<'i, str>>,
    place: &'i Location,
    kind: AnnotationKind,
    label: Option<&'i str>,
) -> Element<'i> {
    let found = text.and_then(|text| Some((span(&text, place)?, text)));
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
pub fn span(text: &str, place: &Location) -> Option<Range<usize>> {
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

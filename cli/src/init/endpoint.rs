//! One operation that the inputs mention.

use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// In capitals; none for all.
    pub methods: Vec<String>,
    pub segments: Vec<Segment>,
    /// How many of them are the address of the service, and say nothing of what a request is about.
    pub lead: usize,
    /// Whether everything below belongs to it: a prefix of a route.
    pub open: bool,
    /// `x-careplane` of the document: fields of a context.
    pub hints: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    Literal(String),
    /// Its name.
    Parameter(String),
}

// === impl Endpoint ===

impl Endpoint {
    pub fn new(methods: Vec<String>, segments: Vec<Segment>) -> Self {
        Self { methods, segments, lead: 0, open: false, hints: BTreeMap::new() }
    }
}

// === impl Segment ===

impl Segment {
    pub fn literal(&self) -> Option<&str> {
        if let Self::Literal(text) = self { Some(text) } else { None }
    }

    /// The same for all segments that a policy cannot distinguish.
    pub fn key(&self) -> String {
        self.literal().map_or_else(|| "{}".to_owned(), str::to_ascii_lowercase)
    }

    pub fn text(&self) -> String {
        match self {
            Self::Literal(text) => text.clone(),
            Self::Parameter(name) => format!("{{{name}}}"),
        }
    }
}

/// The segments of a path with parameters in braces. A parameter that is part of a segment takes all of it, as policies
/// have it. None for what no policy can match.
pub fn segments(path: &str) -> Option<Vec<Segment>> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut used: Vec<String> = Vec::new();
    let mut segments = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let segment = match part.split_once('{').and_then(|(_, rest)| rest.split_once('}')) {
            Some((name, _)) => {
                let mut name = parameter(name);
                while used.contains(&name) {
                    name.push_str("-2");
                }
                used.push(name.clone());
                Segment::Parameter(name)
            }
            None if part.contains(['{', '}', '%', '\\', ';', '*', ' ']) || [".", ".."].contains(&part) => return None,
            None => Segment::Literal(part.to_owned()),
        };
        segments.push(segment);
    }
    Some(segments)
}

/// A name that a parameter of a policy can have.
fn parameter(name: &str) -> String {
    let plain =
        |character: char| if character.is_ascii_alphanumeric() || "_-".contains(character) { character } else { '-' };
    let name: String = name.trim_start_matches(['+', '*']).chars().map(plain).collect();
    match name.as_str() {
        "" => "id".to_owned(),
        "rest" => "rest-of-path".to_owned(),
        _ => name,
    }
}

//! What a route asks of a request.

use regex::bytes::{Regex, RegexBuilder};

use super::Request;
use crate::yaml::{Location, Node};

/// All of what one alternative asks for.
#[derive(Debug, Clone, Default)]
pub struct Conditions<'d> {
    pub path: PathMatch,
    pub ignore_case: bool,
    pub method: Option<TextMatch>,
    pub authority: Option<TextMatch>,
    pub scheme: Option<TextMatch>,
    pub port: Option<u64>,
    pub query: Vec<(String, TextMatch)>,
    /// Also claims (`@request.auth.claims…`) and what is asked of the caller's proxy ([`LABEL`], [`NAMESPACE`]), which
    /// are compared as headers are.
    pub headers: Vec<HeaderMatch<'d>>,
}

/// A label that the caller's proxy has to have: a header of this name with the label's behind it.
pub const LABEL: &str = "@source.labels.";
/// The namespace that the caller's proxy has to be in, as a header.
pub const NAMESPACE: &str = "@source.namespace";

#[derive(Debug, Clone)]
pub enum PathMatch {
    Exact(String),
    Prefix(String),
    /// A prefix of whole segments, without a slash at its end: Gateway API.
    Segments(String),
    Regex(TextMatch),
}

#[derive(Debug, Clone)]
pub struct HeaderMatch<'d> {
    /// In lower case.
    pub name: String,
    pub value: TextMatch,
    /// `withoutHeaders`.
    pub inverted: bool,
    pub place: &'d Location,
}

#[derive(Debug, Clone)]
pub enum TextMatch {
    Present,
    Exact(String),
    Prefix(String),
    Regex {
        text: String,
        /// None where Envoy would refuse it too, or its syntax is RE2's alone.
        compiled: Option<Regex>,
    },
}

// === impl Conditions ===

impl Conditions<'_> {
    /// Whether Envoy would let the route have a request.
    pub fn accept(&self, request: &Request) -> bool {
        let text = |condition: &Option<TextMatch>, value: &str| {
            condition.as_ref().is_none_or(|condition| condition.accepts(Some(value)))
        };
        self.path.accepts(&request.path, self.ignore_case)
            && text(&self.method, &request.method)
            && text(&self.authority, &request.authority)
            && text(&self.scheme, &request.scheme)
            && self.port.is_none_or(|port| request.port == Some(port))
            && self.query.iter().all(|(name, value)| value.accepts(request.query(name)))
            && self.headers.iter().all(|header| header.accepts(request.header(&header.name)))
    }

    /// Whether it wants a header to have a value, among others perhaps.
    pub fn wants(&self, header: &str, value: &str) -> bool {
        self.reads(header).any(|condition| condition.value.accepts(Some(value)))
    }

    /// What it wants of a header.
    pub fn reads(&self, header: &str) -> impl Iterator<Item = &HeaderMatch<'_>> {
        self.headers.iter().filter(move |condition| !condition.inverted && condition.name.eq_ignore_ascii_case(header))
    }
}

// === impl PathMatch ===

impl Default for PathMatch {
    fn default() -> Self {
        Self::Prefix("/".into())
    }
}

impl PathMatch {
    /// Whether it takes every path.
    pub fn is_any(&self) -> bool {
        matches!(self, Self::Prefix(path) | Self::Segments(path) if path == "/")
    }

    /// Whether it could take a path of a template, judged by the literal start of both.
    pub fn may_be_in(&self, template: &str) -> bool {
        let literal = template.split('{').next().unwrap_or_default();
        let has_parameters = literal.len() < template.len();
        match self {
            Self::Exact(path) | Self::Prefix(path) | Self::Segments(path) => {
                has_parameters && path.starts_with(literal)
            }
            Self::Regex(_) => true,
        }
    }

    pub fn accepts(&self, path: &str, ignore_case: bool) -> bool {
        let starts = |prefix: &str| {
            path.get(..prefix.len())
                .is_some_and(|start| start == prefix || (ignore_case && start.eq_ignore_ascii_case(prefix)))
        };
        match self {
            Self::Exact(exact) => path.len() == exact.len() && starts(exact),
            Self::Prefix(prefix) => starts(prefix),
            Self::Segments(prefix) if prefix == "/" => true,
            Self::Segments(prefix) => starts(prefix) && matches!(path.as_bytes().get(prefix.len()), None | Some(b'/')),
            Self::Regex(regex) => regex.accepts(Some(path)),
        }
    }
}

// === impl HeaderMatch ===

impl HeaderMatch<'_> {
    fn accepts(&self, value: Option<&str>) -> bool {
        match (&self.value, self.inverted) {
            (value_match, false) => value_match.accepts(value),
            (TextMatch::Present, true) => value.is_none(),
            // Istio has Envoy take a missing header for an empty one here.
            (value_match, true) => !value_match.accepts(Some(value.unwrap_or_default())),
        }
    }
}

// === impl TextMatch ===

impl TextMatch {
    /// A StringMatch of Istio: `{exact}`, `{prefix}`, `{regex}`, or `{}` for presence.
    pub fn of(node: &Node) -> Self {
        if let Some(exact) = node.text(&["exact"]) {
            return Self::Exact(exact.to_owned());
        }
        if let Some(prefix) = node.text(&["prefix"]) {
            return Self::Prefix(prefix.to_owned());
        }
        match node.text(&["regex"]) {
            // No regular expression: Istio's own word for presence.
            Some("*") | None => Self::Present,
            Some(regex) => Self::regex(regex),
        }
    }

    pub fn regex(text: &str) -> Self {
        // As RE2 does: classes are those of ASCII, and the whole value has to match.
        let compiled = RegexBuilder::new(&format!(r"\A(?:{text})\z")).unicode(false).build();
        Self::Regex { text: text.to_owned(), compiled: compiled.ok() }
    }

    /// The one value that it accepts.
    pub fn exactly(&self) -> Option<&str> {
        if let Self::Exact(exact) = self { Some(exact) } else { None }
    }

    pub fn accepts(&self, value: Option<&str>) -> bool {
        let Some(value) = value else { return false };
        match self {
            Self::Present => true,
            Self::Exact(exact) => value == exact,
            Self::Prefix(prefix) => value.starts_with(prefix.as_str()),
            Self::Regex { compiled, .. } => compiled.as_ref().is_some_and(|regex| regex.is_match(value.as_bytes())),
        }
    }
}

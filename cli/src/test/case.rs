//! One case: a request, and what is expected of it.

use serde_json::Value as Json;

use super::expect::{self, Expected};
use super::read::{Problems, Reader, kind, scalar, texts};
use crate::explain::CollectorAnswer;
use crate::explain::request::{Request, claims_of, header_name, request_id};
use crate::yaml::{Location, Node, Value};

/// A request, and what is expected of it.
#[derive(Clone)]
pub struct Case {
    pub name: String,
    /// Where it is written.
    pub place: Location,
    pub method: String,
    pub path: String,
    /// Names as Envoy has them; a name once for each of its values.
    pub headers: Vec<(String, String)>,
    /// The payload of the token.
    pub claims: serde_json::Map<String, Json>,
    pub peer: Option<String>,
    /// The number that the trace is decided on.
    pub number: Option<u16>,
    pub collector: CollectorAnswer,
    pub expected: Vec<Expected>,
}

const REQUEST: [&str; 6] = ["request", "headers", "claims", "peer", "number", "collector"];

/// Says what is wrong with what all cases share.
pub fn check_defaults(node: &Node, problems: &mut Problems) {
    Reader::new(node, "defaults", &REQUEST, problems);
}

/// Reads a case. None where it says too little to be one; the problems say what.
pub fn read(node: &Node, row: &str, problems: &mut Problems) -> Option<Case> {
    let keys = [&["name", "expect"], &REQUEST[..]].concat();
    let mut reader = Reader::new(node, "a case", &keys, problems);
    let request = request(&mut reader, node);
    let name = reader.text("name");
    let peer = optional(&reader, "peer").and_then(|_| reader.text("peer"));
    let number = optional(&reader, "number").and_then(|_| reader.number("number", 0..=9_999));
    let collector = match reader.word("collector", &["acknowledges", "unavailable"]).as_deref() {
        Some("unavailable") => CollectorAnswer::Unavailable,
        _ => CollectorAnswer::Acknowledges,
    };
    let headers = headers(&mut reader);
    let claims = claims(&mut reader);
    let expected = match reader.get("expect") {
        Some(expect) => expect::read(expect, problems),
        None => {
            reader.wrong(node, "the case expects nothing: expected `expect`, such as {decision: allowed}");
            Vec::new()
        }
    };
    let (method, path) = request?;
    let name = name.unwrap_or_else(|| format!("{method} {path}"));
    let name = if row.is_empty() { name } else { format!("{name} ({row})") };
    let place = node.get(&["name"]).map_or(&node.place, |name| &name.place).clone();
    Some(Case { name, place, method, path, headers, claims, peer, number, collector, expected })
}

/// The value of a key, unless it is null: a case says so where it does not want what all cases share.
fn optional<'n>(reader: &Reader<'n, '_>, key: &str) -> Option<&'n Node> {
    reader.get(key).filter(|node| !matches!(node.value, Value::Null))
}

/// `GET /path`, or a map with both.
fn request(reader: &mut Reader<'_, '_>, case: &Node) -> Option<(String, String)> {
    let Some(node) = reader.get("request") else {
        reader.wrong(case, "the case has no request: expected such as `request: GET /api/v1/residents/17`");
        return None;
    };
    let (method, path) = match &node.value {
        Value::Map(_) => {
            let mut parts = Reader::new(node, "a request", &["method", "path"], reader.problems());
            (parts.text("method").unwrap_or_else(|| "GET".into()), parts.text("path").unwrap_or_default())
        }
        Value::Text(text) => match text.trim().split_once(char::is_whitespace) {
            Some((method, path)) => (method.to_owned(), path.trim_start().to_owned()),
            None => ("GET".to_owned(), text.trim().to_owned()),
        },
        _ => ("GET".to_owned(), String::new()),
    };
    if !path.starts_with('/') {
        let found = scalar(node).map_or_else(|| kind(node).to_owned(), |text| format!("{text:?}"));
        reader
            .wrong(node, format!("request is {found}: expected a method and a path, such as GET /api/v1/residents/17"));
        return None;
    }
    Some((method, path))
}

fn headers(reader: &mut Reader<'_, '_>) -> Vec<(String, String)> {
    let Some(node) = optional(reader, "headers") else { return Vec::new() };
    if !matches!(node.value, Value::Map(_)) {
        reader.wrong(node, format!("headers is {}: expected a map of names and values", kind(node)));
    }
    let mut headers = Vec::new();
    for entry in node.entries().iter().filter(|entry| !matches!(entry.value.value, Value::Null)) {
        match texts(&entry.value) {
            Some(values) => headers.extend(values.into_iter().map(|value| (header_name(&entry.key), value))),
            None => {
                let message = format!("{} is {}: expected a text, or a list of texts", entry.key, kind(&entry.value));
                reader.wrong(&entry.value, message);
            }
        }
    }
    headers
}

fn claims(reader: &mut Reader<'_, '_>) -> serde_json::Map<String, Json> {
    let Some(node) = optional(reader, "claims") else { return serde_json::Map::new() };
    match node.to_json() {
        Json::Object(claims) => claims.into_iter().filter(|(_, claim)| !claim.is_null()).collect(),
        _ => {
            let message = format!("claims is {}: expected a map, such as {{tenant_id: care-home-0042}}", kind(node));
            reader.wrong(node, message);
            serde_json::Map::new()
        }
    }
}

// === impl Case ===

impl Case {
    /// The request as a proxy gets it that has verified the token.
    pub fn request(&self) -> Request {
        let claims = claims_of(&Json::Object(self.claims.clone()));
        let id = self.number.map(request_id);
        Request { claims, peer: self.peer.clone(), ..Request::new(&self.method, &self.path, self.headers.clone(), id) }
    }

    /// All values of a header as they are sent.
    pub fn header(&self, name: &str) -> Vec<String> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect()
    }

    /// The arguments of `careplane explain` for this request.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--request".to_owned(), format!("{} {}", self.method, self.path)];
        let mut add = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
        self.headers.iter().for_each(|(name, value)| add("-H", format!("{name}: {value}")));
        if !self.claims.is_empty() {
            add("--claims", Json::Object(self.claims.clone()).to_string());
        }
        self.peer.iter().for_each(|peer| add("--peer", peer.clone()));
        self.number.iter().for_each(|number| add("--sampling-number", number.to_string()));
        if self.collector == CollectorAnswer::Unavailable {
            add("--collector", "unavailable".into());
        }
        arguments
    }
}

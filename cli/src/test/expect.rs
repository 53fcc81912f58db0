//! What is expected of a request.

use careplane_exchange::Denial;
use serde_json::{Value as Json, json};

use super::read::{Problems, Reader, kind, scalar, texts};
use crate::yaml::{Entry, Location, Node, Value};

/// One thing that is expected.
#[derive(Clone)]
pub struct Expected {
    pub key: Key,
    /// A text, a number, true or false, null for nothing; of headers, a list.
    pub value: Json,
    pub place: Location,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    Context,
    Level,
    Tier,
    Recorded,
    Tenant,
    User,
    Grant,
    Decision,
    Status,
    Pool,
    Cohort,
    Trace,
    /// A header as the upstream gets it.
    Header(String),
    /// A tag of the span.
    Tag(String),
}

const KEYS: [(&str, Key); 12] = [
    ("context", Key::Context),
    ("level", Key::Level),
    ("tier", Key::Tier),
    ("recorded", Key::Recorded),
    ("tenant", Key::Tenant),
    ("user", Key::User),
    ("grant", Key::Grant),
    ("decision", Key::Decision),
    ("status", Key::Status),
    ("pool", Key::Pool),
    ("cohort", Key::Cohort),
    ("trace", Key::Trace),
];
const MAPS: [&str; 2] = ["headers", "tags"];
const LEVELS: [&str; 4] = ["critical", "high", "standard", "low"];

// === impl Key ===

impl Key {
    pub fn name(&self) -> String {
        match self {
            Self::Header(name) => format!("headers.{name}"),
            Self::Tag(name) => format!("tags.{name}"),
            known => KEYS.iter().find(|(_, key)| key == known).map_or_else(String::new, |(name, _)| (*name).into()),
        }
    }
}

/// Reads `expect`.
pub fn read(node: &Node, problems: &mut Problems) -> Vec<Expected> {
    let keys: Vec<&str> = KEYS.iter().map(|(name, _)| *name).chain(MAPS).collect();
    Reader::new(node, "expect", &keys, problems);
    let mut expected = Vec::new();
    for entry in node.entries() {
        if MAPS.contains(&entry.key.as_str()) {
            if !matches!(entry.value.value, Value::Map(_)) {
                let message = format!("{} is {}: expected a map of names and values", entry.key, kind(&entry.value));
                problems.add(&entry.value.place, message);
            }
            expected.extend(entry.value.entries().iter().filter_map(|inner| of_map(&entry.key, inner, problems)));
        } else if let Some((_, key)) = KEYS.iter().find(|(name, _)| *name == entry.key) {
            expected.extend(one(key, entry, problems));
        }
    }
    if node.entries().is_empty() {
        problems.add(&node.place, "the case expects nothing: expected such as {decision: allowed}");
    }
    expected
}

fn one(key: &Key, entry: &Entry, problems: &mut Problems) -> Option<Expected> {
    let node = &entry.value;
    let value = node.to_json();
    let denials = Denial::ALL.map(Denial::code);
    let words: Option<Vec<&str>> = match key {
        Key::Level => Some(LEVELS.to_vec()),
        Key::Decision => Some([&["allowed", "denied"], &denials[..]].concat()),
        Key::Cohort => Some(vec!["canary", "stable"]),
        Key::Trace => Some(vec!["kept", "dropped"]),
        _ => None,
    };
    // Where there can be none, null expects none.
    let can_be_none = matches!(key, Key::Tenant | Key::User | Key::Grant | Key::Pool | Key::Cohort | Key::Status);
    let is_right = match (key, &value) {
        (_, Json::Null) => can_be_none,
        (Key::Recorded, value) => value.is_boolean(),
        (Key::Status, value) => value.as_u64().is_some_and(|status| (100..600).contains(&status)),
        (_, Json::String(text)) => words.as_ref().is_none_or(|words| words.contains(&text.as_str())),
        // An id that is a number.
        (Key::Tenant | Key::User, Json::Number(_)) => true,
        _ => false,
    };
    if !is_right {
        let right = match (key, words) {
            (Key::Recorded, _) => "true or false".to_owned(),
            (Key::Status, _) => "a status from 100 to 599, or null where the upstream answers".to_owned(),
            (_, Some(words)) => format!("one of {}", words.join(", ")),
            (_, None) if can_be_none => "a text, or null for none".to_owned(),
            (_, None) => "a text".to_owned(),
        };
        let found = scalar(node).map_or_else(|| kind(node).to_owned(), |text| format!("{text:?}"));
        problems.add(&node.place, format!("{} is {found}: expected {right}", entry.key));
        return None;
    }
    let value = match (key, scalar(node)) {
        (Key::Tenant | Key::User, Some(text)) => text.into(),
        _ => value,
    };
    Some(Expected { key: key.clone(), value, place: node.place.clone() })
}

/// A header or a tag.
fn of_map(map: &str, entry: &Entry, problems: &mut Problems) -> Option<Expected> {
    let node = &entry.value;
    let (key, value) = match (map, &node.value) {
        ("headers", Value::Null) => (Key::Header(entry.key.to_ascii_lowercase()), json!([])),
        ("headers", _) => (Key::Header(entry.key.to_ascii_lowercase()), json!(texts(node))),
        (_, Value::Null) => (Key::Tag(entry.key.clone()), Json::Null),
        (_, Value::List(_) | Value::Map(_)) => (Key::Tag(entry.key.clone()), Json::Null),
        _ => (Key::Tag(entry.key.clone()), json!(scalar(node))),
    };
    let is_right = match map {
        "headers" => !value.is_null(),
        _ => !value.is_null() || matches!(node.value, Value::Null),
    };
    if !is_right {
        problems.add(&node.place, format!("{} is {}: expected a text, or null for none", entry.key, kind(node)));
        return None;
    }
    Some(Expected { key, value, place: node.place.clone() })
}

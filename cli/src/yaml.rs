//! YAML (and JSON, which is YAML too) whose every value knows where it was written.

pub mod kubectl;

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::{Location as ParserLocation, Options, Spanned, UserMessageFormatter};

use kubectl::{Misread, misread_key, misread_value};

/// Where something is written. Lines and columns count from 1; columns are characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    pub file: Arc<str>,
    pub line: u64,
    pub column: u64,
    /// Characters of a value that is one word; 1 for a map and a list.
    pub length: u64,
}

/// A value and where it is written: behind an alias, where its anchor is.
#[derive(Debug, Clone)]
pub struct Node {
    pub value: Value,
    pub place: Location,
    /// What `kubectl` makes of it, where that is another value.
    pub misread: Option<Misread>,
}

#[derive(Debug, Clone)]
pub enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a map.
#[derive(Debug, Clone)]
pub struct Entry {
    pub key: String,
    pub key_place: Location,
    /// What `kubectl` makes of the key, where that is another one.
    pub key_misread: Option<Misread>,
    pub value: Node,
}

/// A text that is not YAML.
#[derive(Debug)]
pub struct NotYaml {
    pub place: Location,
    pub message: String,
}

/// Reads all documents of a text. Empty ones are left out.
pub fn read(file: &Arc<str>, text: &str) -> Result<Vec<Node>, NotYaml> {
    match serde_saphyr::from_multiple_with_options::<Spanned<Raw>>(text, options()) {
        Ok(documents) => Ok(documents.into_iter().map(|document| node(file, text, document)).collect()),
        Err(error) => {
            let location = error.location().unwrap_or(ParserLocation::UNKNOWN);
            let message = error.without_snippet().render_with_formatter(&UserMessageFormatter);
            // The place is reported apart from the message.
            let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
            Err(NotYaml { place: place(file, location), message })
        }
    }
}

/// No limit on what is written: all manifests of a mesh, or a hundred thousand tenants, are one text. What aliases
/// repeat has the parser's own limit.
fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: usize::MAX,
            max_nodes: usize::MAX,
            max_documents: usize::MAX,
            max_total_scalar_bytes: usize::MAX,
            max_anchors: usize::MAX,
            max_aliases: usize::MAX,
            enforce_alias_anchor_ratio: false,
        },
    }
}

// === impl Node ===

impl Node {
    /// The value at the end of a way through maps.
    pub fn get(&self, way: &[&str]) -> Option<&Node> {
        way.iter()
            .try_fold(self, |node, key| node.entries().iter().find(|entry| entry.key == *key).map(|entry| &entry.value))
    }

    pub fn get_mut(&mut self, way: &[&str]) -> Option<&mut Node> {
        let Some((key, rest)) = way.split_first() else { return Some(self) };
        let Value::Map(entries) = &mut self.value else { return None };
        entries.iter_mut().find(|entry| entry.key == *key)?.value.get_mut(rest)
    }

    /// Lays another node over this one, as kustomize merges a patch into a custom resource: maps by key, everything
    /// else is replaced, and null takes a key away.
    pub fn overlay(&mut self, over: &Node) {
        match (&mut self.value, &over.value) {
            (Value::Map(entries), Value::Map(others)) => {
                for other in others {
                    let position = entries.iter().position(|entry| entry.key == other.key);
                    match (position, &other.value.value) {
                        (Some(position), Value::Null) => drop(entries.remove(position)),
                        (Some(position), _) => entries[position].value.overlay(&other.value),
                        (None, Value::Null) => {}
                        (None, _) => entries.push(other.clone()),
                    }
                }
            }
            _ => *self = over.clone(),
        }
    }

    /// Takes over the places of another node, wherever both say the same and this one is still where `from` says.
    pub fn relocate(&mut self, from: &Arc<str>, source: &Node) {
        match (&mut self.value, &source.value) {
            (Value::Map(entries), Value::Map(written)) => {
                for entry in entries {
                    if let Some(written) = written.iter().find(|written| written.key == entry.key) {
                        entry.value.relocate(from, &written.value);
                        if entry.key_place.file == *from {
                            entry.key_place = written.key_place.clone();
                        }
                    }
                }
            }
            (Value::List(elements), Value::List(written)) => {
                let same_length = elements.len() == written.len();
                for (index, element) in elements.iter_mut().enumerate() {
                    let json = element.to_json();
                    let equal = || written.iter().find(|written| written.to_json() == json);
                    if let Some(written) = if same_length { written.get(index) } else { equal() } {
                        element.relocate(from, written);
                    }
                }
            }
            (value, written) if value.to_json() != written.to_json() => return,
            _ => {}
        }
        if self.place.file == *from {
            self.place = source.place.clone();
        }
    }

    /// Gives what was read from a text that is itself a value the places where it is written: in a block, those of its
    /// lines. Of a text in quotes, which can have escapes, only the beginning is known.
    pub fn place_within(&mut self, text: &Entry) {
        let (key, begin) = (&text.key_place, &text.value.place);
        self.each_place(&|place| {
            if begin.line == key.line {
                *place = begin.clone();
            } else {
                place.line += key.line;
                place.column += begin.column - 1;
            }
        });
    }

    fn each_place(&mut self, change: &impl Fn(&mut Location)) {
        change(&mut self.place);
        match &mut self.value {
            Value::List(elements) => elements.iter_mut().for_each(|element| element.each_place(change)),
            Value::Map(entries) => {
                for entry in entries {
                    change(&mut entry.key_place);
                    entry.value.each_place(change);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
        }
    }

    /// Every entry of every map in it, at any depth, with the map that it is in.
    pub fn all_entries(&self) -> Vec<(&Node, &Entry)> {
        match &self.value {
            Value::List(elements) => elements.iter().flat_map(Node::all_entries).collect(),
            Value::Map(entries) => {
                let below = |entry| std::iter::once((self, entry)).chain(Entry::below(entry));
                entries.iter().flat_map(below).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => Vec::new(),
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(value) = self.value { Some(value) } else { None }
    }

    /// The truth at the end of a way.
    pub fn bool(&self, way: &[&str]) -> Option<bool> {
        self.get(way)?.as_bool()
    }

    pub fn entries(&self) -> &[Entry] {
        if let Value::Map(entries) = &self.value { entries } else { &[] }
    }

    pub fn elements(&self) -> &[Node] {
        if let Value::List(elements) = &self.value { elements } else { &[] }
    }

    /// The elements of the list at the end of a way.
    pub fn list(&self, way: &[&str]) -> &[Node] {
        self.get(way).map(Node::elements).unwrap_or_default()
    }

    pub fn as_text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    /// The text at the end of a way.
    pub fn text(&self, way: &[&str]) -> Option<&str> {
        self.get(way)?.as_text()
    }

    pub fn as_number(&self) -> Option<f64> {
        if let Value::Number(number) = &self.value { number.as_f64() } else { None }
    }

    /// Every text in it, at any depth.
    pub fn texts(&self) -> Vec<&Node> {
        match &self.value {
            Value::Text(_) => vec![self],
            Value::List(elements) => elements.iter().flat_map(Node::texts).collect(),
            Value::Map(entries) => entries.iter().flat_map(|entry| entry.value.texts()).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
        }
    }

    /// Every value in it that is neither a list nor a map, at any depth.
    pub fn words(&self) -> Vec<&Node> {
        match &self.value {
            Value::List(elements) => elements.iter().flat_map(Node::words).collect(),
            Value::Map(entries) => entries.iter().flat_map(|entry| entry.value.words()).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => vec![self],
        }
    }

    pub fn to_json(&self) -> serde_json::Value {
        self.value.to_json()
    }

    /// What a path as problems of a policy have it (`contexts[3].match[0].path`) leads to, as far as it leads. Keys can
    /// hold dots, so every key that the path could begin with is tried.
    pub fn follow(&self, path: &str) -> Lookup<'_> {
        self.walk(None, path)
    }

    fn walk<'n>(&'n self, key_place: Option<&'n Location>, path: &str) -> Lookup<'n> {
        let path = path.strip_prefix('.').unwrap_or(path);
        let in_list = path.strip_prefix('[').and_then(|rest| rest.split_once(']')).and_then(|(index, rest)| {
            let element = self.elements().get(index.parse::<usize>().ok()?)?;
            Some(element.walk(None, rest))
        });
        let in_map = self.entries().iter().filter_map(|entry| {
            let rest = path.strip_prefix(entry.key.as_str())?;
            let ends = rest.is_empty() || rest.starts_with(['.', '[']);
            ends.then(|| entry.value.walk(Some(&entry.key_place), rest))
        });
        let here = Lookup { node: self, key_place, missing: path.len() };
        in_map.chain(in_list).min_by_key(|found| found.missing).unwrap_or(here)
    }
}

impl Entry {
    fn below(&self) -> Vec<(&Node, &Entry)> {
        self.value.all_entries()
    }
}

impl Value {
    fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Number(number) => number.clone().into(),
            Self::Text(text) => text.as_str().into(),
            Self::List(elements) => elements.iter().map(Node::to_json).collect(),
            Self::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect(),
        }
    }
}

/// What a path leads to.
#[derive(Debug)]
pub struct Lookup<'n> {
    pub node: &'n Node,
    /// Where its key is, if it is in a map.
    pub key_place: Option<&'n Location>,
    /// How much of the path leads nowhere.
    pub missing: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

fn place(file: &Arc<str>, location: ParserLocation) -> Location {
    Location {
        file: Arc::clone(file),
        line: location.line().max(1),
        column: location.column().max(1),
        length: location.span().len().max(1),
    }
}

/// What `kubectl` makes of a word, if that has neither quotes nor a tag that says what it is.
fn misreading(text: &str, location: ParserLocation, of: impl Fn(&str) -> Option<Misread>) -> Option<Misread> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let (before, rest) = text.split_at_checked(start)?;
    let word = rest.get(..usize::try_from(span.byte_len()?).ok()?)?;
    // Of several lines is a text for both.
    if word.starts_with(['"', '\'', '!', '&', '*']) || word.contains('\n') {
        return None;
    }
    let misread = of(word.trim_end())?;
    let last =
        |text: &str| text.rsplit([' ', '\t', '\n', '[', '{', ',']).take(2).map(ToOwned::to_owned).collect::<Vec<_>>();
    let is_block = last(before.trim_end()).first()?.trim_end_matches(['-', '+']).ends_with(['|', '>']);
    let is_tagged = last(before.trim_end_matches([' ', '\t'])).iter().any(|part| part.starts_with('!'));
    (!is_block && !is_tagged).then_some(misread)
}

fn node(file: &Arc<str>, text: &str, raw: Spanned<Raw>) -> Node {
    let mut misread = None;
    let value = match raw.value {
        Raw::Plain(value) => {
            misread = misreading(text, raw.defined, |written| misread_value(written, &value.to_json()));
            value
        }
        Raw::List(elements) => Value::List(elements.into_iter().map(|element| node(file, text, element)).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| Entry {
                    key_place: place(file, key.defined),
                    key_misread: misreading(text, key.defined, misread_key),
                    key: key.value,
                    value: node(file, text, value),
                })
                .collect(),
        ),
    };
    Node { value, place: place(file, raw.defined), misread }
}

/// What serde hands over, before files are known.
enum Raw {
    Plain(Value),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Raw;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a YAML value")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
                Ok(Raw::Plain(Value::Bool(value)))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
                Ok(Raw::Plain(Value::Number(value.into())))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
                Ok(Raw::Plain(Value::Number(value.into())))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
                // JSON has no infinity, so neither has a manifest.
                Ok(Raw::Plain(Number::from_f64(value).map_or(Value::Null, Value::Number)))
            }
            fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
                Ok(Raw::Plain(Value::Text(value.into())))
            }
            fn visit_unit<E>(self) -> Result<Raw, E> {
                Ok(Raw::Plain(Value::Null))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = list.next_element()? {
                    elements.push(element);
                }
                Ok(Raw::List(elements))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Raw::Map(entries))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Node {
        read(&"x.yaml".into(), text).unwrap().remove(0)
    }

    fn at(place: &Location) -> (u64, u64) {
        (place.line, place.column)
    }

    #[test]
    fn every_value_knows_its_place() {
        let node = one("a:\n  - b: \"x\"\n  - {c: [1, 2]}\nd: &e\n  f: 1\ng: *e\n");
        for (path, expected) in
            [("a[0].b", (2, 8)), ("a[1].c[1]", (3, 13)), ("d.f", (5, 6)), ("g.f", (5, 6)), ("a[1].c[7].x", (3, 9))]
        {
            assert_eq!(at(&node.follow(path).node.place), expected, "{path}");
        }
    }

    #[test]
    fn keys_can_hold_dots() {
        let node = one("t:\n  home.1:\n    pool: x\n  home: {pool: z}\n");
        assert_eq!(node.follow("t.home.1.pool").node.as_text(), Some("x"));
        assert_eq!(node.follow("t.home.pool").node.as_text(), Some("z"));
        assert_eq!(at(node.follow("t.home.1").key_place.unwrap()), (2, 3));
    }

    #[test]
    fn what_is_not_yaml_is_reported_with_its_place() {
        let error = read(&"x.yaml".into(), "a: 1\nb: [1\nc: 2\n").unwrap_err();
        assert_eq!(
            (error.place.to_string().as_str(), error.message.as_str()),
            ("x.yaml:3:2", "illegal placement of ':' indicator")
        );
    }

    #[test]
    fn a_text_may_be_large_and_what_aliases_repeat_may_not() {
        let file = Arc::from("x.yaml");
        let documents: String = (0..1_100).map(|number| format!("---\na: {number}\n")).collect();
        assert_eq!(read(&file, &documents).unwrap().len(), 1_100);
        let home = |number| format!("home-{number}: {{pool: a, group: b}}\n");
        assert_eq!(one(&(0..50_000).map(home).collect::<String>()).entries().len(), 50_000);
        let alias = |number| format!("home-{number}: *wales\n");
        let aliases: String = (1..200).map(alias).collect();
        assert_eq!(one(&format!("home-0: &wales {{jurisdiction: wales}}\n{aliases}")).entries().len(), 200);
        let each =
            |number: u32| format!("a{number}: &a{number} [{}]\n", vec![format!("*a{}", number - 1); 9].join(", "));
        let bomb = format!("a0: &a0 [x, x, x]\n{}", (1..12).map(each).collect::<String>());
        assert!(read(&file, &bomb).unwrap_err().message.contains("limits breached"));
    }

    #[test]
    fn what_kubectl_reads_otherwise_is_known_by_its_place() {
        let misread = |text: &str| {
            let node = one(text);
            let keys = node.all_entries().into_iter().filter(|(_, entry)| entry.key_misread.is_some());
            let mut all: Vec<_> = keys.map(|(_, entry)| at(&entry.key_place)).collect();
            all.extend(node.words().into_iter().filter(|word| word.misread.is_some()).map(|word| at(&word.place)));
            all
        };
        for (text, expected) in [
            ("0042: a\n1_000: {off: 1}\n? y\n: 1\n", &[(1, 1), (2, 1), (2, 9), (3, 3)][..]),
            ("a: 010\nb: [1_, oFF]\nc: # ten\n  010\n", &[(1, 4), (2, 5), (2, 9), (4, 3)]),
            // What both read alike.
            ("a-1: off\n12: 1_000\n1:30: 0x1F\nb: 1.0\nc: ~\ne: 1e3\n2024-01-02: No\n", &[]),
            ("'0042': \"010\"\nb: |\n  010\nc: >-\n  010", &[]),
            ("a: !!str 010\n!!str 0042: [!!str 010, &x !!str 010, !!str &y 010]\nb: x\n  y\n", &[]),
            (r#"{"0042": "010", "a": [1, 2.5, -0, 1e3, true, null]}"#, &[]),
        ] {
            assert_eq!(misread(text), expected, "{text}");
        }
    }
}

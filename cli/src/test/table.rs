//! Tables of values: a case for each row, with `<name>` replaced by the row's value of that name.

use std::collections::BTreeSet;

use super::read::{Problems, kind, scalar};
use crate::yaml::{Node, Value};

/// A case of its own.
pub struct Row {
    pub node: Node,
    /// What distinguishes it, such as `tenant=care-home-0042, pool=dedicated-a`; empty without a table.
    pub title: String,
}

/// The cases that a written one stands for.
pub fn rows(case: &Node, problems: &mut Problems) -> Vec<Row> {
    let Some(table) = case.get(&["table"]) else { return vec![Row { node: case.clone(), title: String::new() }] };
    let rows = table.elements();
    if rows.is_empty() {
        problems.add(&table.place, format!("table is {}: expected a list of rows, each a map of values", kind(table)));
    }
    let mut template = case.clone();
    if let Value::Map(entries) = &mut template.value {
        entries.retain(|entry| entry.key != "table");
    }
    let asked = names(&template);
    let mut made = Vec::with_capacity(rows.len());
    for row in rows {
        for (name, node) in &asked {
            if row.get(&[name]).is_none() {
                problems.add(&row.place, format!("this row has no {name:?}: expected a value for <{name}>"));
                problems.add(&node.place, format!("<{name}> is not in every row of the table"));
            }
        }
        for entry in row.entries() {
            if !asked.iter().any(|(name, _)| *name == entry.key) {
                let message = format!("nothing uses {:?}: expected <{}> in the case", entry.key, entry.key);
                problems.add(&entry.key_place, message);
            }
        }
        let values = row.entries().iter().map(|entry| {
            let value = scalar(&entry.value).unwrap_or_else(|| entry.value.to_json().to_string());
            format!("{}={value}", entry.key)
        });
        let title = values.collect::<Vec<_>>().join(", ");
        let mut node = template.clone();
        fill(&mut node, row, problems);
        made.push(Row { node, title });
    }
    made
}

/// The names that a case asks a row for, each with the text that does.
fn names(node: &Node) -> Vec<(String, &Node)> {
    let mut seen = BTreeSet::new();
    let mut names = Vec::new();
    for text in node.texts() {
        for name in in_text(text.as_text().unwrap_or_default()) {
            if seen.insert(name.to_owned()) {
                names.push((name.to_owned(), text));
            }
        }
    }
    names
}

/// The names between `<` and `>`.
fn in_text(text: &str) -> impl Iterator<Item = &str> {
    let is_name =
        |name: &&str| !name.is_empty() && name.chars().all(|it| it.is_ascii_alphanumeric() || "-_".contains(it));
    text.split('<').skip(1).filter_map(|rest| rest.split_once('>')).map(|(name, _)| name).filter(is_name)
}

/// A text that is one name becomes the value, of whatever type; names within a text are replaced by texts. The place is
/// that of the value, which is what a person would change.
fn fill(node: &mut Node, row: &Node, problems: &mut Problems) {
    match &mut node.value {
        Value::Text(text) => {
            let whole = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
            if let Some(value) = whole.and_then(|name| row.get(&[name])) {
                *node = value.clone();
                return;
            }
            let asked: Vec<String> = in_text(text).map(Into::into).collect();
            for name in asked {
                let Some(value) = row.get(&[&name]) else { continue };
                match scalar(value) {
                    Some(value) => *text = text.replace(&format!("<{name}>"), &value),
                    None => {
                        let found = kind(value);
                        problems
                            .add(&value.place, format!("{name} is {found}: expected a text, as a part of {text:?}"));
                    }
                }
            }
        }
        Value::List(elements) => elements.iter_mut().for_each(|element| fill(element, row, problems)),
        Value::Map(entries) => entries.iter_mut().for_each(|entry| fill(&mut entry.value, row, problems)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

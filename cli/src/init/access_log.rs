//! Access logs: methods and paths, folded to templates. A path can name a person, so nothing of it is kept but the
//! words that come before the first value, and those only where they look like words of an API and not of its data.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Inputs;
use super::contexts::{MAX_LEAD, is_technical};
use super::endpoint::{Endpoint, Segment, segments};

/// Words that only so few requests have are as likely data, or a typing error, as an API.
const LEAST: usize = 3;
/// The members of JSON lines that hold a method and a path, in the order in which they are tried.
const METHOD: [&str; 5] = ["method", "request_method", "requestMethod", "http_method", "req_method"];
const PATH: [&str; 7] = ["path", "request_path", "requestPath", "uri", "request_uri", "url", "x_envoy_original_path"];

pub fn read(name: &str, text: &str, found: &mut Inputs) {
    let mut counts: BTreeMap<Vec<String>, (usize, BTreeMap<String, usize>, bool)> = BTreeMap::new();
    let (mut lines, mut unread) = (0_usize, 0_usize);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        lines += 1;
        let Some((method, path)) = request(line) else {
            unread += 1;
            continue;
        };
        let Some(segments) = segments(&path.replace(['{', '}'], "")) else { continue };
        let (base, rest) = fold(&segments);
        let entry = counts.entry(base).or_default();
        entry.0 += 1;
        *entry.1.entry(method).or_default() += 1;
        entry.2 |= rest;
    }
    let seen = lines - unread;
    found.sources.insert(format!("{name} ({seen} requests)"));
    if unread > 0 {
        found.left_out.insert(format!("{unread} lines of {name} have no method and path"));
    }
    let mut rare = 0;
    for (base, (count, methods, rest)) in counts {
        if base.is_empty() || count < LEAST {
            rare += count;
            continue;
        }
        let literals: Vec<Segment> = base.into_iter().map(Segment::Literal).collect();
        let endpoint = |segments| Endpoint::new(methods.keys().cloned().collect(), segments);
        if rest {
            let id = [literals.clone(), vec![Segment::Parameter("id".into())]].concat();
            found.endpoints.push(Endpoint { open: true, ..endpoint(id) });
        }
        found.endpoints.push(endpoint(literals));
    }
    if rare > 0 {
        found.left_out.insert(format!("{rare} requests of {name} have paths that fewer than {LEAST} have in common"));
    }
}

/// Method and path of a line.
fn request(line: &str) -> Option<(String, String)> {
    if let Ok(Value::Object(members)) = serde_json::from_str::<Value>(line) {
        let first = |names: &[&str]| names.iter().find_map(|name| members.get(*name)?.as_str());
        let path = first(&PATH)?;
        let path = path.split_once("://").map_or(path, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
        return Some((method(first(&METHOD)?)?, path.to_owned()));
    }
    // Envoy's default, and the common log format.
    let quoted = line.split('"').find_map(|part| {
        let mut words = part.split(' ');
        let (method_word, path, version) = (words.next()?, words.next()?, words.next()?);
        (version.starts_with("HTTP/") && path.starts_with('/')).then_some((method_word, path))
    });
    let (word, path) = quoted?;
    Some((method(word)?, path.to_owned()))
}

fn method(word: &str) -> Option<String> {
    let is_method = (3..=7).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_uppercase());
    is_method.then(|| word.to_owned())
}

/// The words that a path begins with, up to the first that is its subject; and whether anything follows.
fn fold(segments: &[Segment]) -> (Vec<String>, bool) {
    let mut base = Vec::new();
    for segment in segments.iter().take(MAX_LEAD) {
        let Some(word) = segment.literal().filter(|word| is_word(word)) else { break };
        base.push(word.to_owned());
        if !is_technical(word) {
            break;
        }
    }
    let rest = segments.len() > base.len();
    (base, rest)
}

/// Whether it looks like a word of an API: no digits but those of a version, and not long.
fn is_word(text: &str) -> bool {
    is_technical(text)
        || (text.len() <= 40
            && text.len() >= 2
            && text.bytes().all(|byte| byte.is_ascii_alphabetic() || b"-_".contains(&byte)))
}

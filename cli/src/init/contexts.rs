//! Operations → contexts: those with one subject belong together.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::endpoint::{Endpoint, Segment};
use super::proposal::{self, Proposal};

/// What comes before the subject of a path, of such words, is at most so long.
pub const MAX_LEAD: usize = 5;
/// The name of the policy's `defaultContext`.
const DEFAULT: &str = "general";
/// A name has at most so many characters.
const NAME_MAX: usize = 63;
const TECHNICAL: [&str; 10] =
    ["api", "apis", "rest", "fhir", "r4", "stu3", "services", "public", "internal", "external"];
const READS: [&str; 4] = ["GET", "HEAD", "OPTIONS", "TRACE"];

/// A context of the policy.
#[derive(Debug, Clone)]
pub struct Context {
    pub name: String,
    pub proposal: Proposal,
    /// The fields that a document's hints give, in their own words.
    pub hints: BTreeMap<String, Value>,
    pub subject: Option<String>,
    pub matches: Vec<Match>,
    /// How many operations it has.
    pub operations: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// None for all.
    pub methods: Vec<String>,
    pub path: String,
}

/// `api`, `v1`, `v2beta1`
pub fn is_technical(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let version = word.strip_prefix('v').is_some_and(|rest| {
        let digits = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
        let kind = digits.trim_end_matches(|digit: char| digit.is_ascii_digit());
        digits.len() < rest.len() && ["", "alpha", "beta"].contains(&kind)
    });
    version || TECHNICAL.contains(&word.as_str())
}

/// How many segments name the subject: up to the first word that is not technical. None for a path without such a word.
fn base(endpoint: &Endpoint) -> Option<usize> {
    let segments = &endpoint.segments;
    let is_lead = |segment: &Segment| segment.literal().is_none_or(is_technical);
    let lead = endpoint.lead.min(segments.len());
    let lead = lead + segments[lead..].iter().take(MAX_LEAD).take_while(|segment| is_lead(segment)).count();
    match segments.get(lead) {
        Some(Segment::Literal(_)) => Some(lead + 1),
        // `/api/v1` itself.
        _ => segments.last().and_then(Segment::literal).map(|_| segments.len()),
    }
}

pub fn of(endpoints: &[Endpoint]) -> Vec<Context> {
    let mut groups: BTreeMap<Vec<String>, Vec<&Endpoint>> = BTreeMap::new();
    let mut named: BTreeMap<String, Vec<&Endpoint>> = BTreeMap::new();
    for endpoint in endpoints {
        if let Some(name) = endpoint.hints.get("context").and_then(Value::as_str) {
            named.entry(name.to_owned()).or_default().push(endpoint);
        } else if let Some(length) = base(endpoint) {
            groups.entry(endpoint.segments[..length].iter().map(Segment::key).collect()).or_default().push(endpoint);
        }
    }
    let mut contexts: Vec<Context> = named.into_iter().map(|(name, endpoints)| hinted(&name, &endpoints)).collect();
    for group in groups.values() {
        contexts.extend(grouped(group, endpoints));
    }
    // One name, one context: the default has one, too.
    let mut names = BTreeSet::from([DEFAULT.to_owned()]);
    for context in &mut contexts {
        let mut name = cut(&context.name, NAME_MAX);
        let mut number = 2;
        while !names.insert(name.clone()) {
            let suffix = format!("-{number}");
            name = cut(&context.name, NAME_MAX - suffix.len()) + &suffix;
            number += 1;
        }
        context.name = name;
    }
    contexts
}

/// A context that the documents name themselves: the operations as they are.
fn hinted(name: &str, endpoints: &[&Endpoint]) -> Context {
    let mut matches: Vec<Match> = Vec::new();
    for endpoint in endpoints {
        let path = text(&endpoint.segments);
        match matches.iter_mut().find(|known| known.path == path) {
            Some(known) => known.methods.extend(endpoint.methods.clone()),
            None => matches.push(Match { methods: endpoint.methods.clone(), path }),
        }
    }
    let words: Vec<&str> = endpoints.iter().flat_map(|it| it.segments.iter().filter_map(Segment::literal)).collect();
    let hints: BTreeMap<String, Value> = endpoints.iter().flat_map(|it| it.hints.clone()).collect();
    Context {
        name: kebab(name),
        proposal: proposal::of(&words),
        subject: hints.get("subject").and_then(Value::as_str).map(ToOwned::to_owned),
        hints,
        matches,
        operations: endpoints.len(),
    }
}

/// The contexts of one subject: what changes it can matter more than what reads it, and single operations more than
/// either.
fn grouped(group: &[&Endpoint], all: &[Endpoint]) -> Vec<Context> {
    let Some(first) = group.first() else { return Vec::new() };
    let length = base(first).unwrap_or_default();
    let last = length.checked_sub(1).and_then(|last| first.segments.get(last));
    let Some(subject_word) = last.and_then(Segment::literal) else { return Vec::new() };
    let base_path = text(&first.segments[..length]);
    let proposal = proposal::of(&[subject_word]);
    let name = kebab(subject_word);
    let mut contexts = Vec::new();

    // `POST /medications/administer`: an operation of its own.
    let mut ordinary: Vec<&Endpoint> = Vec::new();
    for endpoint in group {
        let below = &endpoint.segments[length..];
        let last = below.last().and_then(Segment::literal);
        let writes: Vec<String> = endpoint.methods.iter().filter(|it| !READS.contains(&it.as_str())).cloned().collect();
        match last.filter(|word| proposal::is_critical(word) && !writes.is_empty() && !endpoint.open) {
            Some(word) => contexts.push(Context {
                name: format!("{name}-{}", kebab(word)),
                proposal: proposal::critical(word, &proposal),
                hints: BTreeMap::new(),
                subject: None,
                matches: vec![Match { methods: writes, path: text(&endpoint.segments) }],
                operations: 1,
            }),
            None => ordinary.push(endpoint),
        }
    }
    if ordinary.is_empty() {
        return contexts;
    }

    let parameter = ordinary.iter().find_map(|endpoint| match endpoint.segments.get(length) {
        Some(Segment::Parameter(name)) => Some(name.clone()),
        _ => None,
    });
    let subject = parameter.clone().filter(|_| proposal.is_person);
    let matches = paths(&ordinary, length, &base_path, parameter.as_deref(), subject.is_some(), all);
    let changes =
        ordinary.iter().any(|it| it.methods.is_empty() || it.methods.iter().any(|it| !READS.contains(&it.as_str())));
    if proposal::is_critical(subject_word) && changes {
        let writes = ["POST", "PUT", "PATCH", "DELETE"].map(ToOwned::to_owned).to_vec();
        contexts.push(Context {
            name: format!("{name}-change"),
            proposal: proposal::critical(subject_word, &proposal),
            hints: BTreeMap::new(),
            subject: subject.clone(),
            matches: matches.iter().map(|path| Match { methods: writes.clone(), path: path.clone() }).collect(),
            operations: ordinary.len(),
        });
    }
    contexts.push(Context {
        name,
        proposal,
        hints: ordinary.iter().flat_map(|it| it.hints.clone()).collect(),
        subject,
        matches: matches.into_iter().map(|path| Match { methods: Vec::new(), path }).collect(),
        operations: ordinary.len(),
    });
    contexts
}

/// The templates of a subject: few of them, that cover all of its operations and those to come.
fn paths(
    group: &[&Endpoint],
    length: usize,
    base: &str,
    parameter: Option<&str>,
    has_subject: bool,
    all: &[Endpoint],
) -> Vec<String> {
    let mut paths = vec![base.to_owned()];
    let below = |endpoint: &Endpoint| endpoint.segments.len() - length;
    let deeper = group.iter().any(|it| below(it) > 1 || (it.open && below(it) > 0));
    match parameter {
        Some(name) => {
            if has_subject {
                // `/Patient/$match` names no patient.
                let words: BTreeSet<String> =
                    group.iter().filter_map(|it| it.segments.get(length)?.literal().map(ToOwned::to_owned)).collect();
                for word in words {
                    paths.push(format!("{base}/{word}"));
                    let deep = group.iter().any(|it| {
                        it.segments.get(length).and_then(Segment::literal) == Some(&word) && (below(it) > 1 || it.open)
                    });
                    if deep {
                        paths.push(format!("{base}/{word}/{{*rest}}"));
                    }
                }
            }
            paths.push(format!("{base}/{{{name}}}"));
            if deeper {
                paths.push(format!("{base}/{{{name}}}/{{*rest}}"));
            }
        }
        None if group.iter().any(|it| below(it) > 0 || it.open) => {
            // A subject below this one that has a parameter in the first place would be neither more nor less specific.
            let keys: Vec<String> = group[0].segments[..length].iter().map(Segment::key).collect();
            let clashes = all.iter().any(|other| {
                other.segments.len() > length
                    && other.segments[..length].iter().map(Segment::key).eq(keys.iter().cloned())
                    && other.segments[length].literal().is_none()
            });
            if !clashes {
                paths.push(format!("{base}/{{*rest}}"));
            }
        }
        None => {}
    }
    paths
}

fn text(segments: &[Segment]) -> String {
    if segments.is_empty() {
        return "/".to_owned();
    }
    segments.iter().map(|segment| format!("/{}", segment.text())).collect()
}

/// `MedicationAdministration`, `care_plans` → `medication-administration`, `care-plans`
fn kebab(word: &str) -> String {
    let mut name = String::new();
    let mut after_small = false;
    for character in word.chars() {
        if character.is_ascii_uppercase() && after_small {
            name.push('-');
        }
        after_small = character.is_ascii_lowercase() || character.is_ascii_digit();
        if character.is_ascii_alphanumeric() {
            name.push(character.to_ascii_lowercase());
        } else if !name.ends_with('-') && !name.is_empty() {
            name.push('-');
        }
    }
    let name = name.trim_matches('-').to_owned();
    if name.is_empty() { "root".to_owned() } else { name }
}

/// The beginning of a name of ASCII.
fn cut(name: &str, length: usize) -> String {
    name.get(..length).unwrap_or(name).trim_end_matches('-').to_owned()
}

/// Takes out what a problem of the policy is about: `contexts[3].match[0].path`, a context whose name is refused, or a
/// hint that no context can have.
pub fn leave_out(contexts: &mut Vec<Context>, path: &str, message: &str, left_out: &mut BTreeSet<String>) -> bool {
    let Some((index, rest)) = path.strip_prefix("contexts[").and_then(|rest| rest.split_once(']')) else {
        return false;
    };
    let Some((index, context)) = index.parse::<usize>().ok().and_then(|index| Some((index, contexts.get_mut(index)?)))
    else {
        return false;
    };
    let number = rest.strip_prefix(".match[").and_then(|rest| rest.split_once(']')?.0.parse::<usize>().ok());
    match number {
        Some(number) if number < context.matches.len() => {
            let removed = context.matches.remove(number);
            left_out.insert(format!("{} of context {}: {message}", removed.path, context.name));
            if context.matches.is_empty() {
                contexts.remove(index);
            }
            true
        }
        _ if rest == ".name" => {
            left_out.insert(format!("context {}: {message}", context.name));
            contexts.remove(index);
            true
        }
        _ => {
            let field = rest.trim_start_matches('.').split(['.', '[']).next().unwrap_or_default().to_owned();
            let was_subject = field == "subject" && context.subject.take().is_some();
            let was_hint = context.hints.remove(&field).is_some();
            if was_hint || was_subject {
                left_out.insert(format!("{field} of context {}: {message}", context.name));
            }
            was_hint || was_subject
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_whose_name_is_refused_is_left_out() {
        let context = |name: &str| Context {
            name: name.into(),
            proposal: proposal::of(&[name]),
            hints: BTreeMap::new(),
            subject: None,
            matches: Vec::new(),
            operations: 1,
        };
        let mut contexts = vec![context("a"), context("-b"), context("c")];
        let mut left_out = BTreeSet::new();
        assert!(leave_out(&mut contexts, "contexts[1].name", "not a name", &mut left_out));
        assert_eq!(contexts.iter().map(|context| context.name.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(left_out, BTreeSet::from(["context -b: not a name".to_owned()]));
    }
}

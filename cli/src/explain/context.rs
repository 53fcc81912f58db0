//! What a request is about: how its path was read, which context it is in, and which it could have been in.

use std::collections::BTreeMap;

use careplane_exchange::Incoming;
use careplane_policy::document::{Document, Match};
use careplane_policy::{Method, Policy, Template, path};
use serde_json::json;

use super::explanation::{ContextExplanation, Other, PathExplanation, PolicyRule};
use super::request::Request;
use crate::yaml::Node;

pub fn path(request: &Request) -> PathExplanation {
    let sent = request.path.as_str();
    let normal = path::normalise(sent.as_bytes()).into_owned();
    let end = sent.find(['?', '#']).unwrap_or(sent.len());
    let (plain, rest) = sent.split_at(end);
    let decoded = plain.contains('%') && percent_decoded(plain);
    // What escapes stand for counts as well.
    let escapes = [("%2f", "/"), ("%5c", "\\"), ("%2e", "."), ("%3b", ";")];
    let seen = escapes.iter().fold(plain.to_owned(), |seen, (escape, character)| {
        seen.replace(escape, character).replace(&escape.to_ascii_uppercase(), character)
    });
    let slashes = seen.replace('\\', "/");
    let is_dot = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    let changes = [
        (!rest.is_empty(), "query cut off"),
        (decoded, "percent-decoded"),
        (seen.contains('\\'), "backslashes read as slashes"),
        (slashes.contains("//"), "slashes merged"),
        (seen.contains(';'), "path parameters dropped"),
        (slashes.split('/').any(is_dot), "dot segments resolved"),
        (slashes.len() > 1 && slashes.ends_with('/'), "trailing slash dropped"),
    ];
    PathExplanation { normal, changes: changes.into_iter().filter(|(is_so, _)| *is_so).map(|(_, what)| what).collect() }
}

/// Whether there is an escape that is one.
fn percent_decoded(path: &str) -> bool {
    path.split('%').skip(1).any(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}

/// A rule of the document, with its place where it is written.
pub fn rule(node: &Node, path: impl Into<String>) -> PolicyRule {
    let path = path.into();
    let found = node.follow(&path);
    let place = (found.missing == 0).then(|| found.node.place.to_string());
    PolicyRule { path, place }
}

pub fn context(incoming: &Incoming, document: &Document, node: &Node, request: &Request) -> ContextExplanation {
    let about = incoming.about();
    let context = &about.context;
    let method = incoming.method();
    let template = about.template.as_ref().map(|template| template.text().to_string());
    let matches: Vec<Candidate<'_>> = candidates(document).collect();
    let is_chosen = |one: &Candidate<'_>| {
        Some(one.context) == Some(&*context.name) && one.written.path == template && one.fits(method, &request.path)
    };
    let chosen = matches.iter().find(|one| is_chosen(one));
    let others = matches
        .iter()
        .filter(|one| chosen.is_none_or(|chosen| chosen.path != one.path) && one.fits_path(&request.path))
        .map(|one| Other {
            context: one.context.to_owned(),
            template: one.written.path.clone().unwrap_or_default(),
            rule: rule(node, one.path.clone()),
            why: match &one.written.methods {
                Some(methods) if !one.fits(method, &request.path) => format!("for {} alone", methods.join(", ")),
                Some(_) | None if chosen.is_some_and(|chosen| chosen.written.path == one.written.path) => {
                    format!("the match that names {} comes first", method.as_str())
                }
                Some(_) | None => "less specific".to_owned(),
            },
        })
        .collect();
    let captures =
        template.iter().filter_map(|text| Template::new(text).ok()).flat_map(|template| parameters(template.text()));
    let captures: BTreeMap<String, String> =
        captures.filter_map(|name| Some((name.clone(), about.capture(&name)?.to_owned()))).collect();
    ContextExplanation {
        name: context.name.to_string(),
        rule: rule(node, chosen.map_or("defaultContext", |chosen| chosen.path.as_str())),
        template,
        captures,
        compliance_level: context.compliance_level.as_str(),
        tier: context.tier.name.to_string(),
        action: context.action(method).as_str(),
        resource: context.resource.as_deref().map(Into::into),
        flags: context.flags.iter().map(ToString::to_string).collect(),
        retention: context.retention.as_deref().map(Into::into),
        recorded: context.audited,
        tenant_required: context.tenant_required,
        others,
    }
}

fn parameters(template: &str) -> Vec<String> {
    let inner = template.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    inner.map(|name| name.trim_start_matches('*').to_owned()).collect()
}

/// One match of a context.
struct Candidate<'d> {
    context: &'d str,
    written: &'d Match,
    /// `contexts[3].match[0]`
    path: String,
}

fn candidates(document: &Document) -> impl Iterator<Item = Candidate<'_>> {
    document.contexts.iter().enumerate().flat_map(|(index, context)| {
        let name = context.name.as_deref().unwrap_or_default();
        context.matches.iter().flatten().enumerate().map(move |(number, written)| Candidate {
            context: name,
            written,
            path: format!("contexts[{index}].match[{number}]"),
        })
    })
}

impl Candidate<'_> {
    fn fits(&self, method: Method, sent: &str) -> bool {
        classifies(self.written, method, sent)
    }

    fn fits_path(&self, sent: &str) -> bool {
        let any_method = Match { methods: None, path: self.written.path.clone() };
        classifies(&any_method, Method::Get, sent)
    }
}

/// Whether a policy of this one match would take the request.
fn classifies(written: &Match, method: Method, sent: &str) -> bool {
    let document = json!({
        "version": careplane_policy::VERSION,
        "contexts": [{"name": "alone", "complianceLevel": "low", "match": [written]}],
    });
    Policy::from_json(document.to_string().as_bytes())
        .is_ok_and(|policy| policy.classify(method, sent.as_bytes()).template.is_some())
}

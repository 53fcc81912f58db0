//! Routes of two policies: each template of either, and what a request there is about.

use std::collections::{BTreeMap, BTreeSet};

use careplane_policy::document::Document;
use careplane_policy::{Classification, Method, Policy};

use super::sample;
use super::shape::{FieldChange, RouteChange};
use crate::explain::Judged;

/// Methods that requests usually have.
const USUAL: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
/// The methods of a match that names none. The last stands for those that no policy can name.
const METHODS: [&str; 10] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "OTHER"];

/// A template of one of the policies, or none: what no context matches.
pub struct RouteTemplate {
    pub template: Option<String>,
    /// How many segments `{*rest}` needs so that no other template has the path; without a template, how many the path
    /// needs so that none has it.
    depth: usize,
    /// The methods that a match with this template is for, in either policy. Those that requests usually have, or that
    /// a policy names, are the first.
    pub methods: Vec<&'static str>,
    usual: usize,
    /// One method for each thing that the policies can make of a request there.
    asked: Vec<&'static str>,
    /// Whether one of these matches is for all methods.
    pub is_for_all: bool,
}

// === impl RouteTemplate ===

impl RouteTemplate {
    /// A path there, with the value of one parameter given.
    pub fn path(&self, given: Option<(&str, &str)>) -> String {
        sample::path(self.template.as_deref(), self.depth, given)
    }

    /// Whether its template has this parameter.
    pub fn has(&self, parameter: &str) -> bool {
        self.template.as_ref().is_some_and(|template| template.contains(&format!("{{{parameter}}}")))
    }

    /// `POST /api/v1/residents`
    pub fn title(&self, method: &str) -> String {
        match &self.template {
            Some(template) if self.is_for_all && self.asked.len() == 1 => template.clone(),
            Some(template) => format!("{method} {template}"),
            None => "what no context matches".into(),
        }
    }

    /// One method for each thing that the policies can make of a request there.
    pub fn asked_methods(&self) -> &[&'static str] {
        &self.asked
    }

    /// The methods that traffic is assumed to have.
    pub fn usual_methods(&self) -> &[&'static str] {
        let count = if self.is_for_all { 1 } else { self.usual };
        self.methods.get(..count).unwrap_or_default()
    }
}

/// Every template of the two policies, in the order of the new one, and what no context matches. And what was left out.
pub fn templates(old: &Judged, new: &Judged) -> (Vec<RouteTemplate>, Vec<String>) {
    let mut order = Vec::new();
    let mut methods: BTreeMap<&str, (BTreeSet<&str>, bool)> = BTreeMap::new();
    for written in [&new.document, &old.document].into_iter().flat_map(matches) {
        let Some(template) = written.path.as_deref() else { continue };
        if !order.contains(&template) {
            order.push(template);
        }
        let (named, is_for_all) = methods.entry(template).or_default();
        match &written.methods {
            Some(list) => named.extend(list.iter().map(String::as_str)),
            None => *is_for_all = true,
        }
    }
    let policies = [&new.rules.policy, &old.rules.policy];
    let grants = [new, old].into_iter().flat_map(|judged| &judged.document.identity.grants);
    let by_action = grants.into_iter().any(|grant| !grant.actions.is_empty());
    let (mut templates, mut left_out) = (Vec::new(), Vec::new());
    for template in &order {
        let Some((named, is_for_all)) = methods.get(template) else { continue };
        let mut all: Vec<&'static str> = if *is_for_all { USUAL.to_vec() } else { Vec::new() };
        let named_methods = named.iter().map(|name| Method::new(name.as_bytes()).as_str());
        add(&mut all, named_methods);
        let usual = all.len();
        if *is_for_all {
            add(&mut all, METHODS.into_iter());
        }
        let depths = sample::depths(template, &all, &policies);
        if depths.is_empty() {
            left_out.push(format!("{template}: other templates have each path that was tried"));
        }
        // Where one method has a match of its own, each method is a route.
        let is_for_all = *is_for_all && named.is_empty();
        for depth in depths {
            let path = sample::path(Some(template), depth, None);
            let asked = if is_for_all { unlike(&all, &path, policies, by_action) } else { all.clone() };
            let template = Some((*template).into());
            templates.push(RouteTemplate { template, depth, methods: all.clone(), usual, asked, is_for_all });
        }
    }
    match sample::unmatched(&METHODS, policies) {
        Some((depth, methods)) => {
            let asked = unlike(&methods, &sample::path(None, depth, None), policies, by_action);
            templates.push(RouteTemplate { template: None, depth, methods, usual: 1, asked, is_for_all: true });
        }
        None => left_out.push("what no context matches: no such path of both policies was found".into()),
    }
    (templates, left_out)
}

fn add(methods: &mut Vec<&'static str>, more: impl Iterator<Item = &'static str>) {
    for method in more {
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
}

/// One of the methods that the policies treat alike at a path, and of those with one action, where grants ask for that.
fn unlike(methods: &[&'static str], path: &str, policies: [&Policy; 2], by_action: bool) -> Vec<&'static str> {
    let mut seen = BTreeSet::new();
    let kind = |name: &str| {
        let method = Method::new(name.as_bytes());
        let about = |policy: &Policy| {
            let mut facts = facts(policy, method, &policy.classify(method, path.as_bytes()));
            facts.retain(|(field, _)| by_action || *field != "action");
            facts
        };
        policies.map(about)
    };
    methods.iter().copied().filter(|name| seen.insert(kind(name))).collect()
}

fn matches(document: &Document) -> impl Iterator<Item = &careplane_policy::document::Match> {
    document.contexts.iter().flat_map(|context| context.matches.iter().flatten())
}

/// What a policy says of a request.
pub fn facts(policy: &Policy, method: Method, about: &Classification) -> Vec<(&'static str, Option<String>)> {
    let context = &about.context;
    let text = |value: &str| Some(value.to_owned());
    let flags = context.flags.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let waits = policy.audit.write_ahead.contains(&context.compliance_level);
    vec![
        ("context", text(&context.name)),
        ("level", text(context.compliance_level.as_str())),
        ("tier", text(&context.tier.name)),
        ("rate", Some(format!("{} %", context.tier.rate))),
        ("audit", text(if context.audited { "full" } else { "none" })),
        ("enforcement", text(if context.shadow { "shadow" } else { "enforce" })),
        ("waits for evidence", text(if waits { "yes" } else { "no" })),
        ("tenant", text(if context.tenant_required { "required" } else { "optional" })),
        ("action", text(context.action(method).as_str())),
        ("resource", context.resource.as_deref().map(Into::into)),
        ("subject", context.subject.as_deref().map(Into::into)),
        ("flags", Some(flags).filter(|flags| !flags.is_empty())),
        ("retention", context.retention.as_deref().map(Into::into)),
    ]
}

/// The routes that change, those that change alike together.
pub fn compare(old: &Judged, new: &Judged, templates: &[RouteTemplate]) -> Vec<RouteChange> {
    let mut found: Vec<RouteChange> = Vec::new();
    for route in templates {
        // Without a template, one context has all methods.
        let methods = if route.template.is_some() { &route.methods } else { &route.asked };
        let path = route.path(None);
        let mut alike: Vec<(Vec<FieldChange>, Vec<&str>)> = Vec::new();
        for name in methods {
            let method = Method::new(name.as_bytes());
            let [before, after] = [old, new].map(|judged| {
                let policy = &judged.rules.policy;
                facts(policy, method, &policy.classify(method, path.as_bytes()))
            });
            let changes = FieldChange::between(&before, &after);
            match alike.iter_mut().find(|(known, _)| *known == changes) {
                Some((_, methods)) => methods.push(name),
                None => alike.push((changes, vec![name])),
            }
        }
        let is_one = alike.len() == 1;
        for (changes, methods) in alike.into_iter().filter(|(changes, _)| !changes.is_empty()) {
            let title = match &route.template {
                Some(template) if is_one && route.is_for_all => template.clone(),
                Some(template) => format!("{} {template}", methods.join(",")),
                None => route.title("GET"),
            };
            match found.iter_mut().find(|known| known.changes == changes) {
                // A template with a `{*rest}` can be tried at several depths.
                Some(known) if known.routes.contains(&title) => {}
                Some(known) => known.routes.push(title),
                None => found.push(RouteChange { routes: vec![title], changes }),
            }
        }
    }
    found
}

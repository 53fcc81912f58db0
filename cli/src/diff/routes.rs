//! Routes of two policies: each template of either, and what a request there is about.

use std::collections::{BTreeMap, BTreeSet};

use careplane_policy::document::Document;
use careplane_policy::{Classification, Method, Policy};

use super::sample;
use super::shape::{FieldChange, RouteChange};
use crate::explain::Judged;

/// The methods of a match that names none.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// A template of one of the policies, or none: what no context matches.
pub struct RouteTemplate {
    pub template: Option<String>,
    /// How many segments `{*rest}` needs so that no other template has the path.
    rest: usize,
    /// The methods that a match with this template is for, in either policy.
    pub methods: Vec<&'static str>,
    /// Whether one of these matches is for all methods.
    pub is_for_all: bool,
}

// === impl RouteTemplate ===

impl RouteTemplate {
    /// A path there, with the value of one parameter given.
    pub fn path(&self, given: Option<(&str, &str)>) -> String {
        sample::path(self.template.as_deref(), self.rest, given)
    }

    /// Whether its template has this parameter.
    pub fn has(&self, parameter: &str) -> bool {
        self.template.as_ref().is_some_and(|template| template.contains(&format!("{{{parameter}}}")))
    }

    /// `POST /api/v1/residents`
    pub fn title(&self, method: &str) -> String {
        match &self.template {
            Some(template) if self.is_for_all && self.methods.first() == Some(&method) => template.clone(),
            Some(template) => format!("{method} {template}"),
            None => "what no context matches".into(),
        }
    }

    /// One method for each thing that the policies can make of a request there.
    pub fn asked_methods(&self) -> &[&'static str] {
        if self.is_for_all { self.methods.get(..1).unwrap_or_default() } else { &self.methods }
    }
}

/// Every template of the two policies, in the order of the new one, and what no context matches.
pub fn templates(old: &Judged, new: &Judged) -> Vec<RouteTemplate> {
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
    let mut templates = Vec::new();
    for template in order {
        let Some((named, is_for_all)) = methods.get(template) else { continue };
        let mut all: Vec<&'static str> = if *is_for_all { METHODS.to_vec() } else { Vec::new() };
        for method in named.iter().map(|name| Method::new(name.as_bytes()).as_str()) {
            if !all.contains(&method) {
                all.push(method);
            }
        }
        if let Some(rest) = sample::reach(template, &all, &policies) {
            // Where one method has a match of its own, each method is a route.
            let is_for_all = *is_for_all && named.is_empty();
            templates.push(RouteTemplate { template: Some(template.into()), rest, methods: all, is_for_all });
        }
    }
    templates.push(RouteTemplate { template: None, rest: 1, methods: vec!["GET"], is_for_all: false });
    templates
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
        let path = route.path(None);
        let mut alike: Vec<(Vec<FieldChange>, Vec<&str>)> = Vec::new();
        for name in &route.methods {
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
                Some(known) => known.routes.push(title),
                None => found.push(RouteChange { routes: vec![title], changes }),
            }
        }
    }
    found
}

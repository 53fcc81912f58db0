//! `contexts`, `defaultContext`: the routes and what they lead to.

use std::fmt::Arguments;
use std::sync::Arc;

use super::names;
use super::sampling::Tiers;
use crate::document::{self, AuditLevel, ComplianceLevel, Enforcement, TenantRequirement};
use crate::policy::{Context, ContextRoute, Tier};
use crate::problem::Problems;
use crate::rate::Rate;
use crate::router::{MatchPath, Method, Methods, Route, Router};
use crate::slots::Slots;
use crate::template::Template;

/// The tier of a context that names none.
const DEFAULT_TIER: &str = "default";
const LEVELS: &str = "one of critical, high, standard, low";

pub(super) struct Contexts {
    pub(super) all: Vec<Arc<Context>>,
    pub(super) default: Arc<Context>,
    pub(super) routes: Vec<ContextRoute>,
    pub(super) router: Router,
}

/// What holds for a context that does not say it.
#[derive(Clone, Copy)]
pub(super) struct Otherwise {
    pub(super) tenant_required: bool,
    pub(super) enforcement: Enforcement,
}

#[inline(never)]
pub(super) fn compile(
    written: Vec<document::Context>,
    default: document::DefaultContext,
    tiers: &Tiers,
    otherwise: Otherwise,
    problems: &mut Problems,
) -> Contexts {
    let default = default_context(default, tiers, otherwise, problems);
    let mut all: Vec<Arc<Context>> = Vec::with_capacity(written.len());
    let mut targets = Vec::new();
    let mut routes = Vec::new();
    // By number: 0 is the default context, the others are from 1.
    let mut names = Slots::for_texts(written.len().saturating_add(1));
    names.put(0, default.name.as_bytes(), &|_| &[]);
    for (index, context) in written.into_iter().enumerate() {
        let path = format_args!("contexts[{index}]");
        let templates = matches(index, context.matches.as_deref(), problems);
        let compiled = Arc::new(self::context(path, context, &templates, tiers, otherwise, problems));
        let name_of = |number: u32| {
            let index = usize::try_from(number).unwrap_or_default().checked_sub(1);
            let name = match index {
                Some(index) => all.get(index).map(|context| &context.name),
                None => Some(&default.name),
            };
            name.map_or(&[][..], |name| name.as_bytes())
        };
        let number = u32::try_from(index).unwrap_or_default().saturating_add(1);
        if let Some(other) = names.put(number, compiled.name.as_bytes(), &name_of) {
            // An empty name is missing, which has been said.
            if !compiled.name.is_empty() {
                let other = match other.checked_sub(1) {
                    Some(index) => format!("contexts[{index}]"),
                    None => "defaultContext".to_owned(),
                };
                problems.add(
                    format!("{path}.name"),
                    format!("{:?} is the name of {other} already: expected a name of its own", compiled.name),
                );
            }
        }
        for route in templates {
            targets.push(ContextRoute { context: Arc::clone(&compiled), template: Arc::clone(&route.template) });
            routes.push(route);
        }
        all.push(compiled);
    }
    let router = Router::new(&routes, problems);
    Contexts { all, default: Arc::new(default), routes: targets, router }
}

#[inline(never)]
fn context(
    path: Arguments<'_>,
    written: document::Context,
    routes: &[Route],
    tiers: &Tiers,
    otherwise: Otherwise,
    problems: &mut Problems,
) -> Context {
    let name = match &written.name {
        Some(name) => names::label(format_args!("{path}.name"), name, problems),
        None => {
            problems.add(format!("{path}.name"), "missing: expected the name of the context, such as \"medication\"");
            "".into()
        }
    };
    let compliance_level = written.compliance_level.unwrap_or_else(|| {
        problems.add(format!("{path}.complianceLevel"), format!("missing: expected {LEVELS}"));
        ComplianceLevel::Critical
    });
    if let Some(subject) = &written.subject
        && !routes.is_empty()
        && !routes.iter().any(|route| route.template.has(subject))
    {
        problems.add(
            format!("{path}.subject"),
            format!("{subject:?} is not a path parameter of this context: expected the name of one in its match"),
        );
    }
    if let Some(resource) = &written.resource {
        let upper = resource.bytes().next().is_some_and(|byte| byte.is_ascii_uppercase());
        if !upper || !resource.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            problems.add(
                format!("{path}.resource"),
                format!("{resource:?} is not a FHIR resource type: expected such as \"MedicationAdministration\""),
            );
        }
    }
    let flags: Vec<Arc<str>> = written
        .flags
        .iter()
        .enumerate()
        .map(|(index, flag)| names::flag(format_args!("{path}.flags[{index}]"), flag, problems))
        .collect();
    Context {
        name,
        compliance_level,
        tier: tier(format_args!("{path}.tier"), written.tier.as_deref().unwrap_or(DEFAULT_TIER), tiers, problems),
        action: written.action,
        resource: written.resource.map(Into::into),
        subject: written.subject.map(Into::into),
        flags_header: (!flags.is_empty()).then(|| flags.join(",").into()),
        flags,
        retention: written.retention.map(|text| names::iso_duration(format_args!("{path}.retention"), &text, problems)),
        audited: written.audit == AuditLevel::Full,
        tenant_required: requires(written.tenant, otherwise.tenant_required),
        shadow: written.enforcement.unwrap_or(otherwise.enforcement) == Enforcement::Shadow,
    }
}

#[inline(never)]
fn default_context(
    written: document::DefaultContext,
    tiers: &Tiers,
    otherwise: Otherwise,
    problems: &mut Problems,
) -> Context {
    Context {
        name: names::label(format_args!("defaultContext.name"), &written.name, problems),
        compliance_level: written.compliance_level,
        tier: tier(format_args!("defaultContext.tier"), &written.tier, tiers, problems),
        action: None,
        resource: None,
        subject: None,
        flags: Vec::new(),
        flags_header: None,
        retention: None,
        audited: written.audit == AuditLevel::Full,
        tenant_required: requires(written.tenant, otherwise.tenant_required),
        shadow: written.enforcement.unwrap_or(otherwise.enforcement) == Enforcement::Shadow,
    }
}

fn requires(context: Option<TenantRequirement>, otherwise: bool) -> bool {
    context.map_or(otherwise, |requirement| requirement == TenantRequirement::Required)
}

#[inline(never)]
fn tier(path: Arguments<'_>, name: &str, tiers: &Tiers, problems: &mut Problems) -> Tier {
    tiers.get(name).cloned().unwrap_or_else(|| {
        let known: Vec<&str> = tiers.keys().map(String::as_str).collect();
        problems.add(
            path.to_string(),
            format!("{name:?} is not a tier of sampling.tiers: expected one of {}", known.join(", ")),
        );
        Tier { name: name.into(), rate: Rate::ZERO }
    })
}

/// The routes of the context with this number.
#[inline(never)]
fn matches(context: usize, written: Option<&[document::Match]>, problems: &mut Problems) -> Vec<Route> {
    let Some(written) = written.filter(|written| !written.is_empty()) else {
        problems.add(
            format!("contexts[{context}].match"),
            "is empty, so nothing is ever in this context: expected such as [{path: \"/api/v1/residents\"}]",
        );
        return Vec::new();
    };
    let mut routes = Vec::with_capacity(written.len());
    for (index, one) in written.iter().enumerate() {
        let place = MatchPath { context, index };
        let methods =
            methods(format_args!("contexts[{context}].match[{index}].methods"), one.methods.as_deref(), problems);
        match one.path.as_deref().map(|text| (text, Template::new(text))) {
            Some((_, Ok(template))) => routes.push(Route { methods, template: Arc::new(template), place }),
            Some((text, Err(problem))) => problems.add(place.to_string(), format!("{text:?} {problem}")),
            None => {
                problems.add(place.to_string(), "missing: expected a path template, such as \"/api/v1/residents/{id}\"")
            }
        }
    }
    routes
}

#[inline(never)]
fn methods(path: Arguments<'_>, written: Option<&[String]>, problems: &mut Problems) -> Methods {
    let Some(written) = written else { return Methods::ALL };
    if written.is_empty() {
        problems.add(
            path.to_string(),
            "is empty, so nothing can match: expected such as [GET, POST], or no `methods` for all",
        );
    }
    let mut set = Methods::NONE;
    for (index, name) in written.iter().enumerate() {
        match Method::new(name.as_bytes()) {
            Method::Other => problems.add(
                format!("{path}[{index}]"),
                format!(
                    "{name:?} is not a method: expected one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, \
                     TRACE, CONNECT"
                ),
            ),
            // What may be read may be asked about (RFC 9110 §9.3.2).
            Method::Get => set = set.with(Method::Get).with(Method::Head),
            method => set = set.with(method),
        }
    }
    set
}

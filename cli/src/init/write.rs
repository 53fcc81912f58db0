//! The policy as a text, with what a person has to decide.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use super::Inputs;
use super::contexts::Context;

/// The fields of a context that a hint can set, besides those that are written anyway.
const HINTS: [&str; 5] = ["action", "retention", "audit", "tenant", "flags"];

pub fn text(found: &Inputs, contexts: &[Context], left_out: &BTreeSet<String>) -> String {
    let mut text = String::from("# A first policy, made by `careplane init` from\n");
    for source in &found.sources {
        line(&mut text, format_args!("#   {source}"));
    }
    text += "# Nothing here is decided yet. Each compliance level and tier is a proposal, made from names alone: go \
         through\n\
             # them with those responsible for care, then remove the word \"proposed\". docs/policy.md says what each \
             field means.\n\
             # Check it before you apply it: careplane check FILE, with the manifests of the mesh beside it.\n\
             version: careplane/v1\n\n";
    identity(&mut text, found);
    text += "\ncontexts:\n";
    for context in contexts {
        one(&mut text, context);
    }
    text += "\n# What no context matches.\n\
             defaultContext: {name: general, complianceLevel: standard, tier: default}   # proposed\n\n\
             sampling:\n  \
             # Percent of the traces that are kept. They nest; set Envoy's own base rate to 0.\n  \
             tiers: {always: 100, clinical: 50, default: 10, never: 0}   # proposed\n";
    routing(&mut text, found);
    if !left_out.is_empty() {
        text += "\n# Left out:\n";
        for what in left_out {
            line(&mut text, format_args!("#   {what}"));
        }
    }
    text
}

/// One line, whatever the inputs had in their names.
fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    let what = what.to_string().replace(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'], " ");
    let _ = writeln!(text, "{what}");
}

fn identity(text: &mut String, found: &Inputs) {
    *text += "identity:\n  \
              # Decide: whose identity headers are believed? None at a gateway; in front of a service, the \
              gateway's:\n  \
              #   trustedPeers: [spiffe://cluster.local/ns/NAMESPACE/sa/GATEWAY]\n  \
              trustedPeers: []\n  \
              # Decide: which verified claim names the tenant (the care home), and which the user?\n";
    for caller in &found.callers {
        line(text, format_args!("  #   {caller}"));
    }
    for tenant in &found.tenants {
        line(
            text,
            format_args!(
                "  #   paths name {{{tenant}}}: if that is the tenant, add {{path: {tenant}}} and write its paths out"
            ),
        );
    }
    *text += "  tenant:\n    required: true\n    sources: [{claim: tenant_id}, {header: x-tenant-id}]   # proposed\n  \
              user:\n    sources: [{claim: sub}, {header: x-user-id}]   # proposed\n    pseudonymise: true\n";
}

fn one(text: &mut String, context: &Context) {
    let proposal = &context.proposal;
    let hint = |key: &str| context.hints.get(key).and_then(Value::as_str);
    line(text, format_args!("  - name: {}", quoted(&context.name)));
    let proposed = |value: &str, given: Option<&str>, why: &str| match given {
        Some(given) => format!("{}   # from the document", quoted(given)),
        None => format!("{value}   # proposed: {why}"),
    };
    let operations = if context.operations == 1 { "1 operation" } else { "operations" };
    let why = match context.operations {
        1 => format!("{}; {operations}", proposal.why),
        many => format!("{}; {many} {operations}", proposal.why),
    };
    line(text, format_args!("    complianceLevel: {}", proposed(proposal.level, hint("complianceLevel"), &why)));
    match hint("tier") {
        Some(tier) => line(text, format_args!("    tier: {}   # from the document", quoted(tier))),
        None => line(text, format_args!("    tier: {}", proposal.tier)),
    }
    match (hint("resource"), proposal.resource) {
        (Some(resource), _) => line(text, format_args!("    resource: {}   # from the document", quoted(resource))),
        (None, Some(resource)) => line(text, format_args!("    resource: {resource}   # proposed")),
        (None, None) => {}
    }
    if let Some(subject) = &context.subject {
        line(text, format_args!("    subject: {}   # proposed: recorded as a pseudonym", quoted(subject)));
    }
    if proposal.is_operational && !context.hints.contains_key("audit") {
        *text += "    audit: none   # proposed\n";
    }
    if proposal.is_operational && !context.hints.contains_key("tenant") {
        *text += "    tenant: optional   # proposed\n";
    }
    for key in HINTS {
        if let Some(value) = context.hints.get(key) {
            line(text, format_args!("    {key}: {value}   # from the document"));
        }
    }
    *text += "    match:\n";
    for one in &context.matches {
        let path = quoted(&one.path);
        if one.methods.is_empty() {
            line(text, format_args!("      - path: {path}"));
        } else {
            line(text, format_args!("      - {{methods: [{}], path: {path}}}", one.methods.join(", ")));
        }
    }
}

fn routing(text: &mut String, found: &Inputs) {
    let (dedicated, pools): (Vec<&String>, Vec<&String>) =
        found.pools.iter().partition(|pool| pool.starts_with("dedicated-"));
    if pools.is_empty() && dedicated.is_empty() && !found.has_canary {
        return;
    }
    *text += "\n# What the routes match on.\nrouting:\n";
    let list = |names: &[&String]| names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    if !pools.is_empty() {
        line(text, format_args!("  pools: [{}]", list(&pools)));
    }
    if !dedicated.is_empty() {
        line(text, format_args!("  dedicated: [{}]", list(&dedicated)));
    }
    if found.has_canary {
        *text += "  canary: {percent: 5, header: x-release-cohort}   # proposed\n";
    }
}

/// A text in YAML: plain where that is unambiguous, else as JSON has it.
pub fn quoted(text: &str) -> String {
    let is_plain = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'/')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_/.".contains(&byte))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.to_owned() } else { Value::from(text).to_string() }
}

//! AuthorizationPolicies by path: what they see otherwise than careplane, which reads a path as an application would.

mod spelling;
#[cfg(test)]
mod tests;

use careplane_policy::document::Document as PolicyDocument;
use careplane_policy::{Method, Policy as Compiled};

use super::finding::{Findings, Related};
use super::mesh::{Mesh, Policy, SECURITY, may_meet, omits};
use super::routes::sample_path;
use super::rules;
use crate::manifest::Manifest;
use crate::yaml::{Location, Node};
use spelling::{Normalization, Spelling};

/// What an application with a router for suffixes, or a file system without them, reads as the path itself.
const SUFFIXES: [&str; 3] = [".json", ".", "%20"];

pub fn check(mesh: &Mesh<'_>, findings: &mut Findings) {
    let config = mesh.mesh_config();
    let normalization = config.map(|config| {
        let node = config.get(&["pathNormalization", "normalization"]);
        let mode = node.and_then(Node::as_text).map_or(Normalization::Base, Normalization::of);
        (mode, &node.unwrap_or(config).place)
    });
    for authorization in mesh.of(SECURITY, "AuthorizationPolicy") {
        for list in guards(authorization) {
            // Once is enough: plugins mostly have one policy, or nearly.
            let mut policies = mesh.policies.iter();
            let _ = policies.any(|policy| guarded(mesh, policy, &list, normalization, findings));
        }
        for pattern in all_paths(authorization) {
            let mut policies = mesh.policies.iter();
            let _ = policies.any(|policy| open_ended(policy, authorization, pattern, findings));
        }
    }
}

/// A list of paths that refuses what it matches: a request that it does not recognise gets past it.
struct Guard<'d> {
    authorization: &'d Manifest,
    paths: Vec<&'d Node>,
    /// `denies` or `allows all but`
    verb: &'static str,
}

fn guards(authorization: &Manifest) -> Vec<Guard<'_>> {
    let action = authorization.spec(&["action"]).and_then(Node::as_text).unwrap_or("ALLOW");
    let (key, verb) = match action {
        "DENY" => ("paths", "denies"),
        "CUSTOM" => ("paths", "asks about"),
        "ALLOW" => ("notPaths", "allows all but"),
        _ => return Vec::new(),
    };
    let operations = authorization.spec_list(&["rules"]).iter().flat_map(|rule| rule.list(&["to"]));
    let lists = operations.map(move |to| to.list(&["operation", key]).iter().collect::<Vec<_>>());
    lists.filter(|paths| !paths.is_empty()).map(|paths| Guard { authorization, paths, verb }).collect()
}

fn all_paths(authorization: &Manifest) -> Vec<&Node> {
    let operations = authorization.spec_list(&["rules"]).iter().flat_map(|rule| rule.list(&["to"]));
    operations
        .flat_map(|to| to.list(&["operation", "paths"]).iter().chain(to.list(&["operation", "notPaths"])))
        .collect()
}

/// A template of the policy, as a request.
struct Sample<'p> {
    context: &'p str,
    method: Method,
    path: String,
    /// Where it is in the policy.
    place: String,
}

fn samples(document: &PolicyDocument) -> impl Iterator<Item = Sample<'_>> {
    document.contexts.iter().enumerate().flat_map(|(index, context)| {
        context.matches.iter().flatten().enumerate().filter_map(move |(number, one)| {
            let method = one.methods.iter().flatten().next().map_or("GET", String::as_str);
            Some(Sample {
                context: context.name.as_deref()?,
                method: Method::new(method.as_bytes()),
                path: sample_path(one.path.as_deref()?),
                place: format!("contexts[{index}].match[{number}].path"),
            })
        })
    })
}

/// Whether the policy refuses a path for what an application may read it as.
fn is_refused(compiled: &Compiled, method: Method, path: &str) -> bool {
    compiled.classify(method, path.as_bytes()).ambiguous
}

fn context_of(compiled: &Compiled, method: Method, path: &str) -> String {
    compiled.classify(method, path.as_bytes()).context.name.to_string()
}

fn guarded(
    mesh: &Mesh<'_>,
    policy: &Policy<'_>,
    guard: &Guard<'_>,
    normalization: Option<(Normalization, &Location)>,
    findings: &mut Findings,
) -> bool {
    let (Some(document), Ok(compiled)) = (&policy.document, &policy.compiled) else { return false };
    let header = &document.headers.healthcare_context;
    let mode = normalization.map_or(Normalization::DecodeAndMergeSlashes, |(mode, _)| mode);
    let matches = |path: &str| guard.paths.iter().any(|it| it.as_text().is_some_and(|it| spelling::matches(it, path)));
    for sample in samples(document) {
        let Some(pattern) =
            guard.paths.iter().find(|it| it.as_text().is_some_and(|it| spelling::matches(it, &sample.path)))
        else {
            continue;
        };
        if context_of(compiled, sample.method, &sample.path) != sample.context
            || (!omits(document, header) && is_denied_by_context(mesh, guard.authorization, header, sample.context))
        {
            continue;
        }
        // Only what careplane reads as the same.
        let escaping = |mode: Normalization| -> Vec<Spelling> {
            spelling::all(&sample.path)
                .into_iter()
                .filter(|it| context_of(compiled, sample.method, &it.path) == sample.context)
                .filter(|it| !is_refused(compiled, sample.method, &it.path) && !matches(&mode.apply(&it.path)))
                .collect()
        };
        let now = escaping(mode);
        let at_best = escaping(Normalization::DecodeAndMergeSlashes);
        let related = Related::new(policy.place(&sample.place), format!("context {}", sample.context));
        let title = guard.authorization.title();
        let avoidable: Vec<&Spelling> = now.iter().filter(|it| !at_best.contains(it)).collect();
        if let (Some((mode, place)), [first, ..]) = (normalization, avoidable.as_slice()) {
            findings.add_related(
                &rules::PATH_NORMALIZATION,
                place,
                format!(
                    "with {}, {title} {} {} and does not see {}: expected DECODE_AND_MERGE_SLASHES",
                    mode.as_str(),
                    guard.verb,
                    sample.path,
                    first.path
                ),
                vec![Related::new(&pattern.place, "the path is asked for here"), related.clone()],
            );
        }
        if !at_best.is_empty() {
            let spellings: Vec<&str> = at_best.iter().map(|it| it.path.as_str()).collect();
            findings.add_related(
                &rules::PATH_SPELLING,
                &pattern.place,
                format!(
                    "{title} {} {} and does not see {}: expected also a DENY for `request.headers[{header}]` with \
                     the value {}",
                    guard.verb,
                    sample.path,
                    spellings.join(", "),
                    sample.context
                ),
                vec![related],
            );
        }
        if !now.is_empty() {
            return true;
        }
    }
    false
}

/// Whether some policy for the same proxies refuses by what careplane found the request to be.
fn is_denied_by_context(mesh: &Mesh<'_>, authorization: &Manifest, header: &str, context: &str) -> bool {
    let key = format!("request.headers[{header}]");
    mesh.of(SECURITY, "AuthorizationPolicy").any(|other| {
        let denies = other.spec(&["action"]).and_then(Node::as_text) == Some("DENY") && may_meet(other, authorization);
        let conditions = other.spec_list(&["rules"]).iter().flat_map(|rule| rule.list(&["when"]));
        denies
            && conditions.filter(|when| when.text(&["key"]).is_some_and(|it| it.eq_ignore_ascii_case(&key))).any(
                |when| when.list(&["values"]).iter().filter_map(Node::as_text).any(|it| spelling::matches(it, context)),
            )
    })
}

/// A prefix in the middle of a segment takes suffixes with it that careplane has in another context.
fn open_ended(policy: &Policy<'_>, authorization: &Manifest, pattern: &Node, findings: &mut Findings) -> bool {
    let (Some(document), Ok(compiled)) = (&policy.document, &policy.compiled) else { return false };
    let Some(prefix) = pattern.as_text().and_then(|text| text.strip_suffix('*')).filter(|it| !it.ends_with('/')) else {
        return false;
    };
    let Some(sample) = samples(document).find(|sample| sample.path == prefix) else { return false };
    let others: Vec<(String, String)> = SUFFIXES
        .iter()
        .map(|suffix| format!("{prefix}{suffix}"))
        .filter(|path| !is_refused(compiled, sample.method, path))
        .map(|path| (context_of(compiled, sample.method, &path), path))
        .filter(|(context, _)| context != sample.context)
        .collect();
    let Some((other, _)) = others.first() else { return false };
    let paths: Vec<&str> = others.iter().map(|(_, path)| path.as_str()).collect();
    findings.add_related(
        &rules::PATH_SUFFIX,
        &pattern.place,
        format!(
            "{} has {} for {prefix}*, which careplane puts into context {other}: expected {prefix} and {prefix}/*, \
             or a policy with \
             `paths: {{ambiguous: reject}}`",
            authorization.title(),
            paths.join(", "),
        ),
        vec![Related::new(policy.place(&sample.place), format!("context {}", sample.context))],
    );
    true
}

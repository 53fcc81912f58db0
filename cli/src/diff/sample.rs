//! Paths for templates.

use std::collections::HashSet;

use careplane_policy::{Method, Policy};

/// A value of a parameter that no template has as a word.
const VALUE: &str = "made-up";
/// How deep what `{*rest}` takes is tried: another template can be more specific.
const REST_MAX: usize = 16;

/// A path of a template, or one of `rest` segments.
pub fn path(template: Option<&str>, rest: usize, given: Option<(&str, &str)>) -> String {
    let Some(template) = template else { return format!("/{}", [VALUE].repeat(rest).join("/")) };
    let fill = |segment: &str| {
        let Some(name) = segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) else {
            return segment.to_owned();
        };
        match given {
            Some((given, value)) if given == name => value.to_owned(),
            _ if name.starts_with('*') => [VALUE].repeat(rest).join("/"),
            _ => VALUE.to_owned(),
        }
    };
    template.split('/').map(fill).collect::<Vec<_>>().join("/")
}

/// How many segments `{*rest}` needs, if the template can be reached.
pub fn reach(template: &str, methods: &[&str], policies: &[&Policy]) -> Option<usize> {
    depths(template, methods, policies).first().copied()
}

/// The same for everything that policies make of the paths of a template.
pub fn depths(template: &str, methods: &[&str], policies: &[&Policy]) -> Vec<usize> {
    let mut seen = HashSet::new();
    let is_new = |rest: &usize| {
        let path = path(Some(template), *rest, None);
        let found = |policy: &Policy, method: &str| {
            let about = policy.classify(Method::new(method.as_bytes()), path.as_bytes());
            about.template.map(|found| found.text().to_string())
        };
        let found: Vec<Option<String>> =
            policies.iter().flat_map(|policy| methods.iter().map(|method| found(policy, method))).collect();
        found.iter().flatten().any(|found| found == template) && seen.insert(found)
    };
    let has_rest = template.ends_with('}') && template.contains("{*");
    let deepest = if has_rest { REST_MAX } else { 1 };
    (1..=deepest).filter(is_new).collect()
}

/// How many segments a path needs, and with which methods, so that neither policy has a template for it.
pub fn unmatched(methods: &[&'static str], policies: [&Policy; 2]) -> Option<(usize, Vec<&'static str>)> {
    let of = |depth: usize| {
        let path = path(None, depth, None);
        let is_free = |method: &&&str| {
            let method = Method::new(method.as_bytes());
            policies.iter().all(|policy| policy.classify(method, path.as_bytes()).template.is_none())
        };
        let free: Vec<&'static str> = methods.iter().filter(is_free).copied().collect();
        Some((depth, free)).filter(|(_, free)| !free.is_empty())
    };
    // The root is the last: it is the only path that `/{*rest}` leaves.
    (1..=REST_MAX).chain([0]).find_map(of)
}

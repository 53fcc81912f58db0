//! Paths for templates.

use careplane_policy::{Method, Policy};

/// A value of a parameter that no template has as a word.
const VALUE: &str = "made-up";
/// How deep what `{*rest}` takes is tried: another template can be more specific.
const REST_MAX: usize = 4;

/// A path of a template, or one that no template has.
pub fn path(template: Option<&str>, rest: usize, given: Option<(&str, &str)>) -> String {
    let Some(template) = template else { return format!("/{VALUE}/{VALUE}") };
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
    let reaches = |rest: &usize| {
        let path = path(Some(template), *rest, None);
        let found = |policy: &&Policy, method: &&str| {
            let about = policy.classify(Method::new(method.as_bytes()), path.as_bytes());
            about.template.is_some_and(|found| **found.text() == *template)
        };
        policies.iter().any(|policy| methods.iter().any(|method| found(policy, method)))
    };
    (1..=REST_MAX).find(reaches)
}

//! The grammar of names: what may become a tag, a metric, a subset or a header.

use std::fmt::Arguments;
use std::sync::Arc;

use crate::problem::Problems;

/// Headers that Envoy or the protocol owns, with the reason that the author of a policy reads.
const OWNED: &[(&str, &str)] = &[
    ("host", "Envoy does not let filters write it"),
    ("connection", "it belongs to one connection"),
    ("keep-alive", "it belongs to one connection"),
    ("proxy-connection", "it belongs to one connection"),
    ("transfer-encoding", "it belongs to one connection"),
    ("te", "it belongs to one connection"),
    ("trailer", "it belongs to one connection"),
    ("upgrade", "it belongs to one connection"),
    ("content-length", "it frames the body"),
    ("content-type", "it describes the body"),
    ("authorization", "it carries the token"),
    ("cookie", "it carries the session"),
    ("x-request-id", "Envoy's trace decision is in it"),
    ("traceparent", "W3C Trace Context: filters never edit it"),
    ("tracestate", "W3C Trace Context: filters never edit it"),
    ("baggage", "W3C Baggage: filters never edit it"),
];
const OWNED_PREFIXES: &[(&str, &str)] = &[
    (":", "pseudo-headers route the request"),
    ("x-envoy-", "Envoy owns the prefix"),
    ("x-forwarded-", "proxies own the prefix"),
    ("x-b3-", "it carries a trace"),
];

/// A name that goes on tags, metrics and Kubernetes labels: a DNS label (RFC 1123).
///
/// `path`, here and below, is written only for a problem: a policy can have thousands of names.
pub(super) fn label(path: Arguments<'_>, name: &str, problems: &mut Problems) -> Arc<str> {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    let plain = bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-');
    if !(plain && (1..=63).contains(&bytes.len()) && edge(bytes.first()) && edge(bytes.last())) {
        problems.add(
            path.to_string(),
            format!("{name:?} is not a name: expected 1 to 63 of [a-z0-9-], a letter or digit first and last"),
        );
    }
    name.into()
}

/// The name of an environment variable that holds a key; `example` is one.
pub(super) fn environment(path: &str, name: String, example: &str, problems: &mut Problems) -> String {
    let starts_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if !starts_well || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        problems
            .add(path, format!("{name:?} is not the name of an environment variable: expected such as {example:?}"));
    }
    name
}

/// The name of a header that careplane writes or removes, in lower case.
pub(super) fn header(path: &str, name: &str, problems: &mut Problems) -> Arc<str> {
    let lower = name.to_ascii_lowercase();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let owned = OWNED
        .iter()
        .find(|(owned, _)| *owned == lower)
        .or_else(|| OWNED_PREFIXES.iter().find(|(prefix, _)| lower.starts_with(prefix)));
    if let Some((_, reason)) = owned {
        problems.add(
            path,
            format!("{name:?} cannot be used: {reason}; expected a header of your own, such as \"x-tenant-id\""),
        );
    } else if lower.is_empty() || !lower.bytes().all(token) {
        problems.add(
            path,
            format!("{name:?} is not a header name: expected a token (RFC 9110 §5.6.2), such as \"x-tenant-id\""),
        );
    }
    lower.into()
}

/// A word that goes into a list in a header.
pub(super) fn flag(path: Arguments<'_>, word: &str, problems: &mut Problems) -> Arc<str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if word.is_empty() || word.len() > 63 || !word.bytes().all(plain) {
        problems.add(path.to_string(), format!("{word:?} is not a flag: expected 1 to 63 of [A-Za-z0-9._-]"));
    }
    word.into()
}

/// A length of time as people write it: `2s`, `750ms`, `1m 30s`; never zero.
pub(super) fn duration(path: &str, text: &str, problems: &mut Problems) -> std::time::Duration {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() => duration,
        _ => {
            problems.add(
                path,
                format!("{text:?} is not a length of time above zero: expected such as \"2s\" or \"750ms\""),
            );
            std::time::Duration::ZERO
        }
    }
}

/// An ISO 8601 duration, as FHIR and record stores read it: `P8Y`, `P1Y6M`, `P2W`, `PT12H`.
pub(super) fn iso_duration(path: Arguments<'_>, text: &str, problems: &mut Problems) -> Arc<str> {
    if !is_iso_duration(text) {
        problems.add(
            path.to_string(),
            format!("{text:?} is not an ISO 8601 duration: expected such as \"P8Y\" or \"P6M\""),
        );
    }
    text.into()
}

fn is_iso_duration(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('P') else { return false };
    let (date, time) = match rest.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (rest, None),
    };
    let date_is_good = units_in_order(date, "YMWD");
    let time_is_good = time.is_none_or(|time| !time.is_empty() && units_in_order(time, "HMS"));
    !rest.is_empty() && date_is_good && time_is_good
}

/// Whether `text` is numbers each followed by a unit, the units in the order of `units`, none twice.
fn units_in_order(text: &str, units: &str) -> bool {
    let mut left = units;
    let mut digits = 0_usize;
    for character in text.chars() {
        if character.is_ascii_digit() {
            digits = digits.saturating_add(1);
            continue;
        }
        match left.split_once(character) {
            Some((_, after)) if digits > 0 => left = after,
            _ => return false,
        }
        digits = 0;
    }
    digits == 0
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn iso_durations() {
        for good in ["P8Y", "P1Y6M", "P2W", "P30D", "PT12H", "P1DT2H30M"] {
            assert!(is_iso_duration(good), "{good}");
        }
        for bad in ["", "P", "8Y", "P8", "PY", "P6M1Y", "PT", "P1DT", "P1H", "P1Y1Y", "P-1Y"] {
            assert!(!is_iso_duration(bad), "{bad}");
        }
    }
}

//! What is remarkable about one request, in words: each word from what was seen.

use super::{observation::Observation, step::Step};
use crate::record::Record;

/// The remarks, most important first.
pub fn remarks(step: &Step, seen: &Observation) -> Vec<String> {
    let mut remarks = Vec::new();
    refusal(seen, &mut remarks);
    failure(seen, &mut remarks);
    identity(step, seen, &mut remarks);
    subject(step, seen, &mut remarks);
    if let Some(received) = seen.received.as_ref().filter(|received| received.path != step.path) {
        remarks.push(format!("the application got {}", received.path));
    }
    detour(seen, &mut remarks);
    if let Some(cohort) = seen.cohort().filter(|_| seen.received.is_some()) {
        remarks.push(format!("cohort {cohort}"));
    }
    let flags = seen.record().map(|record| record.texts("/context/flags")).unwrap_or_default();
    if !flags.is_empty() {
        remarks.push(format!("flagged {}", flags.join(", ")));
    }
    draw(seen, &mut remarks);
    if seen.record.is_none() {
        remarks.push("no audit record".to_owned());
    }
    remarks
}

fn refusal(seen: &Observation, remarks: &mut Vec<String>) {
    let Some(record) = seen.record() else { return };
    let Some((by, reason)) = record.refusal() else { return };
    let other = record.text("/tenant/other").map(|tenant| format!(" (reached for {tenant})")).unwrap_or_default();
    remarks.push(format!("refused by {by}: {reason}{other}"));
}

fn failure(seen: &Observation, remarks: &mut Vec<String>) {
    let Some(record) = seen.record().filter(|record| record.refusal().is_none()) else { return };
    for flag in record.texts("/outcome/flags") {
        remarks.push(match flag {
            "UF" => "no connection to the upstream (UF)".to_owned(),
            "UT" => "the upstream took too long (UT)".to_owned(),
            other => format!("response flag {other}"),
        });
    }
}

fn identity(step: &Step, seen: &Observation, remarks: &mut Vec<String>) {
    let Some(record) = seen.record() else { return };
    beyond(record, remarks);
    let peer = record.text("/who/peer").map(|peer| peer.rsplit('/').next().unwrap_or(peer));
    if let (Some(peer), Some("header")) = (peer, record.text("/tenant/source")) {
        remarks.push(format!("{peer} is believed: the tenant is from its header"));
    }
    let forged: Vec<String> =
        record.texts("/who/forgedHeaders").into_iter().map(|name| claim(name, step, seen)).collect();
    if !forged.is_empty() {
        remarks.push(format!("{} is not believed: {}", peer.unwrap_or("the outsider"), forged.join(", ")));
    }
}

/// For which of several homes, or beyond them.
fn beyond(record: Record<'_>, remarks: &mut Vec<String>) {
    let homes = record.0.pointer("/tenant/membership").and_then(serde_json::Value::as_u64);
    if let (Some(homes), Some(by)) = (homes, record.text("/tenant/selectedBy")) {
        remarks.push(format!("one of {homes} homes of the token, selected by the {by}"));
    }
    let purpose = record.text("/who/purpose").map(|code| format!(" for {code}")).unwrap_or_default();
    match record.text("/decision/grant") {
        Some(grant) if record.refusal().is_none() => remarks.push(format!("by the grant {grant}{purpose}")),
        Some(grant) => remarks.push(format!("the grant {grant} does not allow it{purpose}")),
        None => {}
    }
}

/// A header that was not believed: what it said, and what the application got in its place.
fn claim(name: &str, step: &Step, seen: &Observation) -> String {
    let sent = step.headers.iter().filter(|(header, _)| *header == name).map(|(_, value)| *value);
    let sent = sent.collect::<Vec<_>>().join(" and ");
    match seen.upstream_header(name) {
        Some(value) => format!("{name} {sent} became {value}"),
        None => format!("{name} {sent}"),
    }
}

/// Where the route is neither of the tenant's pool nor of its cohort.
fn detour(seen: &Observation, remarks: &mut Vec<String>) {
    let (pool, cohort) = (seen.pool(), seen.cohort());
    let Some(cluster) = seen.cluster() else { return };
    if pool.as_deref() != Some(cluster) && cohort.as_deref() != Some(cluster) {
        remarks.push(match pool {
            Some(_) => format!("Envoy routes this path to {cluster} whatever the pool"),
            None => format!("Envoy routes what has no tenant to {cluster}"),
        });
    }
}

fn subject(step: &Step, seen: &Observation, remarks: &mut Vec<String>) {
    let Some(pseudonym) = seen.record().and_then(|record| record.text("/context/subject")) else { return };
    // What the path template calls {id}: the segment of the path that the template does not spell out.
    let Some(number) = step.path.split(['/', '?']).find(|segment| is_ten_digits(segment)) else { return };
    let places = [("record", seen.is_in_record(number)), ("span", seen.is_in_span(number))];
    let found: Vec<&str> = places.iter().filter(|(_, found)| *found).map(|(place, _)| *place).collect();
    remarks.push(match found[..] {
        [] => format!("NHS number in neither record nor span; the record says {}", shortened(pseudonym)),
        _ => format!("NHS NUMBER IN THE {}", found.join(" AND ").to_uppercase()),
    });
}

fn is_ten_digits(text: &str) -> bool {
    text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn shortened(pseudonym: &str) -> String {
    pseudonym.chars().take(15).chain(['…']).collect()
}

/// The random number that decided, where a tier did.
fn draw(seen: &Observation, remarks: &mut Vec<String>) {
    let Some(record) = seen.record() else { return };
    let open = |rate: &str| !matches!(rate, "0" | "100") && record.text("/trace/reason") == Some("tier");
    let random = record.text("/request/id").and_then(|id| u64::from_str_radix(id.get(..8)?, 16).ok());
    if let Some(random) = random.filter(|_| record.text("/trace/rate").is_some_and(open)) {
        let (whole, hundredths) = ((random % 10_000) / 100, random % 100);
        remarks.push(format!("drew {whole}.{hundredths:02}"));
    }
}

//! The words of the records in those of a reader who is not an engineer, and how figures and times are written.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::aggregate::Denial;
use super::scope::Scope;
use crate::acts::Placement;
use crate::source::Sink;
use crate::verify::Verdict;

/// What a refusal means.
pub(crate) fn denial(denial: &Denial) -> &'static str {
    match (denial.by.as_str(), denial.reason.as_str()) {
        ("careplane", "tenant-conflict") => "Asked for another organisation’s data than the caller’s own",
        ("careplane", "tenant-missing") => "Did not show for which organisation it was made",
        ("careplane", "tenant-unknown") => "Came from an organisation that is not known to the platform",
        ("careplane", "tenant-malformed") => "Named an organisation in a form that none can have",
        ("careplane", "user-conflict") => "Named another person than the one who was signed in",
        ("careplane", "user-malformed") => "Named a person in a form that none can have",
        ("careplane", "path-ambiguous") => "Had an address that can be read in more than one way",
        ("careplane", "identity-repeated") => "Gave the caller’s identity more than once",
        ("careplane", "evidence-unavailable") => "Could not be put on record first, so it was not carried out",
        ("jwt_authn", _) => "The proof of who was calling was missing, out of date or not valid",
        ("rbac", _) => "The platform’s access rules do not let this caller in here",
        ("rate_limit", _) => "Too many requests in a short time",
        ("ext_authz", _) => "The authorisation service said no",
        ("csrf", _) => "Was sent by a page of another site",
        ("oauth2" | "basic_auth" | "api_key_auth", _) => "The caller was not signed in",
        ("cors", _) => "Came from a page of a site that may not use the platform",
        ("careplane", "tenant-unselected") => "Did not say for which of the caller’s organisations it was made",
        ("careplane", "grant-action") => "Wanted more of another organisation than the caller’s grant allows",
        ("careplane", "grant-purpose") => "Reached beyond the caller’s organisations without a reason that is accepted",
        ("careplane", "grant-limit") => "Reached beyond the caller’s organisations more often than is allowed",
        _ => "Refused by a part of the platform that this report has no words for",
    }
}

/// What somebody wanted it for, in HL7's words, with the code.
pub(crate) fn purpose(code: &str) -> String {
    match crate::purpose::display(code) {
        _ if code.is_empty() => "no reason given".to_owned(),
        // HL7 writes some in capitals, and some not.
        Some(words) => format!("{} ({code})", words.to_lowercase()),
        None => code.to_owned(),
    }
}

/// What a failure means: that of Envoy's response flags, the first one that says something.
pub(crate) fn failure(status: Option<u16>, flags: &str, by: &str) -> &'static str {
    if status.is_some_and(|status| status < 400) {
        return "The answer was cut off on its way";
    }
    let meaning = flags.split(',').find_map(|flag| {
        Some(match flag {
            "UF" | "UC" => "The connection to the application broke",
            "UH" | "NC" => "No healthy copy of the application was there",
            "UO" => "The application was protected from too many requests",
            "UT" | "SI" | "DT" => "The application did not answer in time",
            "URX" => "Every repeated attempt failed",
            "NR" => "The platform had no route for it",
            "DC" | "DR" => "The caller went away before there was an answer",
            "LR" | "UR" => "The connection was reset",
            _ => return None,
        })
    });
    meaning.unwrap_or(match (status, by) {
        (_, "caller") => "The caller went away before there was an answer",
        (Some(_), "proxy") => "The platform could not hand it to an application",
        (Some(_), _) => "The application answered with an error",
        (None, _) => "There was no answer",
    })
}

/// What was done.
pub(crate) fn action(action: &str) -> &str {
    match action {
        "create" => "Added something",
        "read" => "Looked something up",
        "update" => "Changed something",
        "delete" => "Removed something",
        "execute" => "Carried something out",
        other => other,
    }
}

/// The sink that a record was read from.
pub(crate) fn sink(sink: Sink) -> &'static str {
    match sink {
        Sink::Collector => "Sent to the collector",
        Sink::AccessLog => "Written to an access log",
        Sink::ProxyLog => "Written to a proxy’s own log",
    }
}

/// Where a proxy stands.
pub(crate) fn placement(placement: Placement) -> &'static str {
    match placement {
        Placement::Gateway => "At the edge of the platform",
        Placement::Outbound => "Where a service sends requests",
        Placement::Inbound => "In front of a service",
        Placement::Unknown => "Not said by the record",
    }
}

/// What became of a chain.
pub(crate) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Complete => "Complete",
        Verdict::Open => "Complete so far",
        Verdict::Cut => "Not heard of until the end",
        Verdict::Broken => "Broken",
        Verdict::Unverified => "Not checked for changes",
    }
}

/// Who inspects, in full.
pub(crate) fn regulator(regulator: &str) -> &str {
    match regulator {
        "CQC" => "Care Quality Commission (CQC), England",
        "Care Inspectorate" => "Care Inspectorate, Scotland",
        "CIW" => "Care Inspectorate Wales (CIW)",
        "RQIA" => "Regulation and Quality Improvement Authority (RQIA), Northern Ireland",
        other => other,
    }
}

/// A count of things in memory.
pub(crate) fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// A count with its thousands apart.
pub(crate) fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut written = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            written.push(',');
        }
        written.push(digit);
    }
    written
}

/// A count and its noun: `noun` for one, with an `s` for any other number.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", number(count), if count == 1 { "" } else { "s" })
}

/// `part` of `whole`, in percent with one decimal; what is there never reads as nothing.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    let share = ratio(part, whole) * 100.0;
    match share {
        _ if part == 0 => "0 %".to_owned(),
        ..0.1 => "under 0.1 %".to_owned(),
        99.95.. if part < whole => "over 99.9 %".to_owned(),
        _ => format!("{share:.1} %"),
    }
}

/// `part` of `whole`, from 0 to 1.
#[expect(clippy::cast_precision_loss, reason = "for a picture or one decimal")]
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// A day: `1 October 2026`.
pub(crate) fn day(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%-d %B %Y").to_string()
}

/// A moment, to the minute: `1 Oct 2026, 06:00`.
pub(crate) fn moment(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%-d %b %Y, %H:%M").to_string()
}

/// From one moment to another; one alone when they read the same.
pub(crate) fn span(first: Timestamp, last: Timestamp) -> String {
    let (first, last) = (moment(first), moment(last));
    if first == last { first } else { format!("{first} to {last}") }
}

/// The period of a scope, in days where it is made of whole ones.
pub(crate) fn period(scope: &Scope) -> String {
    const DAY: i64 = 86_400;
    let whole_days = [scope.from, scope.to]
        .into_iter()
        .flatten()
        .all(|time| time.as_second() % DAY == 0 && time.subsec_nanosecond() == 0);
    let (from, to) = if whole_days {
        let last = scope.to.map(|to| Timestamp::from_second(to.as_second() - 1).unwrap_or(to));
        (scope.from.map(day), last.map(day))
    } else {
        (scope.from.map(moment), scope.to.map(moment))
    };
    match (from, to) {
        (Some(from), Some(to)) if from == to => from,
        (Some(from), Some(to)) => format!("{from} to {to}"),
        (Some(from), None) => format!("from {from}"),
        (None, Some(to)) => format!("until {to}"),
        (None, None) => "no limits: all that was given".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([counted(1, "request"), counted(2, "request")], ["1 request", "2 requests"]);
        let shares = [(0, 10), (1, 100_000), (1, 8), (99_999, 100_000), (10, 10)];
        assert_eq!(
            shares.map(|(part, whole)| percent(part, whole)),
            ["0 %", "under 0.1 %", "12.5 %", "over 99.9 %", "100.0 %"]
        );
    }

    #[test]
    fn a_period_of_whole_days_is_told_in_days() {
        let scope = |from: &str, to: &str| Scope {
            from: Some(Scope::bound(from).unwrap()),
            to: Some(Scope::bound(to).unwrap()),
            ..Scope::default()
        };
        assert_eq!(period(&scope("2026-10-01", "2026-11-01")), "1 October 2026 to 31 October 2026");
        assert_eq!(period(&scope("2026-10-01", "2026-10-02")), "1 October 2026");
        let hours = scope("2026-10-01T06:00:00Z", "2026-10-01T18:00:00Z");
        assert_eq!(period(&hours), "1 Oct 2026, 06:00 to 1 Oct 2026, 18:00");
    }
}

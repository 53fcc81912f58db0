//! The report as a page: one file of HTML that asks for nothing else, runs nothing, and can be printed.

use std::collections::BTreeMap;

use super::aggregate::Aggregate;
use super::completeness::{Account, Completeness};
use super::plot::{Columns, Series, Timeline};
use super::reach::{Beyond, Emergencies};
use super::sections::{
    Attempts, Chains, CountRow, Delivery, Hops, Level, People, Tallies, actions, by_name, denials, failures, levels,
    refused_calls, would_refuse,
};
use super::words::{self, counted, number};
use crate::counts::{Counts, Tally};
use askama::Template;

/// The title of a report without a given one.
const TITLE: &str = "Who used the records of people in care";

/// The page. All text is escaped by the template.
#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    title: &'a str,
    regulator: Option<&'a str>,
    tenant: Option<&'a str>,
    period: String,
    made: String,
    judged: String,
    version: &'static str,
    completeness: Completeness,
    reasons: &'a [String],
    total: Counts,
    summary: Vec<String>,
    timeline: Option<(&'static str, Columns, Columns)>,
    levels: Vec<Level<'a>>,
    actions: Vec<CountRow<'a>>,
    flags: Vec<CountRow<'a>>,
    tenants: Vec<CountRow<'a>>,
    denials: Tallies,
    refused_calls: u64,
    would_refuse: Tallies,
    attempts: Attempts<'a>,
    emergencies: Emergencies<'a>,
    beyond: Beyond<'a>,
    people: People<'a>,
    hops: Hops,
    failures: Tallies,
    delivery: Delivery,
    chains: Chains<'a>,
    policies: &'a BTreeMap<String, Tally>,
    forged: Vec<(&'a str, String)>,
    outside: Vec<String>,
    commands: String,
}

/// Writes the report of `aggregate` as one HTML file. `title` is its heading.
///
/// # Errors
/// When it cannot be written: memory alone.
pub fn html(aggregate: &Aggregate, title: Option<&str>) -> Result<String, askama::Error> {
    let account = Account::of(aggregate);
    let scope = &aggregate.scope;
    let attempts = Attempts::of(aggregate);
    let people = People::of(aggregate);
    let emergencies = Emergencies::of(aggregate);
    let page = Page {
        title: title.unwrap_or(TITLE),
        regulator: scope.regulator.as_deref().map(words::regulator),
        tenant: scope.tenant.as_deref(),
        period: words::period(scope),
        made: words::moment(aggregate.made),
        judged: judged(aggregate),
        version: env!("CARGO_PKG_VERSION"),
        completeness: account.completeness,
        reasons: &account.reasons,
        total: aggregate.total,
        summary: summary(aggregate, &attempts, &emergencies, &people),
        timeline: timeline(aggregate),
        levels: levels(aggregate),
        actions: actions(aggregate),
        flags: by_name(&aggregate.flags),
        tenants: by_name(&aggregate.tenants),
        denials: denials(aggregate),
        refused_calls: refused_calls(aggregate),
        would_refuse: would_refuse(aggregate),
        attempts,
        emergencies,
        beyond: Beyond::of(aggregate),
        people,
        hops: Hops::of(aggregate),
        failures: failures(aggregate),
        delivery: Delivery::of(aggregate),
        chains: Chains::of(&account),
        policies: &aggregate.policies,
        forged: aggregate.forged.iter().map(|(header, count)| (header.as_str(), number(*count))).collect(),
        outside: outside(aggregate),
        commands: commands(aggregate),
    };
    page.render()
}

/// How long chains were followed.
fn judged(aggregate: &Aggregate) -> String {
    match (aggregate.scope.to, aggregate.verification.as_of) {
        (Some(to), _) if to <= aggregate.made => "the end of the period".to_owned(),
        (Some(_), Some(as_of)) => format!("{}, for the period is not over", words::moment(as_of.into())),
        (_, Some(as_of)) => format!("{}, when the report was made", words::moment(as_of.into())),
        (_, None) => "the last record".to_owned(),
    }
}

/// The report in sentences.
fn summary(
    aggregate: &Aggregate,
    attempts: &Attempts<'_>,
    emergencies: &Emergencies<'_>,
    people: &People<'_>,
) -> Vec<String> {
    let total = aggregate.total;
    let mut sentences = vec![format!(
        "In this period the platform recorded {}, each counted once. {} the application answered, {} it turned down, \
         {} failed, and {} were refused.",
        counted(total.total(), "request"),
        number(total.answered),
        number(total.declined),
        number(total.failed),
        number(total.refused),
    )];
    if people.users > 0 {
        sentences.push(format!(
            "They were made by {}, and concerned {}.",
            counted(people.users, "user"),
            match people.subjects {
                1 => "1 person in care".to_owned(),
                many => format!("{} people in care", number(many)),
            }
        ));
    }
    sentences.push(match (attempts.refused, attempts.passed) {
        (0, 0) => "Nobody asked for another organisation’s data.".to_owned(),
        (refused, 0) => format!(
            "{} asked for another organisation’s data; {} refused.",
            counted(refused, "request"),
            if refused == 1 { "it was" } else { "all were" }
        ),
        (refused, passed) => format!(
            "{} named another organisation: {} refused, {} let through. The ones let through need an explanation.",
            counted(refused + passed, "request"),
            number(refused),
            number(passed)
        ),
    });
    sentences.push(match emergencies.allowed + emergencies.refused {
        0 => "Emergency access was not used.".to_owned(),
        total => format!(
            "Emergency access was used or tried in {}, by {}. Each needs an explanation.",
            counted(total, "request"),
            emergencies.by,
        ),
    });
    sentences
}

fn timeline(aggregate: &Aggregate) -> Option<(&'static str, Columns, Columns)> {
    let timeline = Timeline::new(&aggregate.hours, aggregate.scope.from, aggregate.scope.to)?;
    let step = timeline.step();
    let all = [Series { class: "all", noun: "request", of: Counts::total }];
    let trouble = [
        Series { class: "refused", noun: "refusal", of: |counts| counts.refused },
        Series { class: "failed", noun: "failure", of: |counts| counts.failed },
    ];
    let all = timeline.plot("plot-all", format!("Requests in each {step}"), &all);
    let trouble = timeline.plot("plot-trouble", format!("Refusals and failures in each {step}"), &trouble);
    Some((step, all, trouble))
}

/// What was read and is not in the figures.
fn outside(aggregate: &Aggregate) -> Vec<String> {
    let outside = aggregate.outside;
    let mut told = Vec::new();
    if outside.other_time > 0 {
        told.push(format!("{} from before or after the period", counted(outside.other_time, "request")));
    }
    if outside.other > 0 {
        told.push(format!("{} of other regulators or organisations", counted(outside.other, "request")));
    }
    if outside.unattributed > 0 {
        told.push(format!(
            "{} within the period that named no organisation, or one without a regulator: most often refused ones, \
             because they did not say who was asking",
            counted(outside.unattributed, "request")
        ));
    }
    if aggregate.unreadable > 0 {
        told.push(format!(
            "{} that the proxy could not read: they are counted, in the context for everything unknown",
            counted(aggregate.unreadable, "request")
        ));
    }
    if aggregate.beyond.rows > 0 {
        told.push(format!("{} without a row, because a table was full", counted(aggregate.beyond.rows, "request")));
    }
    told
}

/// How a reader makes this report again.
fn commands(aggregate: &Aggregate) -> String {
    let scope = &aggregate.scope;
    let options = [
        ("--from", scope.from.map(|from| from.to_string())),
        ("--to", scope.to.map(|to| to.to_string())),
        ("--regulator", scope.regulator.clone()),
        ("--tenant", scope.tenant.clone()),
    ];
    let options: String =
        options.into_iter().filter_map(|(name, value)| Some(format!(" {name} {}", quoted(&value?)))).collect();
    format!("careplane audit verify records…\ncareplane audit report{options} records… > report.html")
}

/// A word for a POSIX shell.
fn quoted(word: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-_.:/".contains(char);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_copied_whatever_the_tenant_is_called() {
        assert_eq!(quoted("2026-10-01T00:00:00Z"), "2026-10-01T00:00:00Z");
        assert_eq!(quoted("Care Inspectorate"), "'Care Inspectorate'");
        assert_eq!(quoted("a'; rm b"), r"'a'\''; rm b'");
    }
}

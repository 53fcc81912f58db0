//! A verification in lines for people: what is wrong with its place, the chains, and a summary.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use careplane_evidence::verify::{ChainReport, Demands, Tail, Verdict, Verification};

use super::plain::plain;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const NOTE: Style = AnsiColor::Cyan.on_default().bold();
const WELL: Style = AnsiColor::Green.on_default().bold();
const UNSURE: Style = AnsiColor::Yellow.on_default().bold();

pub fn text(verification: &Verification, demands: Demands, all: bool) -> String {
    let mut text = String::new();
    for unreadable in &verification.unreadable {
        let (place, why) = (unreadable.place.to_string(), plain(&unreadable.why));
        text += &format!("{}: {ERROR}error{ERROR:#}: {why} [unreadable]\n", plain(&place));
    }
    more(&mut text, verification.unreadable_count, verification.unreadable.len(), "unreadable records");
    for chain in &verification.chains {
        findings(&mut text, chain, demands);
    }
    for chain in &verification.chains {
        if all || chain.verdict != Verdict::Complete || !chain.holds(demands) {
            text += &line(chain, verification, demands);
        }
    }
    text + &summary(verification)
}

fn findings(text: &mut String, chain: &ChainReport, demands: Demands) {
    for finding in &chain.findings {
        let is_error = finding.is_fault() || demands.ordered;
        let (style, level) = if is_error { (ERROR, "error") } else { (NOTE, "note") };
        let (location, word) = (finding.location().to_string(), finding.word());
        let finding = finding.to_string();
        let (location, finding) = (plain(&location), plain(&finding));
        *text += &format!("{location}: {style}{level}{style:#}: chain {}: {finding} [{word}]\n", chain.id);
    }
    let faults = chain.findings.iter().filter(|finding| finding.is_fault()).count();
    more(text, chain.faults, faults, &format!("faults in chain {}", chain.id));
    more(text, chain.reordered, chain.findings.len() - faults, &format!("records out of order in chain {}", chain.id));
}

/// Says how many were not listed.
fn more(text: &mut String, count: u64, listed: usize, what: &str) {
    let rest = count.saturating_sub(listed as u64);
    if rest > 0 {
        *text += &format!("… and {} more {what}\n", number(rest));
    }
}

fn line(chain: &ChainReport, verification: &Verification, demands: Demands) -> String {
    let style = match chain.verdict {
        _ if !chain.holds(demands) => ERROR,
        Verdict::Complete => WELL,
        Verdict::Open | Verdict::Cut | Verdict::Unverified | Verdict::Broken => UNSURE,
    };
    let mut line = format!("chain {}: {style}{}{style:#}", chain.id, word(chain.verdict));
    match chain.records {
        0 => line += ": none of its records has its hash",
        _ => line += &format!(": records {} to {}", chain.first, chain.last),
    }
    for (count, what) in [
        (chain.missing, "missing"),
        (chain.edited, "changed"),
        (chain.duplicates, "copies"),
        (chain.reordered, "out of order"),
    ] {
        if count > 0 {
            line += &format!(", {} {what}", number(count));
        }
    }
    if demands.keyed && chain.unkeyed > 0 {
        line += &format!(", {} without a key", number(chain.unkeyed));
    }
    line += &tail(chain);
    if chain.unverified > 0 {
        let given = if verification.keys.is_empty() { "none is given".into() } else { verification.keys.join(", ") };
        line += &format!(
            "; its keys are {}, given: {given}; without the key a change does not show",
            plain(&chain.keys.join(", "))
        );
    }
    if let Some(proxy) = &chain.proxy {
        line += &format!("; proxy {}", plain(proxy));
    }
    line + "\n"
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Complete => "complete",
        Verdict::Open => "open",
        Verdict::Cut => "cut",
        Verdict::Unverified => "unverified",
        Verdict::Broken => "broken",
    }
}

fn tail(chain: &ChainReport) -> String {
    let until = chain.until.map(|until| until.to_string()).unwrap_or_default();
    match chain.tail {
        Tail::Ended => format!("; ended {until}"),
        Tail::Live => format!("; no end yet, last heard of {until}"),
        Tail::Silent => {
            format!("; no end, and silent since {until}: what came after record {} can be missing", chain.last)
        }
        Tail::Unknown if chain.records == 0 => String::new(),
        Tail::Unknown => {
            format!("; last record {until}; without start, heads and end, later records may be missing")
        }
    }
}

fn summary(verification: &Verification) -> String {
    let mut text = match verification.chains.len() {
        0 => "no chains".to_owned(),
        1 => "1 chain:".to_owned(),
        chains => format!("{} chains:", number(chains as u64)),
    };
    let verdicts = [Verdict::Complete, Verdict::Open, Verdict::Cut, Verdict::Unverified, Verdict::Broken];
    let counts = verdicts.map(|verdict| (verification.count(verdict) as u64, word(verdict)));
    for (index, (count, word)) in counts.into_iter().filter(|(count, _)| *count > 0).enumerate() {
        let _ = write!(text, "{} {} {word}", if index == 0 { "" } else { "," }, number(count));
    }
    let sum = |of: fn(&ChainReport) -> u64| verification.chains.iter().map(of).sum::<u64>();
    let input = &verification.input;
    text += &format!("; {} records in {} lines", number(sum(|chain| chain.records)), number(input.lines));
    for (count, what) in [
        (sum(|chain| chain.missing), "missing"),
        (sum(|chain| chain.edited), "changed"),
        (verification.unreadable_count, "unreadable"),
        (sum(|chain| chain.duplicates), "copies"),
        (input.skipped, "lines of other things"),
    ] {
        if count > 0 {
            text += &format!(", {} {what}", number(count));
        }
    }
    let shard = verification.shard.as_ref().map(|shard| format!("shard {shard}: ")).unwrap_or_default();
    format!("{shard}{text}\n")
}

/// With commas between thousands.
fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

//! Whether the record is complete: what verification found of the chains that the report's records are from.

use std::collections::BTreeMap;

use super::aggregate::Aggregate;
use super::chains::{self, ChainLine, Seen};
use super::words::{as_u64, counted, number};
use crate::verify::{Tail, Verdict};

/// What can be said of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Completeness {
    /// Every chain is whole.
    Complete,
    /// Something is missing or was changed, or may be.
    Doubtful,
    /// Nobody has looked.
    Unknown,
}

/// The chains of a report, and what is to be said of them.
pub(super) struct Account<'a> {
    pub completeness: Completeness,
    /// Why, when it is not complete; a sentence each.
    pub reasons: Vec<String>,
    /// Chains by verdict; without one, those that no verification has.
    pub verdicts: BTreeMap<Option<Verdict>, u64>,
    /// The chains, those to look at first.
    pub chains: Vec<(&'a str, &'a Seen, Option<&'a ChainLine>)>,
    /// Chains with records that have no key.
    pub unkeyed: u64,
}

// === impl Account ===

impl<'a> Account<'a> {
    /// Looks at the chains that have records in the period.
    pub(super) fn of(aggregate: &'a Aggregate) -> Self {
        let scope = &aggregate.scope;
        let mut chains: Vec<_> = aggregate
            .chains
            .iter()
            .filter(|(_, seen)| {
                scope.from.is_none_or(|from| seen.last >= from) && scope.to.is_none_or(|to| seen.first < to)
            })
            .map(|(id, seen)| (id.as_str(), seen, aggregate.verdicts.get(id)))
            .collect();
        // Worst first; the ones without a verdict before all.
        chains.sort_by_key(|(_, _, line)| std::cmp::Reverse(line.map_or(u8::MAX, |line| line.verdict as u8)));
        let mut verdicts = BTreeMap::new();
        for (_, _, line) in &chains {
            *verdicts.entry(line.map(|line| line.verdict)).or_default() += 1;
        }
        let held = chains.iter().flat_map(|(_, seen, _)| seen.held.values());
        let unanswered = as_u64(held.filter(|intent| intent.within).count());
        let mut account =
            Self { completeness: Completeness::Unknown, reasons: Vec::new(), verdicts, unkeyed: 0, chains };
        account.unkeyed = account.count(|_, line| line.unkeyed > 0);
        let is_checked = !aggregate.verdicts.is_empty() && !account.chains.is_empty();
        account.reasons = if account.chains.is_empty() {
            vec!["No record of this period was given.".to_owned()]
        } else if aggregate.verdicts.is_empty() {
            vec!["The chains of the record have not been checked for this report.".to_owned()]
        } else {
            account.doubts()
        };
        account.reasons.extend(input_doubts(aggregate, unanswered));
        account.completeness = match (is_checked, account.reasons.is_empty()) {
            (false, _) => Completeness::Unknown,
            (true, true) => Completeness::Complete,
            (true, false) => Completeness::Doubtful,
        };
        account
    }

    /// How many chains have a verdict, and are so.
    fn count(&self, is: impl Fn(&Seen, &ChainLine) -> bool) -> u64 {
        as_u64(self.chains.iter().filter(|(_, seen, line)| line.is_some_and(|line| is(seen, line))).count())
    }

    fn of_verdict(&self, verdict: Option<Verdict>) -> Option<u64> {
        self.verdicts.get(&verdict).copied()
    }

    fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if let Some(count) = self.of_verdict(None) {
            doubts.push(format!("{} not checked.", was(count, "chain of the record")));
        }
        if let Some(count) = self.of_verdict(Some(Verdict::Broken)) {
            doubts.push(format!("In {}, records are missing or were changed.", counted(count, "chain")));
        }
        if let Some(count) = self.of_verdict(Some(Verdict::Cut)) {
            doubts.push(format!(
                "{} without an end: the proxy stopped without saying so, and its last records may be missing.",
                was(count, "chain")
            ));
        }
        if let Some(count) = self.of_verdict(Some(Verdict::Unverified)) {
            doubts.push(format!(
                "{} checked without the key: missing records would show, changed ones would not.",
                was(count, "chain")
            ));
        }
        let endless = self.count(|_, line| line.tail == Some(Tail::Unknown));
        if endless > 0 {
            doubts.push(format!(
                "Of {}, the end cannot be judged: the proxy never says how far it has come.",
                counted(endless, "chain")
            ));
        }
        let differing =
            self.count(|seen, line| line.verdict < Verdict::Cut && line.records != chains::count(&seen.all()));
        if differing > 0 {
            doubts.push(format!(
                "Of {}, this report was given other records than the check.",
                counted(differing, "chain")
            ));
        }
        doubts
    }
}

/// What is wrong with the input itself.
fn input_doubts(aggregate: &Aggregate, unanswered: u64) -> Vec<String> {
    let mut doubts = Vec::new();
    if aggregate.outside.broken > 0 {
        doubts.push(format!("{} could not be read.", counted(aggregate.outside.broken, "damaged line")));
    }
    if unanswered > 0 {
        doubts.push(format!("Of {}, only the beginning is on record.", counted(unanswered, "request")));
    }
    if let Some(ledger) = aggregate.ledger {
        if ledger.lost > 0 {
            doubts.push(format!("The proxies count {} as lost.", counted(ledger.lost, "record")));
        }
        if ledger.unaccounted() != 0 {
            doubts.push("The proxies’ own counters do not add up.".to_owned());
        }
    }
    doubts
}

fn was(count: u64, chain: &str) -> String {
    match count {
        1 => format!("1 {chain} was"),
        many => format!("{} {} were", number(many), chain.replacen("chain", "chains", 1)),
    }
}

//! Whether the record is complete: what verification found, in the same reading, of the chains that the figures are
//! from.

use std::collections::BTreeMap;
use std::time::Duration;

use super::aggregate::Aggregate;
use super::intents::Unfinished;
use super::scope::Scope;
use super::words::{as_u64, counted, moment, number};
use crate::verify::{ChainReport, SILENT_AFTER, Tail, Time, Verdict, Verification};

/// How many proxies a sentence names.
const NAMED: usize = 5;

/// What can be said of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Completeness {
    /// Every chain is whole, and reaches to the end of the period.
    Complete,
    /// Something is missing or was changed, or may be.
    Doubtful,
}

/// The chains of a report, and what is to be said of them.
pub(super) struct Account<'a> {
    pub completeness: Completeness,
    /// Why, when it is not complete; a sentence each, the gravest first.
    pub reasons: Vec<String>,
    /// Chains by verdict.
    pub verdicts: BTreeMap<Verdict, u64>,
    /// The chains, those to look at first.
    pub chains: Vec<&'a ChainReport>,
    /// Chains with records that have no key.
    pub unkeyed: u64,
}

// === impl Account ===

impl<'a> Account<'a> {
    /// Looks at the chains that can have records in the period: those that have, and those that never said that they
    /// ended before it.
    pub(super) fn of(aggregate: &'a Aggregate) -> Self {
        let mut account = Self::of_chains(&aggregate.verification, &aggregate.scope);
        account.reasons.extend(missing(aggregate, &account.chains));
        account.reasons.extend(input_doubts(aggregate));
        if !account.reasons.is_empty() {
            account.completeness = Completeness::Doubtful;
        }
        account
    }

    /// The same without what is known from elsewhere.
    fn of_chains(verification: &'a Verification, scope: &Scope) -> Self {
        let (from, to) = (scope.from.map(Time::from), scope.to.map(Time::from));
        let can_have = |chain: &&ChainReport| {
            let begins = oldest(chain).is_none_or(|oldest| to.is_none_or(|to| oldest < to));
            let reaches = chain.until.is_none_or(|until| from.is_none_or(|from| until >= from));
            // Without the key, an `end` cannot be checked, so it can be forged.
            let has_ended = chain.ended && chain.unverified == 0;
            begins && (reaches || !has_ended)
        };
        let mut chains: Vec<_> = verification.chains.iter().filter(can_have).collect();
        chains.sort_by_key(|chain| std::cmp::Reverse(chain.verdict));
        let mut verdicts = BTreeMap::new();
        for chain in &chains {
            *verdicts.entry(chain.verdict).or_default() += 1;
        }
        let unkeyed = as_u64(chains.iter().filter(|chain| chain.unkeyed > 0).count());
        let mut account = Self { completeness: Completeness::Complete, reasons: Vec::new(), verdicts, chains, unkeyed };
        if account.chains.is_empty() {
            account.reasons.push("No record of this period was given.".to_owned());
        }
        account.reasons.extend(reach(verification, scope));
        account.reasons.extend(account.doubts(&verification.keys));
        if verification.unreadable_count > 0 {
            account
                .reasons
                .push(format!("{} could not be read.", counted(verification.unreadable_count, "damaged record")));
        }
        if !account.reasons.is_empty() {
            account.completeness = Completeness::Doubtful;
        }
        account
    }

    fn of_verdict(&self, verdict: Verdict) -> Vec<&'a ChainReport> {
        self.chains.iter().copied().filter(|chain| chain.verdict == verdict).collect()
    }

    /// `given` are the ids of the keys that were given.
    fn doubts(&self, given: &[String]) -> Vec<String> {
        let mut doubts = Vec::new();
        let broken = self.of_verdict(Verdict::Broken);
        if !broken.is_empty() {
            doubts.push(format!(
                "In {}, records are missing or were changed: {}.",
                counted(as_u64(broken.len()), "chain"),
                named(broken.iter().map(|chain| owner(chain).to_owned()))
            ));
        }
        let silent: Vec<_> =
            self.chains.iter().filter(|chain| chain.tail == Tail::Silent && chain.verdict != Verdict::Broken).collect();
        if !silent.is_empty() {
            let heard = |chain: &&&ChainReport| match chain.until {
                Some(until) => format!("{}, last heard of {}", owner(chain), moment(until.into())),
                None => owner(chain).to_owned(),
            };
            doubts.push(format!(
                "{} without an end, and not heard of until the end of the time that this report is about; \
                 what came after can be missing: {}.",
                was(as_u64(silent.len()), "chain"),
                named(silent.iter().map(heard))
            ));
        }
        let unverified: u64 = self.chains.iter().map(|chain| chain.unverified).sum();
        if unverified > 0 {
            let unchecked = self.chains.iter().filter(|chain| chain.unverified > 0);
            let keys = unchecked.flat_map(|chain| &chain.keys).filter(|key| !given.contains(key));
            let mut keys: Vec<&str> = keys.map(String::as_str).collect();
            keys.sort_unstable();
            keys.dedup();
            doubts.push(format!(
                "{} could not be checked, because the key was not given ({}); they are not in the figures.",
                counted(unverified, "record"),
                keys.join(", ")
            ));
        }
        let keyless: Vec<_> = self.chains.iter().filter(|chain| chain.unkeyed > 0).collect();
        let is_keyed = self.chains.iter().any(|chain| !chain.keys.is_empty());
        if !keyless.is_empty() && (is_keyed || !given.is_empty()) {
            doubts.push(format!(
                "{} without a key, though {}; its records can be those of another platform, or made up: {}.",
                was(as_u64(keyless.len()), "chain"),
                if is_keyed { "others have one" } else { "one was given" },
                named(keyless.iter().map(|chain| owner(chain).to_owned()))
            ));
        }
        let endless = self.chains.iter().filter(|chain| chain.tail == Tail::Unknown && chain.records > 0).count();
        if endless > 0 {
            doubts.push(format!(
                "Of {}, the end cannot be judged: the proxy never says how far it has come.",
                counted(as_u64(endless), "chain")
            ));
        }
        doubts
    }
}

/// The earliest that a record of a chain can be. What is missing or changed in a broken one can be as old as the chain,
/// which its id tells: a UUIDv7.
fn oldest(chain: &ChainReport) -> Option<Time> {
    match chain.verdict {
        Verdict::Broken => chain.begun().zip(chain.since).map(|(begun, since)| begun.min(since)),
        _ => chain.since,
    }
}

/// Whether the records as a whole reach from the beginning of the period to its end.
fn reach(verification: &Verification, scope: &Scope) -> Vec<String> {
    let mut doubts = Vec::new();
    let heard = verification.chains.iter().filter_map(|chain| chain.until);
    let newest = heard.filter(|until| verification.can_be_heard(*until)).max();
    if let Some((newest, end)) = newest.zip(verification.as_of).filter(|(newest, end)| is_apart(*newest, *end)) {
        doubts.push(format!(
            "The records stop at {}: nothing that came in the {} from then until {} is on record, of any proxy.",
            moment(newest.into()),
            lasting(end.since(newest)),
            moment(end.into())
        ));
    }
    let oldest = verification.chains.iter().filter_map(|chain| chain.since).min();
    let from = scope.from.map(Time::from);
    if let Some((from, oldest)) = from.zip(oldest).filter(|(from, oldest)| is_apart(*from, *oldest)) {
        doubts.push(format!(
            "The records begin at {}, {} after the period does.",
            moment(oldest.into()),
            lasting(oldest.since(from))
        ));
    }
    doubts
}

fn is_apart(one: Time, later: Time) -> bool {
    later.since(one) > SILENT_AFTER
}

/// Says which of the proxies that should be on record have no chain there; nothing when all have. `expected` are node
/// ids, `POD.NAMESPACE` or `POD`, `*` for any text.
pub fn absent<'c>(chains: impl IntoIterator<Item = &'c ChainReport>, expected: &[String]) -> Option<String> {
    let proxies: Vec<&str> = chains.into_iter().filter_map(|chain| chain.proxy.as_deref()).collect();
    let absent: Vec<_> = expected.iter().filter(|wanted| !proxies.iter().any(|it| is_of(it, wanted))).collect();
    (!absent.is_empty()).then(|| {
        format!(
            "Of {} that should be on record there is no chain: {}.",
            counted(as_u64(absent.len()), "proxy").replace("proxys", "proxies"),
            named(absent.into_iter().cloned())
        )
    })
}

/// As [`absent`], of the chains that can have records of the period.
pub fn absent_within(verification: &Verification, scope: &Scope, expected: &[String]) -> Option<String> {
    absent(Account::of_chains(verification, scope).chains, expected)
}

/// Proxies that should be here and are not.
fn missing(aggregate: &Aggregate, chains: &[&ChainReport]) -> Vec<String> {
    let mut doubts = Vec::new();
    doubts.extend(absent(chains.iter().copied(), &aggregate.expected));
    let Some(ledger) = &aggregate.ledger else { return doubts };
    let all = &aggregate.verification.chains;
    for (pod, begun) in &ledger.pods {
        let found = all.iter().filter(|chain| chain.proxy.as_deref().is_some_and(|proxy| is_of(proxy, pod))).count();
        if as_u64(found) < *begun {
            doubts.push(format!("Proxy {pod} counts {}, and {found} on record.", counted(*begun, "chain")));
        }
    }
    if as_u64(all.len()) < ledger.chains {
        doubts.push(format!(
            "The proxies count {}, and {} on record.",
            counted(ledger.chains, "chain"),
            match all.len() {
                1 => "1 is".to_owned(),
                many => format!("{} are", number(as_u64(many))),
            }
        ));
    }
    doubts
}

/// Whether a proxy is the one that is meant: by its node id, or by the part of it that names the pod (`POD.NAMESPACE`,
/// or `POD`). `*` stands for any text.
fn is_of(proxy: &str, wanted: &str) -> bool {
    let pod = proxy.split('~').nth(2).unwrap_or(proxy);
    let names = [proxy, pod, pod.split('.').next().unwrap_or(pod)];
    names.iter().any(|name| is_like(name, wanted))
}

fn is_like(name: &str, pattern: &str) -> bool {
    let Some((begin, rest)) = pattern.split_once('*') else { return name == pattern };
    let Some(mut name) = name.strip_prefix(begin) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(end)
}

/// What is wrong with the input itself.
fn input_doubts(aggregate: &Aggregate) -> Vec<String> {
    let mut doubts = Vec::new();
    let Unfinished { requests, emergencies } = aggregate.unfinished;
    if requests > 0 {
        let emergencies = match emergencies {
            0 => String::new(),
            count => format!(" Emergency access: {}.", number(count)),
        };
        doubts.push(format!("Of {}, only the beginning is on record.{emergencies}", counted(requests, "request")));
    }
    if let Some(ledger) = &aggregate.ledger {
        if ledger.lost > 0 {
            doubts.push(format!("The proxies count {} as lost.", counted(ledger.lost, "record")));
        }
        if ledger.unaccounted() != 0 {
            doubts.push("The proxies’ own counters do not add up.".to_owned());
        }
    }
    doubts
}

/// Why the record is not shown to be complete, a sentence each, the gravest first; nothing when it is.
#[must_use]
pub fn doubts(aggregate: &Aggregate) -> Vec<String> {
    Account::of(aggregate).reasons
}

/// Why the chains that a search looked over are not shown to be complete, as [`doubts`].
pub(crate) fn chain_doubts(verification: &Verification, scope: &Scope) -> Vec<String> {
    Account::of_chains(verification, scope).reasons
}

/// The proxy of a chain: of Istio's node ids (`KIND~IP~POD.NAMESPACE~DOMAIN`) the part that people know.
fn owner(chain: &ChainReport) -> &str {
    let proxy = chain.proxy.as_deref();
    proxy.map_or(&chain.id, |proxy| proxy.split('~').nth(2).unwrap_or(proxy))
}

/// The first of some names, and how many more there are.
fn named(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    let more = names.len().saturating_sub(NAMED);
    let listed = names.into_iter().take(NAMED).collect::<Vec<_>>().join("; ");
    if more > 0 { format!("{listed}; and {} more", number(as_u64(more))) } else { listed }
}

fn was(count: u64, chain: &str) -> String {
    match count {
        1 => format!("1 {chain} is"),
        many => format!("{} {chain}s are", number(many)),
    }
}

/// How long, roughly: in the largest unit of which there are two.
fn lasting(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    match minutes {
        0..120 => counted(minutes, "minute"),
        120..2880 => counted(minutes / 60, "hour"),
        _ => counted(minutes / 1440, "day"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_meant_by_its_node_id_its_pod_or_a_pattern() {
        let proxy = "sidecar~10.4.0.2~medication-7d9f.core-healthcare~core-healthcare.svc.cluster.local";
        for wanted in
            [proxy, "medication-7d9f.core-healthcare", "medication-7d9f", "medication-*", "*.core-healthcare", "m*-*"]
        {
            assert!(is_of(proxy, wanted), "{wanted}");
        }
        for wanted in ["medication", "resident-*", "*.core", "medication-7d9f.other", ""] {
            assert!(!is_of(proxy, wanted), "{wanted}");
        }
        assert!(is_of("edge-1", "edge-1"));
    }

    #[test]
    fn a_time_is_told_in_the_unit_that_fits() {
        let told = [(240, "4 minutes"), (3 * 3600, "3 hours"), (11 * 86_400, "11 days")];
        assert!(told.iter().all(|(seconds, text)| lasting(Duration::from_secs(*seconds)) == *text));
    }
}

//! What was done under grants: the emergencies one by one, and the rest by user.

use std::collections::{BTreeMap, BTreeSet};

use super::aggregate::{Aggregate, Reach, Reached};
use super::words::{self, as_u64, counted, number, span};
use crate::counts::{Counts, Merge};

/// The rows of emergency access: each is one to look into, so that a page has them as long as it can be read.
const EMERGENCIES: usize = 200;
/// The rows of the rest.
const ROWS: usize = 15;
/// The tenants that a row names.
const TENANTS: usize = 3;

/// Emergency access, the earliest first.
pub(super) struct Emergencies<'a> {
    /// Requests that were let through.
    pub allowed: u64,
    pub refused: u64,
    /// The users: how many, and whether records name them.
    pub by: String,
    /// Those whose data were reached.
    pub subjects: u64,
    pub rows: Vec<EmergencyRow<'a>>,
    pub more: usize,
}

/// One user, one person in care, one reason.
pub(super) struct EmergencyRow<'a> {
    pub when: String,
    pub user: &'a str,
    pub subject: &'a str,
    pub tenant: &'a str,
    pub why: String,
    pub what: String,
    pub allowed: String,
    pub refused: String,
}

/// The rest of what was done under grants.
pub(super) struct Beyond<'a> {
    pub total: Counts,
    pub rows: Vec<BeyondRow<'a>>,
    pub more: usize,
}

/// One user under one grant.
pub(super) struct BeyondRow<'a> {
    pub grant: &'a str,
    pub user: &'a str,
    pub when: String,
    /// The tenants, those beyond the first as a number.
    pub tenants: String,
    pub why: String,
    pub what: String,
    pub subjects: String,
    pub requests: String,
    pub refused: String,
}

/// What was done, and in which contexts.
fn what(actions: &BTreeSet<String>, contexts: &BTreeSet<String>) -> String {
    let list = |names: &BTreeSet<String>, word: fn(&str) -> &str| {
        names.iter().map(|name| word(name)).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ")
    };
    let parts = [list(actions, words::action), list(contexts, |name| name)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
}

/// `name`, or words for none.
fn or<'a>(name: &'a str, none: &'static str) -> &'a str {
    if name.is_empty() { none } else { name }
}

/// How many different names there are, none left out.
fn different<'a>(names: impl Iterator<Item = &'a String>) -> u64 {
    as_u64(names.filter(|name| !name.is_empty()).collect::<BTreeSet<_>>().len())
}

/// How many users there are, of whom some can be without a name.
fn users<'a>(names: impl Iterator<Item = &'a String> + Clone) -> String {
    match (different(names.clone()), names.clone().any(String::is_empty)) {
        (0, _) => "users who are not named".to_owned(),
        (named, false) => counted(named, "user"),
        (named, true) => format!("{} and others who are not named", counted(named, "user")),
    }
}

// === impl Emergencies ===

impl<'a> Emergencies<'a> {
    pub(super) fn of(aggregate: &'a Aggregate) -> Self {
        let mut rows: Vec<_> = aggregate.reaches.iter().filter(|(reach, _)| reach.is_emergency()).collect();
        rows.sort_by_key(|(reach, reached)| (reached.first, *reach));
        let refused = rows.iter().map(|(_, reached)| reached.counts.refused).sum();
        let total: u64 = rows.iter().map(|(_, reached)| reached.counts.total()).sum();
        let allowed = rows.iter().filter(|(_, reached)| reached.counts.total() > reached.counts.refused);
        Self {
            allowed: total.saturating_sub(refused),
            refused,
            by: users(rows.iter().map(|(reach, _)| &reach.user)),
            subjects: different(allowed.map(|(reach, _)| &reach.subject)),
            more: rows.len().saturating_sub(EMERGENCIES),
            rows: rows.into_iter().take(EMERGENCIES).map(EmergencyRow::of).collect(),
        }
    }
}

impl<'a> EmergencyRow<'a> {
    fn of((reach, reached): (&'a Reach, &Reached)) -> Self {
        let counts = reached.counts;
        Self {
            when: span(reached.first, reached.last),
            user: or(&reach.user, "user not named"),
            subject: or(&reach.subject, "no single person"),
            tenant: or(&reach.tenant, "not named"),
            why: words::purpose(&reach.purpose),
            what: what(&reached.actions, &reached.contexts),
            allowed: number(counts.total().saturating_sub(counts.refused)),
            refused: number(counts.refused),
        }
    }
}

// === impl Beyond ===

/// A row while it is gathered.
struct Gathered<'a> {
    reached: Reached,
    tenants: BTreeSet<&'a str>,
    subjects: BTreeSet<&'a str>,
}

impl<'a> Beyond<'a> {
    pub(super) fn of(aggregate: &'a Aggregate) -> Self {
        let mut total = Counts::default();
        let mut gathered: BTreeMap<(&str, &str, &str), Gathered<'a>> = BTreeMap::new();
        for (reach, reached) in aggregate.reaches.iter().filter(|(reach, _)| !reach.is_emergency()) {
            total.absorb(reached.counts);
            let own = Gathered { reached: reached.clone(), tenants: BTreeSet::new(), subjects: BTreeSet::new() };
            let row = match gathered.entry((&reach.grant, &reach.user, &reach.purpose)) {
                std::collections::btree_map::Entry::Vacant(entry) => entry.insert(own),
                std::collections::btree_map::Entry::Occupied(entry) => {
                    let row = entry.into_mut();
                    row.reached.absorb(own.reached);
                    row
                }
            };
            row.tenants.extend(Some(reach.tenant.as_str()).filter(|name| !name.is_empty()));
            // What was refused reached nobody's data.
            let was_allowed = reached.counts.total() > reached.counts.refused;
            row.subjects.extend(Some(reach.subject.as_str()).filter(|name| was_allowed && !name.is_empty()));
        }
        let mut rows: Vec<_> = gathered.into_iter().collect();
        rows.sort_by_key(|(_, row)| std::cmp::Reverse((row.subjects.len(), row.reached.counts.total())));
        Self {
            total,
            more: rows.len().saturating_sub(ROWS),
            rows: rows.into_iter().take(ROWS).map(|(names, row)| BeyondRow::of(names, &row)).collect(),
        }
    }
}

impl<'a> BeyondRow<'a> {
    fn of((grant, user, purpose): (&'a str, &'a str, &'a str), row: &Gathered<'a>) -> Self {
        let counts = row.reached.counts;
        let mut tenants = row.tenants.iter().take(TENANTS).copied().collect::<Vec<_>>().join(", ");
        if row.tenants.len() > TENANTS {
            tenants += &format!(" and {} more", number(as_u64(row.tenants.len() - TENANTS)));
        }
        Self {
            grant,
            user: or(user, "user not named"),
            when: span(row.reached.first, row.reached.last),
            tenants: if tenants.is_empty() { "not named".to_owned() } else { tenants },
            why: words::purpose(purpose),
            what: what(&row.reached.actions, &row.reached.contexts),
            subjects: number(as_u64(row.subjects.len())),
            requests: number(counts.total()),
            refused: number(counts.refused),
        }
    }
}

//! An answer as a page, for a person who asks who used their data: one file of HTML that asks for nothing else and
//! runs nothing.

use askama::Template;

use super::{Answer, Hit, Query};
use crate::acts::{Lineage, Placement};
use crate::report::words::{self, as_u64, moment};
use crate::verify::State;

const TITLE: &str = "Who used these records";

#[derive(Template)]
#[template(path = "search.html")]
struct Page<'a> {
    title: &'a str,
    period: String,
    made: String,
    version: &'static str,
    asked: Vec<String>,
    doubts: &'a [String],
    chains: u64,
    uses: u64,
    rows: Vec<Row<'a>>,
    users: u64,
    refused: u64,
    further: u64,
    changed: u64,
}

struct Row<'a> {
    time: String,
    user: &'a str,
    what: &'a str,
    about: String,
    tenant: &'a str,
    from: String,
    outcome: &'static str,
    class: &'static str,
    /// The purpose of use in words; empty when none was given.
    why: String,
    /// The grant; empty for users of the tenant itself.
    grant: &'a str,
    is_emergency: bool,
    remark: String,
}

/// Writes an answer as one HTML file. `asked` says in words what was asked for; it must not hold what a reader may not
/// see.
///
/// # Errors
/// When it cannot be written: memory alone.
pub fn html(answer: &Answer, query: &Query, asked: Vec<String>, title: Option<&str>) -> Result<String, askama::Error> {
    let own: Vec<&Hit> = answer.hits.iter().filter(|hit| hit.is_own()).collect();
    let mut users: Vec<&str> = own.iter().filter_map(|hit| hit.user.as_deref()).collect();
    users.sort_unstable();
    users.dedup();
    let uses = || own.iter().filter(|hit| !hit.preflight);
    let page = Page {
        title: title.unwrap_or(TITLE),
        period: words::period(&query.scope()),
        made: moment(answer.made),
        version: env!("CARGO_PKG_VERSION"),
        asked,
        doubts: &answer.doubts,
        chains: as_u64(answer.verification.chains.len()),
        uses: as_u64(uses().count()),
        users: as_u64(users.len()),
        refused: as_u64(uses().filter(|hit| hit.outcome == "refused").count()),
        further: as_u64(answer.hits.len() - own.len()),
        changed: as_u64(answer.hits.iter().filter(|hit| hit.state != State::Valid).count()),
        rows: own.into_iter().map(Row::of).collect(),
    };
    page.render()
}

// === impl Row ===

impl<'a> Row<'a> {
    fn of(hit: &'a Hit) -> Self {
        let about = [hit.context.as_deref(), hit.resource.as_deref()];
        let from = match hit.placement {
            Placement::Unknown => hit.peer.clone().unwrap_or_default(),
            placement => match &hit.peer {
                Some(peer) => format!("{}: {peer}", words::placement(placement)),
                None => words::placement(placement).to_owned(),
            },
        };
        let (class, outcome) = match hit.outcome {
            "answered" => ("good", "Done"),
            "declined" => ("doubtful", "Turned down by the application"),
            "refused" => ("bad", "Refused by the platform"),
            _ => ("doubtful", "Failed"),
        };
        let remark = match (hit.state, hit.part) {
            (State::Changed, _) => "This record was changed after it was written: what it says is not to be believed",
            (State::Unverified, _) => "This record could not be checked, because its key was not given",
            _ if hit.preflight => "A browser’s question before a request: no use of data",
            (_, Some(Lineage::Call)) => "By a service, for a request of this user",
            _ => "",
        };
        Self {
            time: moment(hit.time),
            user: hit.user.as_deref().unwrap_or("not named"),
            what: words::action(hit.action.as_deref().unwrap_or_default()),
            about: about.into_iter().flatten().collect::<Vec<_>>().join(" · "),
            tenant: hit.tenant.as_deref().unwrap_or("not named"),
            from,
            outcome,
            class,
            why: hit.purpose.as_deref().map(words::purpose).unwrap_or_default(),
            grant: hit.grant.as_deref().unwrap_or_default(),
            is_emergency: hit.is_emergency(),
            remark: remark.to_owned(),
        }
    }
}

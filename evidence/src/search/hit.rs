//! A record that was asked for.

use jiff::Timestamp;
use serde::Serialize;

use crate::Record;
use crate::acts::{Lineage, Placement};
use crate::purpose;
use crate::report::Ending;
use crate::source::Sink;
use crate::verify::{Found, State, Verdict};

/// A record that was asked for. As JSON and in CSV, members without a value are absent or empty.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hit {
    /// When the request came in.
    pub time: Timestamp,
    /// Who, as a pseudonym.
    pub user: Option<String>,
    /// Whose data, as a pseudonym.
    pub subject: Option<String>,
    /// For which tenant.
    pub tenant: Option<String>,
    /// Which other tenant was named.
    pub other_tenant: Option<String>,
    /// How many tenants the user is a member of, where the claim is a list.
    pub membership: Option<u64>,
    /// What selected the tenant from that list: `path`, `header`, `host`, `query`.
    pub selected_by: Option<String>,
    /// What was done.
    pub action: Option<String>,
    /// In which healthcare context.
    pub context: Option<String>,
    /// To what kind of resource.
    pub resource: Option<String>,
    /// The method.
    pub method: Option<String>,
    /// The template of the path.
    pub path_template: Option<String>,
    /// From where: the identity of the peer.
    pub peer: Option<String>,
    /// Where the proxy stands that saw it.
    #[serde(rename = "door")]
    pub placement: Placement,
    /// How it ended: `answered`, `declined`, `failed`, `refused`.
    pub outcome: &'static str,
    /// The HTTP status.
    pub status: Option<u16>,
    /// Who refused.
    pub denied_by: Option<String>,
    /// Why.
    pub denied_for: Option<String>,
    /// The grant under which the caller acted beyond their own tenants.
    pub grant: Option<String>,
    /// The purpose of use.
    pub purpose: Option<String>,
    /// What it is to the request that it is of; none when that cannot be said.
    pub part: Option<Lineage>,
    /// A preflight: no use of data.
    pub preflight: bool,
    /// `x-request-id`.
    pub request_id: Option<String>,
    /// The correlation id.
    pub correlation_id: Option<String>,
    /// The trace.
    pub trace: Option<String>,
    /// Whether the record is what was written.
    pub state: State,
    /// What its chain came to.
    pub chain_verdict: Option<Verdict>,
    /// The proxy whose chain it is.
    pub proxy: Option<String>,
    /// Its chain.
    pub chain: String,
    /// Its number there.
    pub seq: u64,
    /// The sink that it was read from.
    #[serde(rename = "way")]
    pub sink: Sink,
    /// Where it was read.
    pub place: String,
}

// === impl Hit ===

impl Hit {
    /// A record as a hit.
    #[must_use]
    pub fn of(record: &Record<'_>, time: Timestamp, found: &Found<'_>) -> Self {
        let context = record.context.as_ref();
        let decision = record.decision.as_ref();
        let request = record.request.as_ref();
        let tenant = record.tenant.as_ref();
        let who = record.who.as_ref();
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self {
            time,
            user: owned(who.and_then(|it| it.user.as_deref())),
            subject: owned(context.and_then(|it| it.subject.as_deref())),
            tenant: owned(tenant.and_then(|it| it.id.as_deref())),
            other_tenant: owned(tenant.and_then(|it| it.other.as_deref())),
            membership: tenant.and_then(|it| it.membership),
            selected_by: owned(tenant.and_then(|it| it.selected_by.as_deref())),
            action: owned(context.map(|it| &*it.action)),
            context: owned(context.map(|it| &*it.name)),
            resource: owned(context.and_then(|it| it.resource.as_deref())),
            method: owned(request.map(|it| &*it.method)),
            path_template: owned(request.and_then(|it| it.path_template.as_deref())),
            peer: owned(who.and_then(|it| it.peer.as_deref())),
            placement: Placement::of(record),
            outcome: match Ending::of(record) {
                Ending::Answered => "answered",
                Ending::Declined => "declined",
                Ending::Failed => "failed",
                Ending::Refused => "refused",
            },
            status: record.outcome.as_ref().and_then(|it| it.status),
            denied_by: owned(decision.and_then(|it| it.by.as_deref())),
            denied_for: owned(decision.and_then(|it| it.reason.as_deref())),
            grant: owned(record.grant()),
            purpose: owned(record.purpose()),
            part: None,
            preflight: request.is_some_and(|it| it.preflight),
            request_id: owned(request.and_then(|it| it.id.as_deref())),
            correlation_id: owned(request.and_then(|it| it.correlation_id.as_deref())),
            trace: owned(record.trace.as_ref().and_then(|it| it.id.as_deref())),
            state: found.state,
            chain_verdict: None,
            proxy: None,
            chain: record.chain.id.to_string(),
            seq: record.chain.seq,
            sink: found.sink,
            place: found.location.to_string(),
        }
    }

    /// Whether it is emergency access.
    #[must_use]
    pub fn is_emergency(&self) -> bool {
        self.grant.is_some() && self.purpose.as_deref().is_some_and(purpose::is_emergency)
    }

    /// Whether it is a request or a call of its own: no hop, pass or copy of another.
    #[must_use]
    pub fn is_own(&self) -> bool {
        !matches!(self.part, Some(Lineage::Hop | Lineage::Pass | Lineage::Copy))
    }
}

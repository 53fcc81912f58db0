//! The audit record, schema `careplane.audit/v1`, as `docs/audit-record.md` describes it.

use std::borrow::Cow;

use serde::Deserialize;

use crate::purpose;

/// One record, borrowed from its line of JSON. Members that are not known here are ignored: a version can gain some.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record<'r> {
    /// `careplane.audit/v1`.
    #[serde(borrow)]
    pub schema: Cow<'r, str>,
    /// What the record is about.
    pub kind: Kind,
    /// RFC 3339, UTC, microseconds.
    #[serde(borrow)]
    pub time: Cow<'r, str>,
    /// Lower-case hex of the hash of the record without this member.
    #[serde(borrow)]
    pub hash: Cow<'r, str>,
    /// Its place.
    #[serde(borrow)]
    pub chain: Chain<'r>,
    /// The number, in the same chain, of the intent that this request was held for.
    pub intent: Option<u64>,
    /// The proxy that wrote it.
    #[serde(borrow)]
    pub proxy: Option<Proxy<'r>>,
    /// Of requests and intents, as all that follow.
    #[serde(borrow)]
    pub context: Option<Context<'r>>,
    /// Of requests; of intents under a grant, with the grant alone.
    #[serde(borrow)]
    pub decision: Option<Decision<'r>>,
    /// Of requests.
    #[serde(borrow)]
    pub outcome: Option<Outcome<'r>>,
    /// The message itself.
    #[serde(borrow)]
    pub request: Option<Request<'r>>,
    /// For whom.
    #[serde(borrow)]
    pub tenant: Option<Tenant<'r>>,
    /// Of requests.
    #[serde(borrow)]
    pub trace: Option<Trace<'r>>,
    /// By whom.
    #[serde(borrow)]
    pub who: Option<Who<'r>>,
}

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A request, when it was over.
    Request,
    /// A request that had to be recorded before it could go on.
    Intent,
    /// The chain began.
    Start,
    /// The chain had come so far; said every minute.
    Head,
    /// The chain ended in good order.
    End,
}

/// The place of a record.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Chain<'r> {
    /// A UUIDv7, new for each VM of each worker.
    #[serde(borrow)]
    pub id: Cow<'r, str>,
    /// The hash of the record before; 64 zeros for the first.
    #[serde(borrow)]
    pub prev: Cow<'r, str>,
    /// From 1.
    pub seq: u64,
    /// The id of the key that the hashes are made with; without one they are plain SHA-256.
    #[serde(borrow)]
    pub key: Option<Cow<'r, str>>,
}

/// The proxy that wrote the record.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Proxy<'r> {
    /// Envoy's node id; of `start`, `head` and `end`.
    #[serde(borrow)]
    pub id: Option<Cow<'r, str>>,
    /// The version of the module; of `start`, `head` and `end`.
    #[serde(borrow)]
    pub module: Option<Cow<'r, str>>,
    /// `gateway`, `inbound` or `outbound`; of requests and intents, where the policy says it.
    #[serde(borrow)]
    pub placement: Option<Cow<'r, str>>,
}

/// What the policy says of the request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Context<'r> {
    /// The FHIR action: `C`, `R`, `U`, `D` or `E`.
    #[serde(borrow)]
    pub action: Cow<'r, str>,
    /// `standard`, `high` and so on.
    #[serde(borrow)]
    pub compliance_level: Cow<'r, str>,
    /// Marks such as `safeguarding`.
    #[serde(borrow, default)]
    pub flags: Vec<Cow<'r, str>>,
    /// The healthcare context.
    #[serde(borrow)]
    pub name: Cow<'r, str>,
    /// The digest of the policy document.
    #[serde(borrow)]
    pub policy: Cow<'r, str>,
    /// The FHIR resource type.
    #[serde(borrow)]
    pub resource: Option<Cow<'r, str>>,
    /// How long the record is to be kept.
    #[serde(borrow)]
    pub retention: Option<Cow<'r, str>>,
    /// The subject of care, as a pseudonym.
    #[serde(borrow)]
    pub subject: Option<Cow<'r, str>>,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Decision<'r> {
    /// `allowed`, `denied`, or `none`: the proxy or the caller ended the request before anything decided. Intents have
    /// none.
    #[serde(borrow)]
    pub result: Option<Cow<'r, str>>,
    /// Who denied.
    #[serde(borrow)]
    pub by: Option<Cow<'r, str>>,
    /// Why, in their words.
    #[serde(borrow)]
    pub reason: Option<Cow<'r, str>>,
    /// What enforcement would have done; only where the policy or the context is in shadow.
    #[serde(borrow)]
    pub shadow: Option<ShadowDecision<'r>>,
    /// The grant under which the caller acted beyond their own tenants, also where its terms were the reason to deny.
    #[serde(borrow)]
    pub grant: Option<Cow<'r, str>>,
}

/// What enforcement would have done.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ShadowDecision<'r> {
    /// `allowed`, `denied`, or `none`: careplane was not asked.
    #[serde(borrow)]
    pub result: Cow<'r, str>,
    /// Why it would have been denied.
    #[serde(borrow)]
    pub reason: Option<Cow<'r, str>>,
}

/// What became of the request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome<'r> {
    /// What the caller got; none when the stream ended before.
    pub status: Option<u16>,
    /// What a gRPC caller got.
    pub grpc_status: Option<u64>,
    /// From the first byte of the request to the last of the response.
    pub duration_micros: Option<u64>,
    /// Where it was sent; none when it was refused.
    #[serde(borrow)]
    pub cluster: Option<Cow<'r, str>>,
    /// Envoy's response code details.
    #[serde(borrow)]
    pub details: Option<Cow<'r, str>>,
    /// Envoy's response flags.
    #[serde(borrow, default)]
    pub flags: Vec<Cow<'r, str>>,
    /// `upstream`, `careplane`, the name of a filter, `proxy` or `caller`; older records do not say it.
    #[serde(borrow)]
    pub answered_by: Option<Cow<'r, str>>,
    /// How often it was sent, from 1; only when it was.
    pub attempts: Option<u64>,
    /// Whether it was sent to an upstream at all; absent when the proxy does not tell.
    pub forwarded: Option<bool>,
}

/// The message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request<'r> {
    /// `x-request-id`.
    #[serde(borrow)]
    pub id: Option<Cow<'r, str>>,
    /// The correlation id.
    #[serde(borrow)]
    pub correlation_id: Option<Cow<'r, str>>,
    /// The method, or `OTHER`.
    #[serde(borrow)]
    pub method: Cow<'r, str>,
    /// The template that matched; never the path.
    #[serde(borrow)]
    pub path_template: Option<Cow<'r, str>>,
    /// Whether the proxy could hand the request over.
    pub readable: Option<bool>,
    /// A CORS preflight: a question of a browser, and no use of data.
    #[serde(default)]
    pub preflight: bool,
    /// A mirrored copy of another request.
    #[serde(default)]
    pub shadow: bool,
    /// How many internal redirects of Envoy came before this pass.
    #[serde(default)]
    pub redirects: u64,
}

/// The tenant.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tenant<'r> {
    /// Who it is.
    #[serde(borrow)]
    pub id: Option<Cow<'r, str>>,
    /// What named it: `claim`, `path`, `header`, `host`, `query`.
    #[serde(borrow)]
    pub source: Option<Cow<'r, str>>,
    /// How many tenants the claim lists; only where it is a list.
    pub membership: Option<u64>,
    /// What selected one of these: `path`, `header`, `host`, `query`.
    #[serde(borrow)]
    pub selected_by: Option<Cow<'r, str>>,
    /// Another one that was named.
    #[serde(borrow)]
    pub other: Option<Cow<'r, str>>,
    /// Where it is served.
    #[serde(borrow)]
    pub pool: Option<Cow<'r, str>>,
    /// Stable or canary.
    #[serde(borrow)]
    pub cohort: Option<Cow<'r, str>>,
    /// A part of the UK.
    #[serde(borrow)]
    pub jurisdiction: Option<Cow<'r, str>>,
    /// Who inspects it.
    #[serde(borrow)]
    pub regulator: Option<Cow<'r, str>>,
}

/// The trace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trace<'r> {
    /// 32 hex digits.
    #[serde(borrow)]
    pub id: Option<Cow<'r, str>>,
    /// 16 hex digits.
    #[serde(borrow)]
    pub span_id: Option<Cow<'r, str>>,
    /// 16 hex digits: the span of the caller.
    #[serde(borrow)]
    pub parent_id: Option<Cow<'r, str>>,
    /// Whether it is kept, as far as the proxy knows.
    pub sampled: Option<bool>,
    /// The percentage of the tier.
    #[serde(borrow)]
    pub rate: Option<Cow<'r, str>>,
    /// The tier.
    #[serde(borrow)]
    pub tier: Option<Cow<'r, str>>,
    /// Why.
    #[serde(borrow)]
    pub reason: Option<Cow<'r, str>>,
}

/// Who asked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Who<'r> {
    /// The user, as a pseudonym.
    #[serde(borrow)]
    pub user: Option<Cow<'r, str>>,
    /// The SPIFFE id of the peer.
    #[serde(borrow)]
    pub peer: Option<Cow<'r, str>>,
    /// What for: a code of HL7 v3 PurposeOfUse.
    #[serde(borrow)]
    pub purpose: Option<Cow<'r, str>>,
    /// Identity headers that were sent and not true.
    #[serde(borrow, default)]
    pub forged_headers: Vec<Cow<'r, str>>,
}

// === impl Record ===

impl<'r> Record<'r> {
    /// Reads the text of one record. Says nothing of its hash: that is [`verify`](crate::verify)'s part.
    ///
    /// # Errors
    /// When it is not JSON, or not a record.
    pub fn parse(text: &'r [u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(text)
    }

    /// The grant under which the caller acted beyond their own tenants.
    #[must_use]
    pub fn grant(&self) -> Option<&str> {
        self.decision.as_ref()?.grant.as_deref()
    }

    /// The purpose of use.
    #[must_use]
    pub fn purpose(&self) -> Option<&str> {
        self.who.as_ref()?.purpose.as_deref()
    }

    /// Whether it is emergency access: under a grant, for a purpose of emergencies.
    #[must_use]
    pub fn is_emergency(&self) -> bool {
        self.grant().is_some() && self.purpose().is_some_and(purpose::is_emergency)
    }
}

//! What counting needs of the record of a request, in one size.

use jiff::Timestamp;
use memchr::memmem;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::names::{Name, Names};
use crate::Record;
use crate::counts::Ending;
use crate::sort::{Entry, take};

/// Where a proxy stands: the outermost first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Placement {
    /// At the edge of the platform.
    Gateway,
    /// Where a service sends requests.
    Outbound,
    /// In front of a service.
    Inbound,
    /// The record does not say: it is older, or the policy does not.
    Unknown,
}

/// One record of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fact {
    /// A digest of the request id; of chain and number where there is none.
    pub request: [u8; 16],
    /// Microseconds since 1970.
    pub time: i64,
    pub chain: Uuid,
    pub seq: u64,
    /// Microseconds.
    pub duration: u64,
    /// The span of this hop; 0 for none.
    pub span: u64,
    /// That of the caller; 0 for none.
    pub parent: u64,
    pub redirects: u32,
    /// How often it was sent; 0 where nothing says it.
    pub attempts: u32,
    pub placement: Placement,
    pub ending: Ending,
    pub is_preflight: bool,
    pub is_shadow: bool,
    pub is_unreadable: bool,
    /// Of a policy in shadow. (`is_shadow` is a mirrored copy.)
    pub is_rehearsal: bool,
    pub names: [Name; NAMES],
}

const NAMES: usize = 17;
pub(crate) const CONTEXT: usize = 0;
pub(crate) const LEVEL: usize = 1;
pub(crate) const ACTION: usize = 2;
pub(crate) const POLICY: usize = 3;
/// Joined by line ends.
pub(crate) const FLAGS: usize = 4;
pub(crate) const TENANT: usize = 5;
pub(crate) const REGULATOR: usize = 6;
pub(crate) const OTHER: usize = 7;
pub(crate) const USER: usize = 8;
pub(crate) const SUBJECT: usize = 9;
/// By whom and why, of a refusal.
pub(crate) const DENIAL: usize = 10;
/// Status and flags, of a failure.
pub(crate) const FAILURE: usize = 11;
/// Joined by line ends.
pub(crate) const FORGED: usize = 12;
/// Method and template.
pub(crate) const MESSAGE: usize = 13;
/// Under which the caller acted beyond their own tenants.
pub(crate) const GRANT: usize = 14;
pub(crate) const PURPOSE: usize = 15;
/// Why enforcement would have refused it and the peer, joined by a line end.
pub(crate) const WOULD_REFUSE: usize = 16;

/// The id of the request in the text of a record, as it stands there. What is no canonical record may have one and
/// none is found.
fn request_id(text: &[u8]) -> Option<&[u8]> {
    const REQUEST: &[u8] = br#""request":{"#;
    // A quote within a text has a backslash before it, so that this is a member and no text.
    let request = &text[memmem::find(text, REQUEST)? + REQUEST.len()..];
    // Members are sorted. Further on, `"id":"` is that of another object: of the tenant, of the trace.
    let request = match request.strip_prefix(br#""correlationId":""#) {
        Some(correlation) => correlation[end_of_text(correlation)?..].strip_prefix(br#"","#)?,
        None => request,
    };
    let id = request.strip_prefix(br#""id":""#)?;
    Some(&id[..end_of_text(id)?]).filter(|id| !id.is_empty())
}

/// Where the quote is that ends a text.
fn end_of_text(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        // What is escaped is one byte at least.
        at += 2;
    }
}

/// What the records of one request have in common; none when they have no request id.
pub(crate) fn request_key(text: &[u8]) -> Option<[u8; 16]> {
    request_id(text).map(digest)
}

fn digest(text: &[u8]) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(text).into();
    let [first, _] = digest.as_chunks::<16>().0 else { return [0; 16] };
    *first
}

// === impl Fact ===

impl Fact {
    /// The fact of the record of a request; `text` is what it was parsed from.
    pub(crate) fn of(text: &[u8], record: &Record<'_>, chain: Uuid, time: Timestamp, names: &mut Names) -> Self {
        let context = record.context.as_ref();
        let outcome = record.outcome.as_ref();
        let request = record.request.as_ref();
        let tenant = record.tenant.as_ref();
        let who = record.who.as_ref();
        let trace = record.trace.as_ref();
        let ending = Ending::of(record);
        let is_preflight = request.is_some_and(|request| request.preflight);
        let unique = || digest(&[chain.as_bytes().as_slice(), &record.chain.seq.to_be_bytes()].concat());
        let flags = context.map(|context| context.flags.join("\n")).filter(|flags| !flags.is_empty());
        let forged = who.map(|who| who.forged_headers.join("\n")).filter(|forged| !forged.is_empty());
        let denial = (ending == Ending::Refused).then(|| denial(record));
        let failure = (ending == Ending::Failed).then(|| failure(record));
        let message = request.map(|it| format!("{} {}", it.method, it.path_template.as_deref().unwrap_or_default()));
        Self {
            request: request_key(text).unwrap_or_else(unique),
            time: time.as_microsecond(),
            chain,
            seq: record.chain.seq,
            duration: outcome.and_then(|outcome| outcome.duration_micros).unwrap_or(0),
            span: span(trace.and_then(|trace| trace.span_id.as_deref())),
            parent: span(trace.and_then(|trace| trace.parent_id.as_deref())),
            redirects: request.map_or(0, |it| u32::try_from(it.redirects).unwrap_or(u32::MAX)),
            attempts: outcome.and_then(|it| it.attempts).map_or(0, |it| u32::try_from(it).unwrap_or(u32::MAX)),
            placement: Placement::of(record),
            ending,
            is_preflight,
            is_shadow: request.is_some_and(|request| request.shadow),
            is_unreadable: request.is_some_and(|request| request.readable == Some(false)),
            is_rehearsal: record.decision.as_ref().is_some_and(|decision| decision.shadow.is_some()),
            names: [
                names.optional(context.map(|it| &*it.name)),
                names.optional(context.map(|it| &*it.compliance_level)),
                names.optional(context.map(|it| &*it.action)),
                names.optional(context.map(|it| &*it.policy)),
                names.optional(flags.as_deref()),
                names.optional(tenant.and_then(|it| it.id.as_deref())),
                names.optional(tenant.and_then(|it| it.regulator.as_deref())),
                names.optional(tenant.and_then(|it| it.other.as_deref())),
                names.optional(who.and_then(|it| it.user.as_deref())),
                names.optional(context.and_then(|it| it.subject.as_deref()).filter(|_| !is_preflight)),
                names.optional(denial.as_deref()),
                names.optional(failure.as_deref()),
                names.optional(forged.as_deref()),
                names.optional(message.as_deref()),
                names.optional(record.grant()),
                names.optional(record.purpose()),
                names.optional(would_refuse(record).as_deref()),
            ],
        }
    }

    /// When it was over, in microseconds since 1970.
    pub(crate) fn end(&self) -> i64 {
        self.time.saturating_add_unsigned(self.duration)
    }

    pub(crate) fn name(&self, which: usize) -> Name {
        self.names.get(which).copied().unwrap_or_default()
    }

    /// The grant that it came under, and the purpose.
    pub(crate) fn grant(&self) -> Option<(Name, Name)> {
        Some((self.name(GRANT), self.name(PURPOSE))).filter(|(grant, _)| grant.is_some())
    }
}

/// Why enforcement would have refused it, a line end, and the peer.
fn would_refuse(record: &Record<'_>) -> Option<String> {
    let reason = record.decision.as_ref()?.shadow.as_ref()?.reason.as_deref()?;
    let peer = record.who.as_ref().and_then(|who| who.peer.as_deref()).unwrap_or_default();
    Some(format!("{reason}\n{peer}"))
}

/// By whom, a line end, and why.
fn denial(record: &Record<'_>) -> String {
    let decision = record.decision.as_ref();
    let by = decision.and_then(|decision| decision.by.as_deref()).unwrap_or_default();
    format!("{by}\n{}", decision.and_then(|decision| decision.reason.as_deref()).unwrap_or_default())
}

/// The status, a line end, and the flags.
fn failure(record: &Record<'_>) -> String {
    let outcome = record.outcome.as_ref();
    let status = outcome.and_then(|outcome| outcome.status).map(|status| status.to_string()).unwrap_or_default();
    let flags = outcome.map(|outcome| outcome.flags.join(",")).unwrap_or_default();
    let by = outcome.and_then(|outcome| outcome.answered_by.as_deref()).unwrap_or_default();
    format!("{status}\n{flags}\n{by}")
}

fn span(text: Option<&str>) -> u64 {
    text.filter(|text| text.len() == 16).and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0)
}

impl Placement {
    /// Where the proxy of a record stands.
    pub(crate) fn of(record: &Record<'_>) -> Self {
        match record.proxy.as_ref().and_then(|proxy| proxy.placement.as_deref()) {
            Some("gateway") => Self::Gateway,
            Some("inbound") => Self::Inbound,
            Some("outbound") => Self::Outbound,
            _ => Self::Unknown,
        }
    }
}

impl Entry for Fact {
    const SIZE: usize = 16 + 8 + 16 + 8 + 8 + 8 + 8 + 4 + 4 + 3 + 4 * NAMES;
    /// Requests are in no order anyway.
    type Bucket = ();
    type Order = ([u8; 16], i64, Uuid, u64);

    fn bucket(&self) {}

    fn order(&self) -> Self::Order {
        (self.request, self.time, self.chain, self.seq)
    }

    fn write(&self, out: &mut Vec<u8>) {
        let bits = u8::from(self.is_preflight)
            | u8::from(self.is_shadow) << 1
            | u8::from(self.is_unreadable) << 2
            | u8::from(self.is_rehearsal) << 3;
        out.extend(self.request);
        out.extend(self.time.to_le_bytes());
        out.extend(self.chain.as_bytes());
        for number in [self.seq, self.duration, self.span, self.parent] {
            out.extend(number.to_le_bytes());
        }
        out.extend(self.redirects.to_le_bytes());
        out.extend(self.attempts.to_le_bytes());
        out.extend([self.placement as u8, self.ending as u8, bits]);
        self.names.iter().for_each(|name| out.extend(name.0.to_le_bytes()));
    }

    fn read(mut rest: &[u8]) -> Self {
        let request = take(&mut rest);
        let time = i64::from_le_bytes(take(&mut rest));
        let chain = Uuid::from_bytes(take(&mut rest));
        let [seq, duration, span, parent] = std::array::from_fn(|_| u64::from_le_bytes(take(&mut rest)));
        let [redirects, attempts] = std::array::from_fn(|_| u32::from_le_bytes(take(&mut rest)));
        let [placement, ending, bits] = take(&mut rest);
        Self {
            request,
            time,
            chain,
            seq,
            duration,
            span,
            parent,
            redirects,
            attempts,
            placement: [Placement::Gateway, Placement::Outbound, Placement::Inbound, Placement::Unknown]
                [usize::from(placement & 3)],
            ending: [Ending::Answered, Ending::Declined, Ending::Failed, Ending::Refused][usize::from(ending & 3)],
            is_preflight: bits & 1 != 0,
            is_shadow: bits & 2 != 0,
            is_unreadable: bits & 4 != 0,
            is_rehearsal: bits & 8 != 0,
            names: std::array::from_fn(|_| Name(u32::from_le_bytes(take(&mut rest)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_request_is_that_of_nothing_else() {
        let id = |request: &str| {
            let text = format!(r#"{{"outcome":{{}},{request},"tenant":{{"id":"home"}},"trace":{{"id":"t"}}}}"#);
            request_id(text.as_bytes()).map(|id| String::from_utf8(id.to_vec()).unwrap())
        };
        assert_eq!(id(r#""request":{"id":"r-1","method":"GET"}"#).as_deref(), Some("r-1"));
        assert_eq!(id(r#""request":{"correlationId":"a\"b\\","id":"r-1"}"#).as_deref(), Some("r-1"));
        for none in [
            r#""request":{"method":"GET"}"#,
            r#""request":{"correlationId":"round","method":"GET"}"#,
            r#""request":{"correlationId":"\",\"id\":\"","method":"GET"}"#,
            r#""request":{"id":"","method":"GET"}"#,
            r#""request":{}"#,
        ] {
            assert_eq!(id(none), None, "{none}");
        }
    }
}

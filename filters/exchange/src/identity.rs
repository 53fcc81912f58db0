//! Who a request is from: what the sources say, whom they are believed from, and what contradicts itself.

use std::borrow::Cow;
use std::sync::Arc;

use careplane_policy::id::{TenantId, UserId};
use careplane_policy::{Classification, Policy, Source, Watched};

use crate::denial::Denial;
use crate::headers::HeaderMap;
use crate::host::Host;
use crate::kind::RequestKind;

/// The first URI SAN of the peer's TLS certificate: its SPIFFE id.
const PEER: &[&str] = &["connection", "uri_san_peer_certificate"];
/// The longest SPIFFE id, in bytes.
const SPIFFE_ID_MAX: usize = 2048;
/// Where jwt_authn leaves the claims that it verified (`payload_in_metadata: payload`, as Istio sets it).
const CLAIMS: &[&str] = &["metadata", "filter_metadata", "envoy.filters.http.jwt_authn", "payload"];

/// Who a request is from.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// The SPIFFE id of the peer, where its certificate has one.
    pub peer: Option<Arc<str>>,
    /// Whether the peer's identity headers are believed.
    pub trusted: bool,
    /// The tenant that the most authoritative source names.
    pub tenant: Option<TenantId>,
    /// Which kind of source that was.
    pub tenant_source: Option<&'static str>,
    /// Another tenant that a source names, one that is contradicted or not enough on its own: the one that was reached for.
    pub other_tenant: Option<TenantId>,
    /// The user that the most authoritative source names.
    pub user: Option<UserId>,
    /// Headers that pretend to be careplane's, by the names that they pretend to have: identity headers of an untrusted peer with a value
    /// that is not the caller's own, and other spellings of protected headers, whoever sends them.
    pub forged: Vec<Arc<str>>,
    /// Override headers of an untrusted peer, by their usual names.
    pub overrides: Vec<Arc<str>>,
    /// What has to be removed of these: names as they were sent.
    pub unwanted: Vec<Arc<str>>,
    /// Why the request is refused, if it is.
    pub denial: Option<Denial>,
}

/// What the sources of one part of an identity say together.
struct Claimed<T> {
    value: Option<T>,
    source: Option<&'static str>,
    other: Option<T>,
    malformed: bool,
}

/// Finds out who a request is from.
pub(crate) fn resolve(
    policy: &Policy,
    headers: &HeaderMap,
    about: &Classification,
    kind: RequestKind,
    host: &dyn Host,
) -> Identity {
    let rules = &policy.identity;
    let peer = host.property(PEER).ok().flatten().and_then(spiffe_id);
    let trusted = rules.trusted_peers.trust(peer.as_deref());
    // Repeated is malformed whoever sent it: nothing behind this proxy should have to guess which one counts.
    let repeated = rules.identity_headers.iter().any(|name| headers.all(name).nth(1).is_some());

    let read = |source: &Source| -> Option<Cow<'_, [u8]>> {
        let bytes = match source {
            Source::Claim(claim) => {
                let path: Vec<&str> = CLAIMS.iter().copied().chain(claim.path.iter().map(String::as_str)).collect();
                Cow::Owned(claim_text(host.property(&path).ok().flatten()?))
            }
            Source::Path(parameter) => Cow::Borrowed(about.capture(parameter)?.as_bytes()),
            Source::Header(name) if trusted && !repeated => Cow::Borrowed(headers.get(name)?),
            Source::Header(_) | Source::Host(_) | Source::Query(_) => return None,
        };
        // An empty value is how some proxies say "none".
        (!bytes.is_empty()).then_some(bytes)
    };
    let tenant = gather(&rules.tenant_sources, trusted, read, TenantId::new);
    let user = gather(&rules.user_sources, trusted, read, UserId::new);

    let denial = if repeated {
        Some(Denial::IdentityRepeated)
    } else if tenant.malformed {
        Some(Denial::TenantMalformed)
    } else if user.malformed {
        Some(Denial::UserMalformed)
    } else if tenant.contradicts() {
        Some(Denial::TenantConflict)
    } else if user.contradicts() {
        Some(Denial::UserConflict)
    } else if tenant.value.is_none() && about.context.tenant_required && !kind.preflight {
        Some(Denial::TenantMissing)
    } else {
        None
    };
    let mut identity = Identity {
        peer,
        trusted,
        tenant: tenant.value,
        tenant_source: tenant.source,
        other_tenant: tenant.other,
        user: user.value,
        forged: Vec::new(),
        overrides: Vec::new(),
        unwanted: Vec::new(),
        denial,
    };
    if !trusted {
        identity.forged = forged(policy, headers, &identity);
    }
    identity.find_unwanted(policy, headers);
    identity
}

/// A SPIFFE id of at most 2,048 bytes (SPIFFE-ID §2.4): what is longer is none, and would only fill records.
fn spiffe_id(bytes: Vec<u8>) -> Option<Arc<str>> {
    let fits = (1..=SPIFFE_ID_MAX).contains(&bytes.len());
    String::from_utf8(bytes).ok().filter(|_| fits).map(Into::into)
}

/// Asks every source. The first that answers is believed; one that answers otherwise contradicts it.
///
/// A path says what is asked for, not who asks. So where the policy also knows claims, a path alone names nobody, unless a trusted
/// peer sent it: it can confirm a claim, and contradict it.
fn gather<'a, T: PartialEq>(
    sources: &'a [Source],
    trusted: bool,
    read: impl Fn(&'a Source) -> Option<Cow<'a, [u8]>>,
    parse: impl Fn(&[u8]) -> Option<T>,
) -> Claimed<T> {
    let needs_claim = !trusted && sources.iter().any(|source| matches!(source, Source::Claim(_)));
    let is_enough = |source: &Source| !(needs_claim && matches!(source, Source::Path(_)));
    let mut claimed = Claimed { value: None, source: None, other: None, malformed: false };
    for source in sources {
        let Some(bytes) = read(source) else { continue };
        match (parse(&bytes), &claimed.value) {
            (None, _) => claimed.malformed = true,
            (Some(value), None) if is_enough(source) => {
                claimed.value = Some(value);
                claimed.source = Some(source_kind(source));
            }
            (Some(value), first) if first.as_ref() != Some(&value) => {
                claimed.other.get_or_insert(value);
            }
            (Some(_), _) => {}
        }
    }
    // What was not enough on its own was a contradiction only if it is not what another source said after all.
    if claimed.other == claimed.value {
        claimed.other = None;
    }
    claimed
}

impl<T> Claimed<T> {
    fn contradicts(&self) -> bool {
        self.value.is_some() && self.other.is_some()
    }
}

fn source_kind(source: &Source) -> &'static str {
    match source {
        Source::Claim(_) => "claim",
        Source::Path(_) => "path",
        Source::Header(_) => "header",
        Source::Host(_) => "host",
        Source::Query(_) => "query",
    }
}

fn add(names: &mut Vec<Arc<str>>, name: &Arc<str>) {
    if !names.contains(name) {
        names.push(Arc::clone(name));
    }
}

/// The headers of an untrusted peer that say something about the caller which is not so.
fn forged(policy: &Policy, headers: &HeaderMap, identity: &Identity) -> Vec<Arc<str>> {
    let own = |name: &str| identity.upstream_value(policy, name).map(|value| value.as_bytes());
    policy
        .identity
        .identity_headers
        .iter()
        .filter(|name| headers.all(name).any(|sent| Some(sent) != own(name)))
        .cloned()
        .collect()
}

// === impl Identity ===

impl Identity {
    /// Notes headers that pretend to be careplane's, and override headers.
    fn find_unwanted(&mut self, policy: &Policy, headers: &HeaderMap) {
        for (sent, _) in headers.iter() {
            match policy.identity.watched_headers.find(sent) {
                Some((name, Watched::Protected)) if name.as_bytes() != sent => add(&mut self.forged, name),
                Some((name, Watched::Spelling)) if name.as_bytes() != sent => {}
                Some((name, Watched::Override)) if !self.trusted => add(&mut self.overrides, name),
                Some(_) | None => continue,
            }
            // Letters, digits and punctuation of ASCII, or it would not be taken for the name.
            self.unwanted.extend(std::str::from_utf8(sent).ok().map(Arc::from));
        }
    }

    /// Notes a trailer that an application may take for a header of careplane's, or for an override header. Trailers of no peer are
    /// believed.
    pub fn note_trailer(&mut self, policy: &Policy, sent: &str) {
        match policy.identity.watched_headers.find(sent.as_bytes()) {
            Some((name, Watched::Protected)) => add(&mut self.forged, name),
            Some((name, Watched::Override)) => add(&mut self.overrides, name),
            Some((_, Watched::Spelling)) | None => {}
        }
    }

    /// What the upstream should read in an identity header; `None` when it should not be there at all.
    pub fn upstream_value(&self, policy: &Policy, header: &str) -> Option<&Arc<str>> {
        if *header == *policy.headers.tenant_id {
            self.tenant.as_ref().map(TenantId::text)
        } else if *header == *policy.headers.user_id {
            self.user.as_ref().map(UserId::text)
        } else {
            None
        }
    }
}

/// A claim as text. Envoy hands strings over as they are and numbers as eight bytes of IEEE 754, little-endian.
///
/// Eight printable bytes are read as text: as a number they would be above 2^52, where identifiers do not live.
fn claim_text(bytes: Vec<u8>) -> Vec<u8> {
    let printable = bytes.iter().all(|byte| !byte.is_ascii_control()) && std::str::from_utf8(&bytes).is_ok();
    match <[u8; 8]>::try_from(bytes.as_slice()) {
        Ok(number) if !printable => integer(f64::from_le_bytes(number)).map_or(bytes, String::into_bytes),
        _ => bytes,
    }
}

fn integer(number: f64) -> Option<String> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    if number.fract() != 0.0 || !(0.0..EXACT).contains(&number) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number below 2^53, checked above"
    )]
    Some((number as u64).to_string())
}

#[cfg(test)]
mod tests;

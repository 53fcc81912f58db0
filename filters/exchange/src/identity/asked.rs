//! What the sources of a policy are read from.

use std::borrow::Cow;
use std::sync::Arc;

use careplane_policy::{Classification, Method, Purpose, Source};

use crate::claims::{self, Claims, List};
use crate::headers::HeaderMap;
use crate::host::Host;
use crate::kind::RequestKind;
use crate::query;
use crate::rules::Rules;

/// The first URI SAN of the peer's TLS certificate: its SPIFFE id.
const PEER: &str = "connection\0uri_san_peer_certificate";
/// The longest SPIFFE id, in bytes.
const SPIFFE_ID_MAX: usize = 2048;

/// A request, as far as its identity follows from it.
pub(crate) struct Question<'q> {
    pub(crate) rules: &'q Rules,
    pub(crate) headers: &'q HeaderMap,
    pub(crate) about: &'q Classification,
    pub(crate) method: Method,
    pub(crate) kind: RequestKind,
    /// Whether grants count it as a use.
    pub(crate) counts: bool,
}

/// What sources are read from.
pub(super) struct Asked<'a> {
    pub(super) headers: &'a HeaderMap,
    about: &'a Classification,
    pub(super) trusted: bool,
    pub(super) repeated: bool,
    /// Whether this is the pass after a redirect that Envoy follows: headers are as careplane left them in the pass
    /// before.
    pub(super) redirected: bool,
    pub(super) claims: Claims<'a>,
}

// === impl Asked ===

impl<'a> Asked<'a> {
    /// And who the peer is.
    pub(super) fn new(question: &Question<'a>, host: &'a dyn Host) -> (Option<Arc<str>>, Self) {
        let Question { rules, headers, about, kind, .. } = *question;
        let rules = &rules.policy.identity;
        let peer = host.property(PEER).ok().flatten().and_then(spiffe_id);
        let trusted = rules.trusted_peers.trust(peer.as_deref());
        // Repeated is malformed, from a trusted peer too: nothing behind this proxy should guess which one counts.
        let repeated = rules.identity_headers.iter().any(|name| headers.all(name).nth(1).is_some());
        let claims = Claims::new(host, !rules.grants.is_empty());
        (peer, Self { headers, about, trusted, repeated, redirected: kind.redirects > 0, claims })
    }

    /// What a source says: nothing, or something that is not empty.
    pub(super) fn read(&self, source: &'a Source) -> Option<Cow<'a, [u8]>> {
        let bytes = match source {
            Source::Claim(claim) => {
                let bytes = self.claims.read(claim)?;
                let digits = match claims::text(&bytes) {
                    Cow::Owned(digits) => Some(digits),
                    Cow::Borrowed(_) => None,
                };
                Cow::Owned(digits.unwrap_or(bytes))
            }
            Source::Path(parameter) => Cow::Borrowed(self.about.capture(parameter)?.as_bytes()),
            Source::Header(name) if self.trusted && !self.repeated => Cow::Borrowed(self.headers.get(name)?),
            Source::Host(pattern) => Cow::Borrowed(pattern.tenant(self.headers.get(":authority")?)?),
            Source::Query(parameter) if self.trusted => query::value(self.headers.get(":path")?, parameter)?,
            Source::Header(_) | Source::Query(_) => return None,
        };
        // An empty value is how some proxies say "none".
        (!bytes.is_empty()).then_some(bytes)
    }

    /// The first purpose that a source says, from whichever caller; and whether it is none.
    #[inline(never)]
    pub(super) fn purpose(&self, sources: &'a [Source]) -> (Option<Purpose>, bool) {
        for source in sources {
            let said = match source {
                Source::Claim(claim) => self.claims.read(claim).map(|claim| {
                    List::new(&claim).map_or_else(|| claim.clone(), |list| list.only().unwrap_or_default().to_vec())
                }),
                Source::Header(name) => {
                    let mut values = self.headers.all(name);
                    // Of several, none counts.
                    values.next().map(|first| values.next().map_or(first, |_| b"").to_vec())
                }
                Source::Path(_) | Source::Host(_) | Source::Query(_) => None,
            };
            if let Some(said) = said {
                let purpose = Purpose::new(&said);
                return (purpose, purpose.is_none());
            }
        }
        (None, false)
    }
}

/// A SPIFFE id of at most 2,048 bytes (SPIFFE-ID §2.4): what is longer is none, and would only fill records.
fn spiffe_id(bytes: Vec<u8>) -> Option<Arc<str>> {
    let fits = (1..=SPIFFE_ID_MAX).contains(&bytes.len());
    String::from_utf8(bytes).ok().filter(|_| fits).map(Into::into)
}

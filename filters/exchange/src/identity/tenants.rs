//! What the sources of the tenant say: one, several, or beyond the caller's own.

use careplane_policy::id::TenantId;
use careplane_policy::{Policy, Source};

use super::asked::Asked;
use super::claimed::{Claimed, needs_claim, only_asks};
use crate::claims::{self, List};

/// What the sources of the tenant say together.
pub(super) struct Tenants {
    /// What they say where no claim is a list.
    pub(super) claimed: Claimed<TenantId>,
    /// The tenant of the claims that are not lists, or lists of one.
    pub(super) own: Option<TenantId>,
    /// How many tenants the first claim lists that is a list.
    pub(super) membership: Option<usize>,
    /// The claims that are lists of none or several.
    pub(super) lists: Vec<Vec<u8>>,
    /// What the request reaches for, and the kind of source that says so first: not a claim.
    pub(super) asked: Option<(TenantId, &'static str)>,
    /// Whether claims contradict claims, or the request reaches for two.
    pub(super) split: bool,
}

// === impl Tenants ===

impl Tenants {
    #[inline(never)]
    pub(super) fn gather<'a>(policy: &'a Policy, asked: &Asked<'a>) -> Self {
        let rules = &policy.identity;
        let sources = &*rules.tenant_sources;
        let mut tenants =
            Self { claimed: Claimed::new(), own: None, membership: None, lists: Vec::new(), asked: None, split: false };
        let parse = |bytes: &[u8]| {
            let id = TenantId::new(bytes)?;
            Some(if rules.fold_tenants { id.into_lower() } else { id })
        };
        let needs_claim = needs_claim(sources, asked.trusted);
        for source in sources {
            let Some(bytes) = asked.read(source) else { continue };
            let is_claim = matches!(source, Source::Claim(_));
            let mut id = parse(&bytes);
            if let (None, true) = (&id, is_claim)
                && let Some(list) = List::new(&bytes)
            {
                tenants.membership.get_or_insert(list.len());
                let Some(only) = list.only() else {
                    tenants.lists.push(bytes.into_owned());
                    continue;
                };
                id = parse(&claims::text(only));
            }
            match id {
                None => tenants.claimed.malformed = true,
                Some(id) => {
                    tenants.note(&id, source);
                    tenants.claimed.add(id, source, !(needs_claim && only_asks(source)));
                }
            }
        }
        // A header of any caller selects among their own tenants, and reaches beyond them where there are grants.
        let selects = tenants.membership.is_some() || !rules.grants.is_empty();
        // What the pass before a redirect wrote there is no wish of the caller's: the new path or host is.
        let is_superseded = asked.redirected && tenants.asked.is_some();
        if selects && !asked.trusted && !asked.repeated && !is_superseded {
            for source in sources {
                let Source::Header(name) = source else { continue };
                let Some(bytes) = asked.headers.get(name).filter(|bytes| !bytes.is_empty()) else { continue };
                match parse(bytes) {
                    None => tenants.claimed.malformed = true,
                    Some(id) => {
                        tenants.note(&id, source);
                        tenants.claimed.add(id, source, false);
                    }
                }
            }
        }
        tenants.claimed.finish();
        tenants
    }

    /// Notes what a source says: of the caller, or of what the request reaches for.
    fn note(&mut self, id: &TenantId, source: &Source) {
        match source {
            Source::Claim(_) => match &self.own {
                None => self.own = Some(id.clone()),
                Some(own) => self.split |= own != id,
            },
            _ => match &self.asked {
                None => self.asked = Some((id.clone(), source.kind())),
                Some((asked, _)) => self.split |= asked != id,
            },
        }
    }

    /// Whether the claims let the caller act for a tenant, as far as there are claims.
    pub(super) fn allow(&self, id: &TenantId, fold: bool) -> bool {
        let is_listed = |bytes: &Vec<u8>| List::new(bytes).is_some_and(|list| list.has(id.as_str(), fold));
        self.own.as_ref().is_none_or(|own| own == id) && self.lists.iter().all(is_listed)
    }
}

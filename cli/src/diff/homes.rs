//! Tenants to try: one for each thing that two policies can make of a tenant.

use std::collections::{BTreeSet, HashSet};

use careplane_policy::document::Jurisdiction;
use careplane_policy::id::TenantId;
use careplane_policy::{Grant, GrantedTenants};

use crate::explain::Judged;

/// Tenants without an entry.
const MADE_UP: [&str; 2] = ["made-up-home-a", "made-up-home-b"];
/// How many tenants are tried under one grant. Where more change their group, what becomes of them is alike.
const REACHED_MAX: usize = 64;

/// A tenant, and what the old and the new policy make of it.
pub struct Home<'p> {
    pub id: TenantId,
    /// Whether requests for it go on, as far as it depends on the tenant.
    served: [bool; 2],
    belongs: [(Option<Jurisdiction>, Option<&'p str>); 2],
}

/// Tenants without an entry, and those of the entries of two policies.
pub struct Homes<'p> {
    all: Vec<Home<'p>>,
}

/// A tenant as a policy looks it up.
pub fn known_as(judged: &Judged, id: &TenantId) -> TenantId {
    if judged.rules.policy.identity.fold_tenants { id.clone().into_lower() } else { id.clone() }
}

/// The tenants of the entries of two policies, as the policies know them.
pub fn named(judged: [&Judged; 2]) -> BTreeSet<TenantId> {
    let of = |judged: &Judged| -> Vec<TenantId> {
        let ids = judged.document.tenants.entries.keys().filter_map(|name| TenantId::new(name.as_bytes()));
        ids.map(|id| known_as(judged, &id)).collect()
    };
    judged.into_iter().flat_map(of).collect()
}

// === impl Home ===

impl<'p> Home<'p> {
    fn new(id: TenantId, judged: [&'p Judged; 2]) -> Self {
        let of = |judged: &'p Judged| {
            let (id, routing) = (known_as(judged, &id), &judged.rules.policy.routing);
            (routing.place(&id, None).is_ok(), routing.belongs(&id, None))
        };
        let [old, new] = judged.map(of);
        Self { served: [old.0, new.0], belongs: [old.1, new.1], id }
    }
}

// === impl Homes ===

impl<'p> Homes<'p> {
    pub fn new(judged: [&'p Judged; 2]) -> Self {
        let made_up = MADE_UP.iter().filter_map(|name| TenantId::new(name.as_bytes()));
        Self { all: made_up.chain(named(judged)).map(|id| Home::new(id, judged)).collect() }
    }

    /// Two tenants that both policies serve, as far as there are two.
    pub fn pair(&self) -> [&str; 2] {
        let mut order: Vec<&Home<'p>> = self.all.iter().collect();
        // Stable: those without an entry stay first.
        order.sort_by_key(|home| home.served.iter().filter(|served| !**served).count());
        let id = |at: usize| order.get(at).map_or("", |home| home.id.as_str());
        [id(0), id(1)]
    }

    /// A tenant for each combination of policies that serve it, other than that of this tenant.
    pub fn unlike(&self, home: &str) -> Vec<&str> {
        let mut seen: HashSet<[bool; 2]> =
            self.all.iter().filter(|known| known.id.as_str() == home).map(|known| known.served).collect();
        self.all.iter().filter(|known| seen.insert(known.served)).map(|known| known.id.as_str()).collect()
    }

    /// What cannot be tried because tenants are in a directory alone.
    pub fn left_out(&self, judged: [&Judged; 2]) -> Option<String> {
        let has_directory = judged.iter().any(|judged| judged.document.tenants.directory.is_some());
        let is_served = self.all.iter().any(|home| home.served == [true, true]);
        (has_directory && !is_served).then(|| {
            "callers of a tenant: `tenants.unknown` is deny, no tenant is in the entries of both policies, and those \
             of a directory are not in the policy"
                .into()
        })
    }

    /// The tenants that a grant of the old policy (`side` 0) or the new one (1) reaches: one for each thing that the
    /// policies can make of them. And how many were left out.
    pub fn reached(&self, grant: &Grant, side: usize) -> (Vec<&Home<'p>>, usize) {
        let mut seen = HashSet::new();
        // The first is the caller's own, in most cases.
        let mut reached: Vec<&Home<'p>> = self.all.iter().skip(1).chain(self.all.first()).collect();
        reached.retain(|home| {
            let names = home.belongs.map(|(jurisdiction, group)| match &grant.tenants {
                GrantedTenants::Any => None,
                GrantedTenants::Jurisdiction(_) => jurisdiction.map(Jurisdiction::as_str),
                GrantedTenants::Group(_) => group,
            });
            let is_reached =
                matches!(grant.tenants, GrantedTenants::Any) || names.get(side).is_some_and(Option::is_some);
            // Homes that stay in their groups are alike, whatever the group is called.
            let changes = Some(names).filter(|[old, new]| old != new);
            is_reached && seen.insert((home.served, changes))
        });
        let left_out = reached.len().saturating_sub(REACHED_MAX);
        reached.truncate(REACHED_MAX);
        (reached, left_out)
    }
}

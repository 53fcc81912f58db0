//! Who a request is from: what the sources say, whom they are believed from, and what contradicts itself.

mod asked;
mod claimed;
mod tenants;

use std::sync::Arc;

use careplane_policy::id::{TenantId, UserId};
use careplane_policy::{Grant, Policy, Purpose, Source, Watched};

use self::asked::Asked;
pub(crate) use self::asked::Question;
use self::claimed::Claimed;
use self::tenants::Tenants;
use crate::denial::Denial;
use crate::grants::{self, Act, GrantVerdict, Granted};
use crate::headers::HeaderMap;
use crate::host::Host;

/// Who a request is from.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// The SPIFFE id of the peer, where its certificate has one.
    pub peer: Option<Arc<str>>,
    /// Whether the peer's identity headers are believed.
    pub trusted: bool,
    /// The tenant that the most authoritative source names, that is selected among the caller's own, or that a grant
    /// reaches.
    pub tenant: Option<TenantId>,
    /// Which kind of source that was.
    pub tenant_source: Option<&'static str>,
    /// How many tenants the caller's claim lists, where it is a list.
    pub membership: Option<usize>,
    /// Which kind of source selected the tenant among several, or beyond the caller's own.
    pub selected_by: Option<&'static str>,
    /// Another tenant that a source names, one that is contradicted or not enough on its own: the one that was reached
    /// for.
    pub other_tenant: Option<TenantId>,
    /// The grant that lets the caller act for the tenant; or, where the denial is a grant's, the one that does not.
    pub grant: Option<Arc<Grant>>,
    /// What the data are used for, as the caller says.
    pub purpose: Option<Purpose>,
    /// Whether the caller says a purpose that is none.
    pub invalid_purpose: bool,
    /// The user that the most authoritative source names.
    pub user: Option<UserId>,
    /// Headers that pretend to be careplane's, by the names that they pretend to have: identity headers of an untrusted
    /// peer with a value that is not the caller's own, and other spellings of protected headers, of any caller.
    pub forged: Vec<Arc<str>>,
    /// Override headers of an untrusted peer, by their usual names.
    pub overrides: Vec<Arc<str>>,
    /// What has to be removed of these: names as they were sent.
    pub unwanted: Vec<Arc<str>>,
    /// Why the request is refused, if it is.
    pub denial: Option<Denial>,
}

/// Finds out who a request is from.
pub(crate) fn resolve(question: &Question<'_>, host: &dyn Host) -> Identity {
    let Question { rules, headers, about, kind, .. } = *question;
    let policy = &rules.policy;
    let rules = &policy.identity;
    let (peer, asked) = Asked::new(question, host);
    let Asked { trusted, repeated, .. } = asked;

    let tenants = Tenants::gather(policy, &asked);
    let user = Claimed::gather(&rules.user_sources, &asked, UserId::new);
    let (purpose, invalid_purpose) = asked.purpose(&rules.purpose_sources);
    let malformed = if repeated {
        Some(Denial::IdentityRepeated)
    } else if tenants.claimed.malformed {
        Some(Denial::TenantMalformed)
    } else if user.malformed {
        Some(Denial::UserMalformed)
    } else {
        None
    };
    let user_contradicts = user.contradicts();
    let mut identity = Identity {
        peer,
        trusted,
        membership: tenants.membership,
        purpose,
        invalid_purpose,
        user: user.value,
        denial: malformed,
        ..Identity::default()
    };
    // What is refused anyway costs no claim more, and is no use of a grant.
    let may_be_granted = malformed.is_none() && !user_contradicts && !kind.preflight;
    identity.settle(tenants, question, &asked, may_be_granted, host);
    if identity.denial.is_none() && user_contradicts {
        identity.denial = Some(Denial::UserConflict);
    }
    if identity.denial.is_none() && identity.tenant.is_none() && about.context.tenant_required && !kind.preflight {
        identity.denial = Some(Denial::TenantMissing);
    }
    // After a redirect they are careplane's own: the pass before has replaced or removed the caller's.
    if !trusted && kind.redirects == 0 {
        identity.forged = forged(policy, headers, &identity);
    }
    identity.find_unwanted(policy, headers);
    identity
}

/// What each grant says to what a request reaches for, limits apart; nothing where that is no tenant, or two.
pub(crate) fn verdicts(
    question: &Question<'_>,
    identity: &Identity,
    host: &dyn Host,
) -> Option<(TenantId, Vec<GrantVerdict>)> {
    let policy = &question.rules.policy;
    let (_, asked) = Asked::new(question, host);
    let tenants = Tenants::gather(policy, &asked);
    let (target, _) = tenants.asked.filter(|_| !tenants.split)?;
    let directory = question.rules.directory();
    let act = Act {
        belongs: policy.routing.belongs(&target, directory.as_deref()),
        action: question.about.context.action(question.method),
        context: &question.about.context,
        purpose: identity.purpose,
        user: identity.user.as_ref(),
    };
    let verdicts = policy.identity.grants.iter().map(|grant| grants::judge(grant, &asked.claims, &act)).collect();
    Some((target, verdicts))
}

fn add(names: &mut Vec<Arc<str>>, name: &Arc<str>) {
    if !names.contains(name) {
        names.push(Arc::clone(name));
    }
}

/// The headers of an untrusted peer that say something about the caller which is not so.
#[inline(never)]
fn forged(policy: &Policy, headers: &HeaderMap, identity: &Identity) -> Vec<Arc<str>> {
    let own = |name: &str| identity.upstream_value(policy, name).map(|value| value.as_bytes());
    let is_own = |name: &Arc<str>, sent: &[u8]| match own(name) {
        // Ids that differ in case alone are one tenant.
        Some(own) if policy.identity.fold_tenants && **name != *policy.headers.user_id => {
            own.eq_ignore_ascii_case(sent)
        }
        own => own == Some(sent),
    };
    policy
        .identity
        .identity_headers
        .iter()
        .filter(|name| headers.all(name).any(|sent| !is_own(name, sent)))
        .cloned()
        .collect()
}

// === impl Identity ===

impl Identity {
    /// Whether it is a grant that lets the caller act for the tenant.
    pub fn is_granted(&self) -> bool {
        self.grant.is_some() && self.denial.is_none_or(|denial| !denial.is_of_grant())
    }

    /// Whether it is an emergency access: under a grant that needs a purpose, for one that breaks the glass.
    pub fn is_emergency(&self) -> bool {
        let needs_purpose = self.grant.as_ref().is_some_and(|grant| !grant.purposes.is_empty());
        needs_purpose && self.is_granted() && self.purpose.is_some_and(Purpose::is_emergency)
    }

    /// Whether the grant wants the intent acknowledged first.
    pub fn writes_ahead(&self) -> bool {
        self.is_granted() && self.grant.as_ref().is_some_and(|grant| grant.write_ahead)
    }

    /// The words for regulatory tracking that a grant adds to those of the context.
    pub fn grant_flags(&self) -> &[Arc<str>] {
        self.grant.as_ref().filter(|_| self.is_granted()).map_or(&[], |grant| &grant.flags)
    }

    /// The tenant, and what is wrong with it: one of the caller's own, or one that a grant reaches.
    #[inline(never)]
    fn settle<'a>(
        &mut self,
        tenants: Tenants,
        question: &Question<'a>,
        asked: &Asked<'a>,
        may_be_granted: bool,
        host: &dyn Host,
    ) {
        let policy = &question.rules.policy;
        let fold = policy.identity.fold_tenants;
        let has_lists = !tenants.lists.is_empty();
        let is_claimed = tenants.own.is_some() || has_lists;
        if !tenants.split
            && let Some((target, kind)) = &tenants.asked
        {
            let is_own = tenants.allow(target, fold);
            if is_own && has_lists {
                // Listed among others, so the request has selected it.
                self.tenant_source = Some(tenants.claimed.source.filter(|_| tenants.own.is_some()).unwrap_or("claim"));
                self.selected_by = tenants.own.is_none().then_some(*kind);
                self.tenant = Some(target.clone());
                return;
            }
            let is_enough = if is_claimed { is_own } else { tenants.claimed.value.is_some() };
            if !is_enough && may_be_granted && !policy.identity.grants.is_empty() {
                let directory = question.rules.directory();
                let act = Act {
                    belongs: policy.routing.belongs(target, directory.as_deref()),
                    action: question.about.context.action(question.method),
                    context: &question.about.context,
                    purpose: self.purpose,
                    user: self.user.as_ref(),
                };
                let uses = question.counts.then_some(&question.rules.grant_uses);
                match grants::decide(policy, &asked.claims, &act, uses, host) {
                    Granted::No => {}
                    Granted::By(grant) => {
                        self.grant = Some(grant);
                        self.tenant_source = Some(kind);
                        self.selected_by = Some(kind);
                        self.tenant = Some(target.clone());
                        return;
                    }
                    Granted::Refused(grant, denial) => {
                        self.grant = Some(grant);
                        self.denial = Some(denial);
                        self.tenant_source = tenants.own.as_ref().map(|_| "claim");
                        self.other_tenant = Some(target.clone());
                        self.tenant = tenants.own;
                        return;
                    }
                }
            }
            if has_lists {
                self.deny(Denial::TenantConflict);
                self.tenant_source = tenants.own.as_ref().map(|_| "claim");
                self.other_tenant = Some(target.clone());
                self.tenant = tenants.own;
                return;
            }
        } else if has_lists && !tenants.split {
            let is_listed = tenants.own.as_ref().is_some_and(|own| tenants.allow(own, fold));
            let is_empty = tenants.own.is_none() && tenants.membership == Some(0);
            if !is_listed && !is_empty {
                let required = question.about.context.tenant_required && !question.kind.preflight;
                match tenants.own {
                    Some(_) => self.deny(Denial::TenantConflict),
                    // Where no tenant is needed, none has to be selected.
                    None if required => self.deny(Denial::TenantUnselected),
                    None => {}
                }
            }
        }
        if tenants.claimed.contradicts() || (tenants.split && is_claimed) {
            self.deny(Denial::TenantConflict);
        }
        self.tenant = tenants.claimed.value;
        self.tenant_source = tenants.claimed.source;
        self.other_tenant = tenants.claimed.other;
    }

    /// The first reason stands.
    fn deny(&mut self, denial: Denial) {
        self.denial.get_or_insert(denial);
    }

    /// Notes headers that pretend to be careplane's, and override headers.
    #[inline(never)]
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

    /// Notes a trailer that an application may take for a header of careplane's, or for an override header. Trailers of
    /// no peer are believed.
    pub fn note_trailer(&mut self, policy: &Policy, sent: &str) {
        match policy.identity.watched_headers.find(sent.as_bytes()) {
            Some((name, Watched::Protected)) => add(&mut self.forged, name),
            Some((name, Watched::Override)) => add(&mut self.overrides, name),
            Some((_, Watched::Spelling)) | None => {}
        }
    }

    /// What the upstream should read in an identity header, if it is to be there: tenant and user in their own headers,
    /// and the tenant in a header that selected it.
    pub fn upstream_value(&self, policy: &Policy, header: &str) -> Option<&Arc<str>> {
        if *header == *policy.headers.tenant_id {
            self.tenant.as_ref().map(TenantId::text)
        } else if *header == *policy.headers.user_id {
            self.user.as_ref().map(UserId::text)
        } else {
            // Without the header that selected the tenant, another plugin, or the pass after a redirect that Envoy
            // follows, would act for another one.
            let selects = |source: &Source| matches!(source, Source::Header(name) if **name == *header);
            let selected = self.selected_by.and(self.tenant.as_ref());
            selected.filter(|_| policy.identity.tenant_sources.iter().any(selects)).map(TenantId::text)
        }
    }
}

#[cfg(test)]
mod tests;

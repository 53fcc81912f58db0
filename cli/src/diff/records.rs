//! Requests of an audit trail, decided again by both policies.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{Hash as _, Hasher as _};
use std::path::PathBuf;

use careplane_evidence::source::Source as Records;
use careplane_evidence::{Kind as RecordKind, Record};
use careplane_policy::id::TenantId;
use careplane_policy::{Method, Random, Rate, Source};
use jiff::Timestamp;

use super::access::Outcome;
use super::routes;
use super::sample;
use super::sent::Sent;
use super::shape::{ChangeKind, FieldChange, RecordChange, RecordChanges};
use crate::explain::request::Request;
use crate::explain::{Judged, run};

/// Where in a request id Envoy keeps why it traces, and what is there of one that it does not trace.
const TRACE_REASON: usize = 14;
const NOT_TRACED: &str = "4";

/// What the records came to.
#[derive(Default)]
pub struct Compared {
    pub change: RecordChanges,
    /// How many requests were made, those that were not decided again included.
    pub requests: u64,
    /// How many traces of them the tiers of either policy keep.
    pub kept: [f64; 2],
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

/// What changes, at which route → how many requests, and the id of one of them.
type Changes = BTreeMap<(ChangeKind, String, Vec<FieldChange>), (u64, Option<String>)>;

/// What of a record the decision depends on.
#[derive(Clone, PartialEq, Eq, Hash)]
struct DecisionInputs {
    method: String,
    template: String,
    tenant: Option<String>,
    source: Option<String>,
    other: Option<String>,
    peer: Option<String>,
    user: Option<String>,
    grant: Option<String>,
    /// The reason of careplane's refusal.
    refused: Option<String>,
}

/// What a policy makes of a request.
#[derive(Clone)]
struct Decision {
    outcome: Outcome,
    facts: Vec<(&'static str, Option<String>)>,
    rate: Rate,
    keeps_denied: bool,
}

/// The share of the traces that a rate keeps, from 0 to 1.
pub fn kept_share(rate: Rate) -> f64 {
    rate.to_string().parse::<f64>().unwrap_or_default() / 100.0
}

pub fn compare(old: &Judged, new: &Judged, paths: &[PathBuf]) -> anyhow::Result<Compared> {
    let mut compared = Compared::default();
    let mut changes = Changes::new();
    let mut known: HashMap<DecisionInputs, Option<[Decision; 2]>> = HashMap::new();
    let mut seen: HashSet<u64> = HashSet::new();
    for source in Records::expand(paths)? {
        source.read(|item| {
            let Ok(item) = item else { return Ok(()) };
            let Ok(record) = Record::parse(item.text) else { return Ok(()) };
            // A record can be in an access log and at a collector.
            let mut hasher = DefaultHasher::new();
            (&record.chain.id, record.chain.seq).hash(&mut hasher);
            if record.kind == RecordKind::Request && seen.insert(hasher.finish()) {
                compared.add(old, new, &record, &mut known, &mut changes);
            }
            Ok(())
        })?;
    }
    anyhow::ensure!(
        compared.requests > 0,
        "no audit record of a request in {}: expected lines of an access log, of a collector or of a proxy's log",
        paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    );
    let changes = changes.into_iter().map(|((kind, route, changes), (requests, example))| RecordChange {
        kind,
        route,
        changes,
        requests,
        example,
    });
    compared.change.changes = changes.collect();
    Ok(compared)
}

// === impl Compared ===

impl Compared {
    /// Requests a day, if the records cover some time.
    pub fn a_day(&self) -> Option<f64> {
        let seconds = self.last?.duration_since(self.first?).as_secs_f64();
        (seconds >= 1.0).then(|| self.requests as f64 / seconds * 86_400.0)
    }

    fn add(
        &mut self,
        old: &Judged,
        new: &Judged,
        record: &Record<'_>,
        known: &mut HashMap<DecisionInputs, Option<[Decision; 2]>>,
        changes: &mut Changes,
    ) {
        let Some(request) = &record.request else { return };
        self.requests += 1;
        if let Ok(time) = record.time.parse::<Timestamp>() {
            self.first = Some(self.first.map_or(time, |first| first.min(time)));
            self.last = Some(self.last.map_or(time, |last| last.max(time)));
        }
        let Some(asked) = DecisionInputs::of(record) else {
            // What its path is, the new policy cannot be asked: it stays in the default context.
            self.change.without_template += 1;
            for (kept, judged) in self.kept.iter_mut().zip([old, new]) {
                let context = judged.rules.policy.contexts().last();
                *kept += context.map_or(0.0, |context| kept_share(context.tier.rate));
            }
            return;
        };
        let decisions = known.entry(asked.clone()).or_insert_with(|| {
            let request = asked.request(old, new)?;
            let decisions = [old, new].map(|judged| Decision::of(judged, &request));
            asked.agrees(record, &decisions[0].outcome).then_some(decisions)
        });
        let Some([before, after]) = decisions else {
            self.change.not_reproduced += 1;
            return;
        };
        self.change.compared += 1;
        self.kept[0] += kept_share(before.rate);
        self.kept[1] += kept_share(after.rate);
        let number = request.id.as_ref().and_then(|id| Random::from_request_id(plain(id).as_bytes()));
        let facts = [&*before, &*after].map(|decision| decision.facts(number));
        let difference = FieldChange::between(&facts[0], &facts[1]);
        if !difference.is_empty() {
            let kind = before.outcome.change(&after.outcome);
            let route = format!("{} {}", asked.method, asked.template);
            let (count, example) = changes.entry((kind, route, difference)).or_default();
            *count += 1;
            if example.is_none() {
                *example = request.id.as_deref().map(Into::into);
            }
        }
    }
}

/// The request id without Envoy's trace decision.
fn plain(id: &str) -> String {
    let mut id = id.to_owned();
    if id.is_char_boundary(TRACE_REASON) && id.is_char_boundary(TRACE_REASON + 1) && id.len() > TRACE_REASON {
        id.replace_range(TRACE_REASON..=TRACE_REASON, NOT_TRACED);
    }
    id
}

// === impl Decision ===

impl Decision {
    fn of(judged: &Judged, request: &Request) -> Self {
        let (decided, host) = run::decide(judged, request, &judged.plugin);
        let policy = &judged.rules.policy;
        let incoming = &decided.request;
        let mut facts = routes::facts(policy, incoming.method(), incoming.about());
        // What a route is about, without what the rest of the difference says of all of them.
        facts.retain(|(field, _)| ["context", "level", "audit"].contains(field));
        let placement = incoming.placement(&host).ok().flatten();
        facts.push(("pool", placement.and_then(|it| it.pool.as_deref().map(Into::into))));
        facts.push(("cohort", placement.and_then(|it| it.cohort).map(|cohort| cohort.as_str().into())));
        Self {
            outcome: Outcome::of(judged, request),
            facts,
            rate: incoming.about().context.tier.rate,
            keeps_denied: policy.late.denied,
        }
    }

    /// What changes between policies, at a number.
    fn facts(&self, number: Option<Random>) -> Vec<(&'static str, Option<String>)> {
        let (decision, tenant, is_denied) = match &self.outcome {
            Outcome::Denied(code) => (format!("denied: {code}"), None, true),
            Outcome::Shadow => ("in shadow".to_owned(), None, false),
            Outcome::Allowed { tenant, .. } => ("allowed".to_owned(), tenant.clone(), false),
        };
        let kept = number.is_some_and(|number| self.rate.keeps(number)) || (is_denied && self.keeps_denied);
        let mut facts = vec![("decision", Some(decision)), ("tenant", tenant)];
        facts.extend(self.facts.clone());
        facts.push(("trace", Some(if kept { "kept" } else { "dropped" }.into())));
        facts
    }
}

// === impl DecisionInputs ===

impl DecisionInputs {
    /// None without a template.
    fn of(record: &Record<'_>) -> Option<Self> {
        let (request, tenant, who) = (record.request.as_ref()?, record.tenant.as_ref(), record.who.as_ref());
        let decision = record.decision.as_ref();
        let by_careplane = decision.filter(|it| it.by.as_deref() == Some("careplane"));
        Some(Self {
            method: request.method.to_string(),
            template: request.path_template.as_deref()?.to_owned(),
            tenant: tenant.and_then(|it| it.id.as_deref()).map(Into::into),
            source: tenant.and_then(|it| it.source.as_deref()).map(Into::into),
            other: tenant.and_then(|it| it.other.as_deref()).map(Into::into),
            peer: who.and_then(|it| it.peer.as_deref()).map(Into::into),
            user: who.and_then(|it| it.user.as_deref()).map(Into::into),
            grant: decision.and_then(|it| it.grant.as_deref()).map(Into::into),
            refused: by_careplane.and_then(|it| it.reason.as_deref()).map(Into::into),
        })
    }

    /// The request of the record, as far as it is recorded: the pseudonym of a user stands for the user, and a
    /// parameter of the path has any value.
    fn request(&self, old: &Judged, new: &Judged) -> Option<Request> {
        let policies = [&old.rules.policy, &new.rules.policy];
        let rest = sample::reach(&self.template, &[&self.method], &policies)?;
        let (tenants, users) = (&policies[0].identity.tenant_sources, &policies[0].identity.user_sources);
        let mut sent = Sent::default();
        let named = self.source.as_deref();
        let first = tenants.iter().find(|source| Some(source.kind()) == named);
        if let (Some(tenant), Some(source)) = (&self.tenant, first) {
            sent.put(source, tenant);
        }
        let in_path =
            |source: &&Source| matches!(source, Source::Path(name) if self.template.contains(&format!("{{{name}}}")));
        if let Some(other) = &self.other {
            // A path reaches for another tenant more often than a header contradicts.
            let others = tenants.iter().filter(|source| Some(source.kind()) != named);
            sent.put(tenants.iter().find(in_path).or_else(|| others.into_iter().next_back())?, other);
        }
        // Where nothing else is recorded, a path that names a tenant names the caller's.
        let mut both = policies.into_iter().flat_map(|policy| &policy.identity.tenant_sources);
        if let (None, Some(tenant), Some(source)) = (&self.other, &self.tenant, both.find(in_path)) {
            sent.put(source, tenant);
        }
        let grants = &policies[0].identity.grants;
        if let Some(grant) = grants.iter().find(|grant| Some(&*grant.name) == self.grant.as_deref()) {
            // Its claims are in no record, but the grant says what they were.
            let tenant = self.tenant.as_ref().and_then(|tenant| TenantId::new(tenant.as_bytes()));
            sent.grant(grant, policies[0], tenant.as_ref());
        }
        if let (Some(user), Some(source)) = (&self.user, users.first()) {
            let header = users.iter().find(|source| matches!(source, Source::Header(_)));
            sent.put(header.filter(|_| named == Some("header")).unwrap_or(source), user);
        }
        match self.refused.as_deref() {
            Some("identity-repeated") => {
                let header = tenants.iter().find(|source| matches!(source, Source::Header(_)))?;
                sent.put(header, "a");
                sent.put(header, "b");
            }
            Some("tenant-malformed") => sent.put(tenants.first()?, "a b"),
            // A list of tenants is in no record: one of which none, or not this one, was selected.
            Some("tenant-unselected") => sent.put_list(tenants, &["a", "b"])?,
            Some("tenant-conflict") if self.tenant.is_none() => sent.put_list(tenants, &["a", "b"])?,
            Some("user-malformed") => sent.put(users.first()?, "a\tb"),
            // The record has the user of the most authoritative source.
            Some("user-conflict") => sent.put(users.get(1)?, "b"),
            _ => {}
        }
        let given = sent.parameter.clone();
        let given = given.as_ref().map(|(name, value)| (name.as_str(), value.as_str()));
        let path = sample::path(Some(&self.template), rest, given);
        let request = sent.request(&self.method, &path, self.peer.as_deref());
        // The method of a record that has no name is none that a policy knows.
        (Method::new(self.method.as_bytes()).as_str() == self.method).then_some(request)
    }

    /// Whether the old policy decides as is recorded. What another filter or the proxy refused, careplane may have let
    /// through or not.
    fn agrees(&self, record: &Record<'_>, outcome: &Outcome) -> bool {
        let result = record.decision.as_ref().and_then(|decision| decision.result.as_deref());
        match (outcome, self.refused.as_deref(), result) {
            // The collector decided.
            (Outcome::Allowed { .. }, Some("evidence-unavailable"), _) => true,
            (Outcome::Denied(code), Some(reason), _) => *code == reason,
            (Outcome::Shadow, refused, _) => refused.is_none(),
            (Outcome::Allowed { .. }, Some(_), _) => false,
            (Outcome::Denied(_), None, result) => result != Some("allowed"),
            (Outcome::Allowed { tenant, .. }, None, _) => *tenant == self.tenant,
        }
    }
}

//! The compiled policy: nothing in it needs another check, and asking it does not allocate more than a path.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::directory::{Directory, KnownPools};
use crate::document::{Action, Cohort, ComplianceLevel, Jurisdiction, ProxyLog, ProxyPlacement};
use crate::folded::WatchedHeaders;
use crate::grants::Grant;
use crate::id::TenantId;
use crate::path;
use crate::pools::{self, Pools};
use crate::rate::{Random, Rate};
use crate::router::{Method, Router};
use crate::source::Source;
use crate::template::Template;
use crate::tenants::Tenants;

/// A policy document that is valid, compiled for requests.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Whether the document as a whole is in shadow. What holds for a request is [`Context::shadow`].
    pub shadow: bool,
    /// Who is believed about whom.
    pub identity: Identity,
    /// What is written upstream.
    pub headers: Headers,
    /// Whether a request is refused whose path an application may read as another one.
    pub reject_ambiguous_paths: bool,
    /// The environment variable that holds the pseudonym key.
    pub pseudonym_key_env: String,
    /// What is kept although the tier said no.
    pub late: Late,
    /// Where tenants are sent.
    pub routing: Routing,
    /// What is recorded, and where to.
    pub audit: Audit,
    /// The collector.
    pub export: Option<Export>,
    /// The first 16 hex digits of the SHA-256 of the document as it was read: which policy a record was made under.
    pub digest: Arc<str>,
    pub(crate) contexts: Vec<Arc<Context>>,
    pub(crate) default_context: Arc<Context>,
    /// Parallel to the routes of `router`.
    pub(crate) routes: Vec<ContextRoute>,
    pub(crate) router: Router,
}

/// Which context a route belongs to.
#[derive(Debug, Clone)]
pub(crate) struct ContextRoute {
    pub(crate) context: Arc<Context>,
    pub(crate) template: Arc<Template>,
}

/// Who is believed about whom.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Whose identity headers are believed.
    pub trusted_peers: TrustedPeers,
    /// Where the tenant is looked for, most authoritative first.
    pub tenant_sources: Vec<Source>,
    /// Whether tenant ids are in lower case, however they are sent.
    pub fold_tenants: bool,
    /// Where the user is looked for, most authoritative first.
    pub user_sources: Vec<Source>,
    /// Where the purpose of use is looked for, most authoritative first.
    pub purpose_sources: Vec<Source>,
    /// Who may act beyond their own tenants: the first that allows an act is used.
    pub grants: Vec<Arc<Grant>>,
    /// Whether tags and records carry a pseudonym of the user.
    pub pseudonymise_user: bool,
    /// The header of the correlation id.
    pub correlation_header: Arc<str>,
    /// Whether responses carry the correlation id.
    pub echo_correlation: bool,
    /// Every header that says who a request is from: what is read as a source, and what is written upstream.
    pub identity_headers: Vec<Arc<str>>,
    /// Headers whose other spellings are never believed, and headers that carry a request out of its context.
    pub watched_headers: WatchedHeaders,
}

/// Whose identity headers are believed.
#[derive(Debug, Clone)]
pub enum TrustedPeers {
    /// Everyone's.
    Any,
    /// Those of these SPIFFE ids.
    Listed(Vec<PeerPattern>),
}

/// A SPIFFE id, or the beginning of some.
#[derive(Debug, Clone)]
pub struct PeerPattern {
    pub(crate) text: String,
    pub(crate) prefix: bool,
}

/// The names of the headers written upstream, lower case.
#[derive(Debug, Clone)]
pub struct Headers {
    /// The tenant.
    pub tenant_id: Arc<str>,
    /// The user.
    pub user_id: Arc<str>,
    /// The context.
    pub healthcare_context: Arc<str>,
    /// The compliance level.
    pub compliance_level: Arc<str>,
    /// The flags.
    pub compliance_flags: Arc<str>,
    /// The user's pseudonym, where it is asked for.
    pub user_pseudonym: Option<Arc<str>>,
    /// Those of them, and of the headers of [`Routing`], that are removed and never written.
    pub omitted: Vec<Arc<str>>,
}

/// What a request is about.
#[derive(Debug)]
pub struct Context {
    /// Its name.
    pub name: Arc<str>,
    /// Its compliance level.
    pub compliance_level: ComplianceLevel,
    /// Its sampling tier.
    pub tier: Tier,
    /// What is done; from the method when the document does not say.
    pub action: Option<Action>,
    /// The FHIR resource type.
    pub resource: Option<Arc<str>>,
    /// The path parameter that names the subject of care.
    pub subject: Option<Arc<str>>,
    /// The words for regulatory tracking.
    pub flags: Vec<Arc<str>>,
    /// `flags` as the value of a header; none when there are none.
    pub flags_header: Option<Arc<str>>,
    /// How long to keep records, ISO 8601.
    pub retention: Option<Arc<str>>,
    /// Whether requests are recorded (denials are in any case).
    pub audited: bool,
    /// Whether requests without a tenant are refused.
    pub tenant_required: bool,
    /// Whether requests pass unchanged, and only their record says what would have become of them.
    pub shadow: bool,
}

/// A sampling tier.
#[derive(Debug, Clone)]
pub struct Tier {
    /// Its name.
    pub name: Arc<str>,
    /// What part of the traces it keeps.
    pub rate: Rate,
}

/// What is kept although the tier said no.
#[derive(Debug, Clone, Copy)]
pub struct Late {
    /// What was refused.
    pub denied: bool,
    /// What ended with 5xx or a reset.
    pub server_errors: bool,
    /// What took longer.
    pub slower_than: Option<Duration>,
    /// Also where the caller's span is not kept.
    pub unsampled_parents: bool,
}

/// Where tenants are sent.
#[derive(Debug, Clone)]
pub struct Routing {
    /// The header of the pool.
    pub pool_header: Arc<str>,
    /// The header of the cohort; none when the policy knows no cohorts.
    pub cohort_header: Option<Arc<str>>,
    pub(crate) canary: Rate,
    pub(crate) pools: Pools,
    /// Where more tenants come from.
    pub directory: Option<DirectorySource>,
    pub(crate) tenants: Tenants,
    pub(crate) deny_unknown: bool,
    pub(crate) known_pools: KnownPools,
}

/// Where a directory comes from, and what is accepted from there.
#[derive(Debug, Clone)]
pub struct DirectorySource {
    /// Its Envoy cluster.
    pub cluster: String,
    /// Its `:authority`.
    pub authority: String,
    /// The folder of `index.json`, without a slash at its end.
    pub path: String,
    /// How often it is asked.
    pub interval: Duration,
    /// How long one request may take.
    pub timeout: Duration,
    /// Whether a directory with less than half of the tenants is taken.
    pub may_shrink: bool,
    /// The pools that its entries can name.
    pub pools: KnownPools,
}

/// Where a tenant is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The pool; none when the policy has no pools.
    pub pool: Option<Arc<str>>,
    /// The cohort; none when the policy knows no cohorts.
    pub cohort: Option<Cohort>,
    /// The nation whose regulator inspects the tenant, where the policy says.
    pub jurisdiction: Option<Jurisdiction>,
    /// Whether the pool is the one that the policy or the directory pins the tenant to.
    pub pinned: bool,
}

/// A tenant that the policy does not know and `tenants.unknown: deny` refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownTenant;

/// What is recorded, and where to.
#[derive(Debug, Clone)]
pub struct Audit {
    /// Into filter state, for Envoy's access loggers.
    pub access_log: bool,
    /// To the collector.
    pub otlp: bool,
    /// To Envoy's own log.
    pub proxy_log: ProxyLog,
    /// The compliance levels that wait for evidence.
    pub write_ahead: Vec<ComplianceLevel>,
    /// The environment variable of the key of the chain.
    pub chain_key_env: Option<String>,
    /// Where the proxy stands, where the policy says.
    pub placement: Option<ProxyPlacement>,
}

/// The collector.
#[derive(Debug, Clone)]
pub struct Export {
    /// Its Envoy cluster.
    pub cluster: String,
    /// Its `:authority`.
    pub authority: String,
    /// How long one request may take.
    pub timeout: Duration,
    /// Records in one request.
    pub batch_records: u64,
    /// The age at which a smaller batch is sent.
    pub batch_interval: Duration,
    /// Bytes of records that may wait, per worker.
    pub queue_bytes: u64,
}

/// What one request is about.
#[derive(Debug, Clone)]
pub struct Classification {
    /// The context.
    pub context: Arc<Context>,
    /// The template that matched; none in the default context.
    pub template: Option<Arc<Template>>,
    /// Whether an application may read the path as that of another context. Always `false` where the policy accepts
    /// that.
    pub ambiguous: bool,
    /// The path in normal form. It can hold personal data: for captures alone.
    normal_path: String,
}

// === impl Policy ===

impl Policy {
    /// What a request is about. `raw_path` is `:path` as it came; a request without one is at `/`.
    pub fn classify(&self, method: Method, raw_path: &[u8]) -> Classification {
        let normal_path = path::normalise(raw_path);
        let found = self.router.find(method, &normal_path);
        let route = found.and_then(|index| self.routes.get(index));
        Classification {
            context: Arc::clone(route.map_or(&self.default_context, |route| &route.context)),
            template: route.map(|route| Arc::clone(&route.template)),
            ambiguous: self.reject_ambiguous_paths
                && path::is_ambiguous(raw_path, &normal_path, |other| self.router.find(method, other) == found),
            normal_path: Cow::into_owned(normal_path),
        }
    }

    /// Whether some requests wait for evidence.
    pub fn writes_ahead(&self) -> bool {
        !self.audit.write_ahead.is_empty() || self.identity.grants.iter().any(|grant| grant.write_ahead)
    }

    /// Whether the collector gets records, or intents alone.
    pub fn delivers(&self) -> bool {
        self.audit.otlp || self.writes_ahead()
    }

    /// The contexts in the order of the document, the default one last.
    pub fn contexts(&self) -> impl Iterator<Item = &Arc<Context>> {
        self.contexts.iter().chain([&self.default_context])
    }
}

// === impl Classification ===

impl Classification {
    /// What a parameter of the template captured, in the case that was sent.
    pub fn capture(&self, parameter: &str) -> Option<&str> {
        self.template.as_ref()?.capture(parameter, &self.normal_path)
    }

    /// Who the request is about, as the path names them: personal data.
    pub fn subject(&self) -> Option<&str> {
        self.capture(self.context.subject.as_deref()?)
    }
}

// === impl Context ===

impl Context {
    /// What a request with this method does to the resource.
    pub fn action(&self, method: Method) -> Action {
        self.action.unwrap_or(match method {
            Method::Get | Method::Head | Method::Options | Method::Trace => Action::Read,
            Method::Post => Action::Create,
            Method::Put | Method::Patch => Action::Update,
            Method::Delete => Action::Delete,
            Method::Connect | Method::Other => Action::Execute,
        })
    }
}

// === impl TrustedPeers ===

impl TrustedPeers {
    /// Whether the identity headers of a peer are believed; `None` is a peer without a certificate.
    pub fn trust(&self, peer: Option<&str>) -> bool {
        match (self, peer) {
            (Self::Any, _) => true,
            (Self::Listed(_), None) => false,
            (Self::Listed(patterns), Some(peer)) => patterns.iter().any(|pattern| pattern.matches(peer)),
        }
    }
}

impl PeerPattern {
    /// Whether it is the id of a peer, or begins it.
    pub fn matches(&self, peer: &str) -> bool {
        if self.prefix { peer.starts_with(&self.text) } else { peer == self.text }
    }
}

// === impl Routing ===

impl Routing {
    /// Where a tenant is sent. What the policy itself says of it comes before what the directory says.
    ///
    /// # Errors
    /// When the policy refuses tenants that neither of them knows.
    #[inline(never)]
    pub fn place(&self, id: &TenantId, directory: Option<&Directory>) -> Result<Placement, UnknownTenant> {
        let known = self.tenants.get(id.as_str());
        let listed = directory.and_then(|directory| directory.find(id.as_str()));
        if known.is_none() && listed.is_none() && self.deny_unknown {
            return Err(UnknownTenant);
        }
        let listed = listed.unwrap_or_default();
        let pinned = known.and_then(|tenant| tenant.pool.cloned());
        let pinned = pinned.or_else(|| self.known_pools.pool(listed.pool?));
        let by_number = || if self.canary.keeps(Self::cohort_number(id)) { Cohort::Canary } else { Cohort::Stable };
        Ok(Placement {
            pinned: pinned.is_some(),
            pool: pinned.or_else(|| self.pools.of(id.as_str()).cloned()),
            cohort: self
                .cohort_header
                .is_some()
                .then(|| known.and_then(|tenant| tenant.cohort).or(listed.cohort).unwrap_or_else(by_number)),
            jurisdiction: known.and_then(|tenant| tenant.jurisdiction).or(listed.jurisdiction),
        })
    }

    /// What grants ask of a tenant: the nation whose regulator inspects it, and its group.
    pub fn belongs<'a>(
        &'a self,
        id: &TenantId,
        directory: Option<&'a Directory>,
    ) -> (Option<Jurisdiction>, Option<&'a str>) {
        let known = self.tenants.get(id.as_str());
        let listed = directory.and_then(|directory| directory.find(id.as_str())).unwrap_or_default();
        (
            known.and_then(|tenant| tenant.jurisdiction).or(listed.jurisdiction),
            known.and_then(|tenant| tenant.group).map(|group| &**group).or(listed.group),
        )
    }

    /// The number that puts a tenant into a cohort where no entry does: canary when the canary percentage is above it.
    pub fn cohort_number(id: &TenantId) -> Random {
        pools::cohort_number(id.as_str())
    }
}

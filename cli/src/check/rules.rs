//! The rules. `docs/check.md` has the same table.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It does not work, or it does harm.
    Error,
    /// It works otherwise than one would think, or only as long as nothing goes wrong.
    Warning,
    /// Worth knowing.
    Note,
}

/// One rule.
#[derive(Debug, PartialEq)]
pub struct Rule {
    /// Never changes: configurations and suppressions name it.
    pub id: &'static str,
    pub level: Level,
    /// What is wrong when it is found, and what comes of that.
    pub about: &'static str,
}

macro_rules! rules {
    ($($name:ident = $level:ident $id:literal, $about:literal;)*) => {
        $(pub static $name: Rule = Rule { id: concat!("careplane/", $id), level: Level::$level, about: $about };)*
        /// All rules.
        pub static ALL: &[&Rule] = &[$(&$name),*];
    };
}

rules! {
    NOT_YAML = Error "not-yaml", "The file is not YAML (or JSON).";
    UNQUOTED = Error "unquoted", "`kubectl` reads a word without quotes as YAML 1.1: the key `0042` is 34, the number \
         `010` is 8. The proxy gets another policy than the one that is checked here.";
    POLICY = Error "policy", "The proxy would refuse this policy. At a cold start every request then gets a 500, \
         whatever `failStrategy` says.";
    QUEUE_SIZE = Warning "queue-size", "`export.queueBytes` holds fewer than two batches of records: while one is on \
         its way, the next ones overflow into the proxy's log.";
    DIRECTORY_CLUSTER = Error "directory-cluster", "`tenants.directory.cluster` is no service of the mesh: the \
         directory never comes, and `tenants.unknown` holds for all of its tenants.";
    POLICY_MISSING = Error "policy-missing", "A plugin without a policy is refused as one with a bad policy is.";

    PLUGIN_URL = Error "plugin-url", "A url without `oci://`, `https://`, `http://` or `file://` passes validation \
         and is dropped: traffic flows without the filter.";
    PLUGIN_DIGEST = Warning "plugin-digest", "Without a digest, a tag can point to another module while the mesh runs.";
    PLUGIN_NAME = Error "plugin-name", "`pluginName` picks the filters; the module refuses a name that it does not \
         know.";
    PLUGIN_PHASE = Error "plugin-phase", "A plugin in AUTHN runs before jwt_authn, so there are no claims yet.";
    PLUGIN_PHASE_LATE = Warning "plugin-phase-late", "After AUTHZ, what authorization refuses is neither tagged nor \
         sampled, and no AuthorizationPolicy can match what careplane writes.";
    PLUGIN_PRIORITY = Warning "plugin-priority", "A plugin without a priority comes after all that have one.";
    PLUGIN_FAIL_STRATEGY = Error "plugin-fail-strategy", "Plugins of one image share a VM and its fate: after a \
         crash, the strictest `failStrategy` answers 503 for ever.";
    PLUGIN_ENV = Warning "plugin-env", "Plugins of one image share a VM and, before Envoy 1.39, the environment of \
         the first of them.";
    PSEUDONYM_KEY = Warning "pseudonym-key", "Without the key in `vmConfig.env`, each worker makes up its own: \
         pseudonyms differ and cannot be traced back.";
    PSEUDONYM_KEY_INLINE = Warning "pseudonym-key-inline", "Everyone who may read the manifest can undo every \
         pseudonym.";

    TRUSTED_PEERS_ANY = Error "trusted-peers-any", "`trustedPeers: any` believes the identity headers of every \
         caller. It is meant for outbound traffic of a workload alone.";
    TRUSTED_PEERS_WAYPOINT = Warning "trusted-peers-waypoint", "A waypoint does not see the certificate of the peer. \
         With `any`, every caller that authorization lets through can choose a tenant.";
    TRUSTED_PEER_UNKNOWN = Warning "trusted-peer-unknown", "A SPIFFE id of no service account here: its headers are \
         never believed, or another workload can take the name.";
    TRUST_DOMAIN = Warning "trust-domain", "No workload of the mesh has an id of this trust domain: its identity \
         headers are never believed.";
    HOST_CASE = Warning "host-case", "The case of a host means nothing. With `tenant.case: exact`, a caller that \
         writes capitals has another tenant, without the pool, the jurisdiction and the records of its own.";
    PATH_SOURCE_UNKNOWN = Warning "path-source-unknown", "A source names a path parameter that no template has: it \
         never says anything.";
    CLAIMS_UNVERIFIED = Warning "claims-unverified", "Claims are there only where a RequestAuthentication has \
         verified a token.";

    GRANT_UNLIMITED = Warning "grant-unlimited", "A grant for every tenant, every action and every context, without a \
         purpose: its holder has no boundary.";
    GRANT_REACHES_NONE = Warning "grant-reaches-none", "No tenant is in a group, or a jurisdiction, so the grant for \
         these never applies.";
    EMERGENCY_UNALERTED = Warning "emergency-unalerted", "Each use of emergency access has to be reviewed, and no \
         alerting rule reports it.";
    LIST_UNSELECTED = Warning "list-unselected", "A person whose claim lists several tenants cannot say which: every \
         request is a 403 `tenant-unselected`.";

    SHADOW = Note "shadow", "The policy or the context is in shadow: it refuses nothing and changes no header.";
    SHADOW_WRITE_AHEAD = Note "shadow-write-ahead", "`audit.writeAhead` has no effect on a context in shadow.";

    OVERRIDES_PASS = Warning "overrides-pass", "`identity.overrides: pass` lets a caller name another method or URL \
         than the one that careplane classified.";

    ROUTING_HEADER_UNREAD = Warning "routing-header-unread", "No VirtualService or HTTPRoute matches the header: \
         tenants are placed, and routed as if they were not.";
    POOL_WITHOUT_ROUTE = Error "pool-without-route", "Requests of the pool's tenants take the default route, into \
         another pool.";
    POOL_WITHOUT_SUBSET = Error "pool-without-subset", "There is no DestinationRule subset for the pool, so nothing \
         can be routed to it.";
    COHORT_WITHOUT_ROUTE = Error "cohort-without-route", "Tenants of the canary cohort are served by the stable \
         release.";
    COHORT_WITHOUT_SUBSET = Error "cohort-without-subset", "There is no DestinationRule subset for the canary \
         cohort, so nothing can be routed to it.";
    MISROUTED = Error "misrouted", "A route for one pool or cohort leads to the subset of another, or another route \
         takes its requests first.";
    SUBSET_UNDEFINED = Error "subset-undefined", "A route to a subset that no DestinationRule of the host defines \
         answers 503.";
    WRITE_RETRIED = Error "write-retried", "A write is sent again although the application may have done it: a \
         medication can be administered twice.";
    WRITE_MIRRORED = Warning "write-mirrored", "A copy of a write goes to a second application. Where both write to \
         one store, a medication is administered twice.";
    CONTEXT_UNROUTED = Note "context-unrouted", "No VirtualService or HTTPRoute routes the paths of the context.";

    HEADER_OVERWRITTEN = Error "header-overwritten", "A route writes or removes a header of careplane after \
         careplane: the application, or the next proxy, believes the route.";
    HEADER_OMITTED = Error "header-omitted", "`headers.omit` has a header that is read here: the route never matches, \
         the tag or the field of the log is empty, the next careplane does not know the caller.";
    HEADER_UNREAD = Note "header-unread", "No manifest reads the header that careplane writes. Only with \
         `--unread-headers`, for applications may read it.";
    FILTER_DISABLED = Error "filter-disabled", "An EnvoyFilter removes, replaces or turns off a plugin: requests \
         pass without it, and without a record.";
    FILTER_REORDERED = Error "filter-reordered", "An EnvoyFilter puts the module before jwt_authn, so there are no \
         claims yet.";
    PATH_NORMALIZATION = Error "path-normalization", "The mesh normalises paths less than careplane does: another \
         spelling of a path gets past the AuthorizationPolicy.";
    PATH_SPELLING = Warning "path-spelling", "An AuthorizationPolicy compares paths as they are written: a spelling \
         that applications read alike gets past it.";
    PATH_SUFFIX = Note "path-suffix", "An AuthorizationPolicy also matches paths with a suffix, which careplane has \
         in another context.";

    SPAN_TAG_UNREAD = Warning "span-tag-unread", "careplane writes the tag, and no Telemetry puts it on the span. A \
         child's `customTags` replace the parent's.";
    FILTER_STATE_UNWRITTEN = Error "filter-state-unwritten", "Nothing writes the filter state that is read here, so \
         it is always empty.";
    FILTER_ABSENT = Note "filter-absent", "Another filter writes what is read here, and no plugin here has that \
         filter: it is always empty.";
    BASE_RATE = Error "base-rate", "Envoy's base rate is above the lowest tier: a filter can keep more traces, never \
         fewer, and the rate on spans is wrong.";
    BASE_RATE_CLOCK = Note "base-rate-clock", "Envoy takes its base rate from the first digits of `x-request-id`. \
         Where callers send UUIDv7, they are a clock: all requests of a minute are traced, or none.";
    TRACE_REQUEST_ID = Error "trace-request-id", "Envoy does not ask `x-request-id`: every request is traced, and no \
         tier has an effect.";
    TRACE_SAMPLER = Error "trace-sampler", "A sampler of the tracer decides last: it drops traces that careplane \
         keeps, and records say that they were exported.";
    TRACE_REASON = Error "trace-reason", "Without the reason in `x-request-id`, hops do not agree: a refusal has two \
         spans, and records say `sampled: false` of what was exported.";
    LATE_SPAN_ZIPKIN = Note "late-span-zipkin", "Late spans go to the collector of `export`, the other spans to \
         Zipkin: a trace is whole only where both lead to one store.";
    PLACEMENT = Error "placement", "`audit.placement` is not where the plugin stands: reports count an act twice, or \
         not at all.";
    PLACEMENT_MISSING = Note "placement-missing", "Several plugins record one request, and this one's records do not \
         say where it stands.";
    AUDIT_UNREAD = Error "audit-unread", "Records go into filter state, and no access log takes them from there: \
         they are lost.";
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_the_same_rules() {
        let row = |rule: &&Rule| format!("| `{}` | {} | {} |\n", rule.id, rule.level.as_str(), rule.about);
        let table: String = ALL.iter().map(row).collect();
        let documentation = include_str!("../../../docs/check.md");
        assert!(documentation.contains(&table), "docs/check.md should have the rows:\n{table}");
        let examples = documentation.split_once("## Examples").unwrap().1;
        for rule in ALL {
            assert!(examples.contains(&format!("| `{}` |", rule.id)), "docs/check.md has no example of {}", rule.id);
        }
    }
}

//! `identity`, `headers`, `pseudonyms`.

use std::sync::Arc;

use super::names;
use crate::document::{self, ClaimPath, Document, Overrides, TenantCase};
use crate::folded::{self, Watched, WatchedHeaders};
use crate::host_pattern::HostPattern;
use crate::policy::{Headers, Identity, PeerPattern, TrustedPeers};
use crate::problem::Problems;
use crate::source::{Claim, Source};

const SPIFFE: &str = "spiffe://";
/// Headers by which a caller changes the method or the URL behind the proxy: of Express, Rails, Laravel, Spring and
/// ASP.NET; of IIS, Zend and Symfony; what reverse proxies tell the URL with; and a prefix that gunicorn and Flask's
/// recipes take off the path.
const OVERRIDE_HEADERS: &[&str] = &[
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-method",
    "x-original-url",
    "x-original-uri",
    "x-original-path",
    "x-rewrite-url",
    "x-override-url",
    "x-forwarded-method",
    "x-forwarded-uri",
    "x-forwarded-path",
    "script-name",
    "x-script-name",
];

/// Headers that an application takes for its host before `Host`: of Rack, Rails, Django and others. They matter where
/// the host says the tenant.
const HOST_HEADERS: &[&str] = &["x-forwarded-host", "forwarded", "x-original-host", "x-host"];

#[inline(never)]
pub(super) fn compile(
    document: &Document,
    cohort_header: Option<&str>,
    problems: &mut Problems,
) -> (Identity, Headers) {
    let document::Identity { trusted_peers, tenant, user, purpose, grants: _, correlation, overrides } =
        &document.identity;
    let mut headers = headers(&document.headers, problems);
    let tenant_sources = sources("identity.tenant.sources", &tenant.sources, problems);
    let user_sources = sources("identity.user.sources", &user.sources, problems);
    let purpose_sources = sources("identity.purpose.sources", &purpose.sources, problems);
    ensure_kinds("user", &user_sources, true, problems);
    ensure_kinds("purpose", &purpose_sources, false, problems);
    let correlation_header = names::header("identity.correlation.header", &correlation.header, problems);

    let routing =
        [("routing.poolHeader", Some(document.routing.pool_header.as_str())), ("routing.canary.header", cohort_header)];
    let named = named(&headers, &correlation_header, &purpose_sources, routing, problems);
    headers.omitted = omitted(&document.headers.omit, &named, problems);
    let identity_headers = identity_headers(&tenant_sources, &user_sources, &headers, problems);
    let identity = Identity {
        watched_headers: watched_headers(&named, &identity_headers, *overrides, &tenant_sources),
        trusted_peers: trusted(trusted_peers, problems),
        tenant_sources,
        fold_tenants: tenant.case == TenantCase::Lower,
        user_sources,
        purpose_sources,
        grants: Vec::new(),
        pseudonymise_user: user.pseudonymise,
        correlation_header,
        echo_correlation: correlation.echo,
        identity_headers,
    };
    (identity, headers)
}

/// Refuses sources of a kind that does not say this part of an identity.
#[inline(never)]
fn ensure_kinds(part: &str, sources: &[Source], is_in_paths: bool, problems: &mut Problems) {
    for (index, source) in sources.iter().enumerate() {
        let kind = match source {
            Source::Claim(_) | Source::Header(_) => continue,
            Source::Path(_) if is_in_paths => continue,
            Source::Path(_) => "path",
            Source::Host(_) => "host",
            Source::Query(_) => "query",
        };
        let expected = if is_in_paths { "a claim, a path parameter or a header" } else { "a claim or a header" };
        problems.add(
            format!("identity.{part}.sources[{index}].{kind}"),
            format!("does not say a {part}: expected {expected}"),
        );
    }
}

/// The headers that the document names for a use of careplane's, each with its place there. None has two uses.
#[inline(never)]
fn named(
    headers: &Headers,
    correlation: &Arc<str>,
    purpose_sources: &[Source],
    routing: [(&'static str, Option<&str>); 2],
    problems: &mut Problems,
) -> Vec<(&'static str, String)> {
    let written = [
        ("headers.tenantId", &headers.tenant_id),
        ("headers.userId", &headers.user_id),
        ("headers.healthcareContext", &headers.healthcare_context),
        ("headers.complianceLevel", &headers.compliance_level),
        ("headers.complianceFlags", &headers.compliance_flags),
        ("identity.correlation.header", correlation),
    ];
    let pseudonym = headers.user_pseudonym.iter().map(|name| ("headers.userPseudonym", name));
    let purpose_headers = from_headers(purpose_sources);
    let purposes = purpose_headers.iter().map(|name| ("identity.purpose.sources", name));
    let all = written
        .into_iter()
        .chain(pseudonym)
        .chain(purposes)
        .map(|(path, name)| (path, name.to_string()))
        .chain(routing.into_iter().filter_map(|(path, name)| Some((path, name?.to_ascii_lowercase()))));
    let mut named: Vec<(&str, String)> = Vec::new();
    for (path, name) in all {
        // As applications compare names: `x_tenant_id` is `x-tenant-id` to many.
        match named.iter().find(|(_, other)| folded::is_same(other.as_bytes(), name.as_bytes())) {
            Some((other, _)) => {
                problems.add(path, format!("{name:?} is {other} already: expected a header of its own"))
            }
            None => named.push((path, name)),
        }
    }
    named
}

fn omitted(written: &[String], named: &[(&str, String)], problems: &mut Problems) -> Vec<Arc<str>> {
    let mut omitted = Vec::new();
    for (index, header) in written.iter().enumerate() {
        let is_it =
            |(path, name): &&(&str, String)| name.eq_ignore_ascii_case(header) && watched(path) == Watched::Protected;
        match named.iter().find(is_it) {
            Some((_, name)) => omitted.push(name.as_str().into()),
            None => problems.add(
                format!("headers.omit[{index}]"),
                format!("{header:?} cannot be omitted: expected a header that headers or routing names"),
            ),
        }
    }
    omitted
}

/// The headers that say who a request is from: those among the sources, and those that careplane writes.
#[inline(never)]
fn identity_headers(
    tenant_sources: &[Source],
    user_sources: &[Source],
    headers: &Headers,
    problems: &mut Problems,
) -> Vec<Arc<str>> {
    let user_headers = from_headers(user_sources);
    let mut identity_headers = from_headers(tenant_sources);
    for name in &user_headers {
        if identity_headers.contains(name) {
            problems.add(
                "identity.user.sources",
                format!("{name:?} is a source of the tenant already: expected a header of its own"),
            );
        }
    }
    for name in user_headers.iter().chain([&headers.tenant_id, &headers.user_id]) {
        if !identity_headers.contains(name) {
            identity_headers.push(Arc::clone(name));
        }
    }
    identity_headers
}

#[inline(never)]
fn watched_headers(
    named: &[(&str, String)],
    identity_headers: &[Arc<str>],
    overrides: Overrides,
    tenant_sources: &[Source],
) -> WatchedHeaders {
    let written = named.iter().map(|(path, name)| (Arc::from(name.as_str()), watched(path)));
    let sources = identity_headers.iter().filter(|name| !named.iter().any(|(_, written)| **written == ***name));
    let protected = written.chain(sources.map(|name| (Arc::clone(name), Watched::Protected)));
    let names_by_host = tenant_sources.iter().any(|source| matches!(source, Source::Host(_)));
    let (overrides, hosts): (&[&str], &[&str]) = match overrides {
        Overrides::Remove => (OVERRIDE_HEADERS, if names_by_host { HOST_HEADERS } else { &[] }),
        Overrides::Pass => (&[], &[]),
    };
    let overrides = overrides.iter().chain(hosts).map(|name| (Arc::from(*name), Watched::Override));
    WatchedHeaders::new(protected.chain(overrides))
}

/// How the header is watched that the document names at `path`. Of the correlation id and the purpose, what a caller
/// says is believed.
fn watched(path: &str) -> Watched {
    match path {
        "identity.correlation.header" | "identity.purpose.sources" => Watched::Spelling,
        _ => Watched::Protected,
    }
}

#[inline(never)]
fn headers(written: &document::Headers, problems: &mut Problems) -> Headers {
    let mut name = |key: &str, name: &str| names::header(&format!("headers.{key}"), name, problems);
    Headers {
        tenant_id: name("tenantId", &written.tenant_id),
        user_id: name("userId", &written.user_id),
        healthcare_context: name("healthcareContext", &written.healthcare_context),
        compliance_level: name("complianceLevel", &written.compliance_level),
        compliance_flags: name("complianceFlags", &written.compliance_flags),
        user_pseudonym: written.user_pseudonym.as_deref().map(|header| name("userPseudonym", header)),
        omitted: Vec::new(),
    }
}

fn sources(path: &str, written: &[document::Source], problems: &mut Problems) -> Vec<Source> {
    let mut compiled = Vec::with_capacity(written.len());
    for (index, source) in written.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if written.iter().take(index).any(|earlier| earlier == source) {
            problems.add(&path, "is listed twice: expected each source once");
        }
        compiled.push(match source {
            document::Source::Claim(claim) => Source::Claim(self::claim(&path, claim, problems)),
            document::Source::Path(parameter) => {
                if parameter.is_empty() || parameter.contains(['{', '}', '/', '*']) {
                    problems.add(
                        format!("{path}.path"),
                        format!(
                            "{parameter:?} is not the name of a path parameter: \
                             expected such as \"tenant\" for {{tenant}}"
                        ),
                    );
                }
                Source::Path(parameter.as_str().into())
            }
            document::Source::Header(name) => Source::Header(names::header(&format!("{path}.header"), name, problems)),
            document::Source::Host(pattern) => match HostPattern::new(pattern) {
                Some(pattern) => Source::Host(pattern),
                None => {
                    problems.add(
                        format!("{path}.host"),
                        format!("{pattern:?} is not a pattern of hosts: expected {}", HostPattern::EXPECTED),
                    );
                    continue;
                }
            },
            document::Source::Query(parameter) => {
                if parameter.is_empty() || parameter.contains(['&', '=', '#', '%', '+', ' ']) {
                    problems.add(
                        format!("{path}.query"),
                        format!(
                            "{parameter:?} is not the name of a query parameter: \
                             expected such as \"tenant\" for ?tenant=…"
                        ),
                    );
                }
                Source::Query(parameter.as_str().into())
            }
        });
    }
    compiled
}

/// The headers among sources.
fn from_headers(sources: &[Source]) -> Vec<Arc<str>> {
    let header = |source: &Source| match source {
        Source::Header(name) => Some(Arc::clone(name)),
        _ => None,
    };
    sources.iter().filter_map(header).collect()
}

/// A claim, written at `path`.
pub(super) fn claim(path: &str, written: &document::Claim, problems: &mut Problems) -> Claim {
    let names = match &written.path {
        ClaimPath::Name(name) => vec![name.clone()],
        ClaimPath::Nested(names) => names.clone(),
    };
    if names.is_empty() || names.iter().any(|name| name.is_empty() || name.contains('\0')) {
        problems.add(format!("{path}.claim"), "is empty: expected the name of a claim, such as \"tenant_id\"");
    }
    if written.issuer.as_ref().is_some_and(String::is_empty) {
        problems.add(format!("{path}.issuer"), "is empty: expected an issuer, such as \"https://id.example.com\"");
    }
    Claim { path: names, issuer: written.issuer.clone() }
}

#[inline(never)]
fn trusted(written: &document::TrustedPeers, problems: &mut Problems) -> TrustedPeers {
    let patterns = match written {
        document::TrustedPeers::Any => return TrustedPeers::Any,
        document::TrustedPeers::Listed(patterns) => patterns,
    };
    let compiled = patterns.iter().enumerate().map(|(index, pattern)| {
        let (text, prefix) = match pattern.strip_suffix('*') {
            Some(text) => (text, true),
            None => (pattern.as_str(), false),
        };
        // A bare `spiffe://*` would trust every trust domain that the proxy accepts a certificate from.
        let domain = text.strip_prefix(SPIFFE).unwrap_or_default().split('/').next().unwrap_or_default();
        let complete_domain = text.strip_prefix(SPIFFE).is_some_and(|rest| rest.contains('/'));
        if domain.is_empty() || !complete_domain || text.contains('*') {
            problems.add(
                format!("identity.trustedPeers[{index}]"),
                format!(
                    "{pattern:?} is not a SPIFFE id: expected such as \
                     \"spiffe://cluster.local/ns/core-healthcare/sa/api-gateway\", with `*` only at the end \
                     and after the trust domain"
                ),
            );
        }
        PeerPattern { text: text.into(), prefix }
    });
    TrustedPeers::Listed(compiled.collect())
}

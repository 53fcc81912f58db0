//! Which identities are believed: the peers that a policy trusts, and the claims that it reads.

use std::collections::BTreeSet;

use careplane_policy::Template;
use careplane_policy::document::{Source, TenantCase, TrustedPeers};

use super::finding::{Findings, Related};
use super::mesh::{Mesh, Policy, SECURITY, claims, may_meet};
use super::rules;
use crate::yaml::Node;

pub fn check(mesh: &Mesh<'_>, findings: &mut Findings) {
    for plugin in &mesh.plugins {
        let Some(policy) = plugin.policy.map(|index| &mesh.policies[index]) else { continue };
        let Some(document) = &policy.document else { continue };
        if !plugin.serves_others(mesh) {
            continue;
        }
        if document.identity.trusted_peers == TrustedPeers::Any {
            let (rule, message) = if plugin.is_at_waypoints(mesh) {
                let message = "any peer is believed at a waypoint: expected AuthorizationPolicies that let only \
                     callers through which \
                               may choose a tenant";
                (&rules::TRUSTED_PEERS_WAYPOINT, message.to_owned())
            } else {
                let message = format!(
                    "{} takes requests of others, so anyone could choose a tenant: expected the SPIFFE ids whose \
                     headers are \
                     believed; `any` is for `match: [{{mode: CLIENT}}]` with a selector of workloads",
                    plugin.manifest.title()
                );
                (&rules::TRUSTED_PEERS_ANY, message)
            };
            let place = policy.place("identity.trustedPeers");
            findings.add_related(rule, place, message, vec![Related::new(plugin.manifest.place(), "the plugin")]);
        }
        let claims = claims(document);
        if !claims.is_empty() && has_security(mesh) {
            let mut verifiers = mesh.of(SECURITY, "RequestAuthentication");
            if !verifiers.any(|verifier| may_meet(verifier, plugin.manifest)) {
                findings.add_related(
                    &rules::CLAIMS_UNVERIFIED,
                    policy.place("identity"),
                    format!(
                        "the claims {} are read at {}, and no RequestAuthentication is for the same proxies: \
                         expected one with the \
                         issuer of the tokens",
                        claims.join(", "),
                        plugin.manifest.title()
                    ),
                    vec![Related::new(plugin.manifest.place(), "the plugin")],
                );
            }
        }
    }
    let known = Accounts::of(mesh);
    for policy in &mesh.policies {
        trusted_peers(policy, &known, findings);
        trust_domains(mesh, policy, findings);
        path_sources(policy, findings);
        host_sources(policy, findings);
    }
}

/// Those that are written: the defaults are for any policy.
fn path_sources(policy: &Policy<'_>, findings: &mut Findings) {
    let Some(document) = &policy.document else { return };
    let matches = || document.contexts.iter().flat_map(|context| context.matches.iter().flatten());
    let templates: Vec<Template> = matches().filter_map(|it| Template::new(it.path.as_deref()?).ok()).collect();
    let identity = &document.identity;
    for (part, sources) in [("tenant", &identity.tenant.sources), ("user", &identity.user.sources)] {
        for (index, source) in sources.iter().enumerate() {
            let Source::Path(name) = source else { continue };
            let path = format!("identity.{part}.sources[{index}]");
            if templates.iter().any(|template| template.has(name)) || policy.node.follow(&path).missing > 0 {
                continue;
            }
            let message = format!("no template has {{{name}}}: expected the name of a path parameter of a context");
            findings.add(&rules::PATH_SOURCE_UNKNOWN, policy.place(&path), message);
        }
    }
}

/// Clients and names of hosts ignore case, tenants do not.
fn host_sources(policy: &Policy<'_>, findings: &mut Findings) {
    let Some(document) = &policy.document else { return };
    let tenant = &document.identity.tenant;
    let position = tenant.sources.iter().position(|source| matches!(source, Source::Host(_)));
    if let Some(index) = position.filter(|_| tenant.case == TenantCase::Exact) {
        let message = "a host in capitals names another tenant: expected `case: lower` in identity.tenant, and \
                       names of tenants in lower case";
        findings.add(&rules::HOST_CASE, policy.place(&format!("identity.tenant.sources[{index}]")), message);
    }
}

/// The trust domain of a mesh that does not say.
const TRUST_DOMAIN: &str = "cluster.local";

fn trust_domains(mesh: &Mesh<'_>, policy: &Policy<'_>, findings: &mut Findings) {
    let (Some(document), Some(config)) = (&policy.document, mesh.mesh_config()) else { return };
    let TrustedPeers::Listed(patterns) = &document.identity.trusted_peers else { return };
    let own = config.get(&["trustDomain"]);
    let name = own.and_then(Node::as_text).unwrap_or(TRUST_DOMAIN);
    // Names that it had before, and those of others whose certificates it takes.
    let others = config.list(&["caCertificates"]).iter().flat_map(|authority| authority.list(&["trustDomains"]));
    let known: Vec<&str> =
        config.list(&["trustDomainAliases"]).iter().chain(others).filter_map(Node::as_text).collect();
    for (index, pattern) in patterns.iter().enumerate() {
        let Some((domain, rest)) = pattern.strip_prefix("spiffe://").and_then(|id| id.split_once('/')) else {
            continue;
        };
        if domain != name && !known.contains(&domain) {
            findings.add_related(
                &rules::TRUST_DOMAIN,
                policy.place(&format!("identity.trustedPeers[{index}]")),
                format!("{pattern:?}: the trust domain of the mesh is {name:?}: expected \"spiffe://{name}/{rest}\""),
                vec![Related::new(&own.unwrap_or(config).place, "the trust domain is here")],
            );
        }
    }
}

/// Whether the other side is among the manifests at all.
fn has_security(mesh: &Mesh<'_>) -> bool {
    mesh.manifests.iter().any(|manifest| manifest.group == SECURITY)
}

/// The service accounts that the manifests make or use.
struct Accounts<'d> {
    namespaces: BTreeSet<&'d str>,
    accounts: BTreeSet<(&'d str, &'d str)>,
}

impl<'d> Accounts<'d> {
    fn of(mesh: &Mesh<'d>) -> Self {
        let accounts =
            mesh.of("", "ServiceAccount").filter_map(|it| Some((it.namespace.as_deref()?, it.name.as_str())));
        let used = mesh.manifests.iter().filter_map(|manifest| {
            let name = manifest.spec(&["template", "spec", "serviceAccountName"])?.as_text()?;
            Some((manifest.namespace.as_deref()?, name))
        });
        let namespaces = mesh.of("", "Namespace").map(|it| it.name.as_str());
        let accounts: BTreeSet<_> = accounts.chain(used).collect();
        Self { namespaces: namespaces.chain(accounts.iter().map(|(namespace, _)| *namespace)).collect(), accounts }
    }
}

fn trusted_peers(policy: &Policy<'_>, known: &Accounts<'_>, findings: &mut Findings) {
    let Some(document) = &policy.document else { return };
    let TrustedPeers::Listed(patterns) = &document.identity.trusted_peers else { return };
    if known.accounts.is_empty() {
        return;
    }
    for (index, pattern) in patterns.iter().enumerate() {
        let Some((_, id)) = pattern.split_once("/ns/") else { continue };
        let (namespace, account) = id.split_once("/sa/").unwrap_or((id, "*"));
        let namespace = namespace.trim_end_matches('/');
        let problem = if namespace.ends_with('*') {
            continue;
        } else if !known.namespaces.contains(namespace) {
            format!("there is no namespace {namespace:?} here")
        } else if account.ends_with('*') || known.accounts.contains(&(namespace, account)) {
            continue;
        } else {
            let names: Vec<_> =
                known.accounts.iter().filter(|(known, _)| *known == namespace).map(|(_, name)| *name).collect();
            format!("namespace {namespace:?} has no service account {account:?}: expected one of {}", names.join(", "))
        };
        findings.add(
            &rules::TRUSTED_PEER_UNKNOWN,
            policy.place(&format!("identity.trustedPeers[{index}]")),
            format!("{pattern:?}: {problem}"),
        );
    }
}

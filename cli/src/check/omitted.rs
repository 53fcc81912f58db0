//! Headers that a policy omits, and what reads them all the same. What a workload reads, manifests do not say.

use careplane_policy::document::{Document as PolicyDocument, ProxyPlacement, Source, TrustedPeers};

use super::finding::{Findings, Related};
use super::headers;
use super::mesh::{Mesh, NETWORKING, Plugin, Policy, SECURITY, TELEMETRY, may_meet, omits};
use super::placement;
use super::routes::Table;
use super::rules;
use crate::filters;
use crate::manifest::Manifest;
use crate::yaml::{Location, Node};

/// The operator of Envoy's formats that reads a request header.
const REQUEST: &str = "REQ(";
/// The filter state of the record, which says what the headers do.
const RECORD: &str = "%FILTER_STATE(wasm.careplane.audit:PLAIN)%";

/// A header that a policy has careplane write.
struct Header<'p> {
    name: &'p str,
    /// Where the policy names it.
    path: &'static str,
    /// The filter that writes it.
    filter: &'static str,
    /// The filter state that says the same on spans, below `wasm.careplane.`.
    state: Option<&'static str>,
}

/// A policy, and the plugin that has it; none for a policy on its own.
struct Writer<'m, 'd> {
    plugin: Option<&'m Plugin<'d>>,
    policy: &'m Policy<'d>,
    document: &'m PolicyDocument,
}

/// What reads a header.
struct Reader<'m> {
    kind: Kind,
    title: String,
    place: &'m Location,
    /// None for the meshConfig, which is for all proxies.
    manifest: Option<&'m Manifest>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// The match of a route.
    Route,
    /// A tag of spans.
    Tag,
    /// The format of an access log.
    Log,
    /// A source of identity in the policy of another plugin.
    Source,
    Other,
}

pub fn check(mesh: &Mesh<'_>, tables: &[Table<'_>], findings: &mut Findings) {
    let writers = writers(mesh);
    // What reads a header, and the policies that omit it.
    let mut found: Vec<(Location, String, Vec<Related>)> = Vec::new();
    for writer in &writers {
        for (index, omitted) in writer.document.headers.omit.iter().enumerate() {
            let all = written(writer.document);
            let Some(header) = all.iter().find(|it| it.name.eq_ignore_ascii_case(omitted)) else { continue };
            if !writer.runs(header.filter) {
                continue;
            }
            let mut readers = readers(mesh, tables, header.name);
            readers.extend(sources(mesh, writer, header.name));
            let place = writer.policy.place(&format!("headers.omit[{index}]"));
            for reader in readers.iter().filter(|reader| writer.serves(mesh, reader, header, &writers)) {
                let message = format!(
                    "{} reads {:?}, which careplane does not write: expected {}",
                    reader.title,
                    header.name,
                    header.instead(reader.kind)
                );
                let related = Related::new(place, "the policy omits it");
                match found.iter_mut().find(|(place, said, _)| place == reader.place && *said == message) {
                    Some((.., known)) if known.contains(&related) => {}
                    Some((.., known)) => known.push(related),
                    None => found.push((reader.place.clone(), message, vec![related])),
                }
            }
        }
    }
    for (place, message, related) in found {
        findings.add_related(&rules::HEADER_OMITTED, &place, message, related);
    }
}

/// Headers that nothing here reads. An application may, so it is said only on demand.
pub fn unread(mesh: &Mesh<'_>, tables: &[Table<'_>], findings: &mut Findings) {
    for writer in writers(mesh) {
        for header in written(writer.document) {
            // What routes do not read of these is reported by itself.
            let is_routing = header.filter == filters::TENANT_ROUTING;
            if is_routing || !writer.runs(header.filter) || omits(writer.document, header.name) {
                continue;
            }
            let is_read =
                !readers(mesh, tables, header.name).is_empty() || !sources(mesh, &writer, header.name).is_empty();
            if !is_read {
                findings.add(
                    &rules::HEADER_UNREAD,
                    writer.policy.place(header.path),
                    format!(
                        "no manifest here reads {:?}: where no application reads it either, expected `headers: \
                         {{omit: [{}]}}`",
                        header.name, header.name
                    ),
                );
            }
        }
    }
}

fn writers<'m, 'd>(mesh: &'m Mesh<'d>) -> Vec<Writer<'m, 'd>> {
    let with_plugins = mesh.plugins.iter().filter_map(|plugin| {
        let policy = &mesh.policies[plugin.policy?];
        Some(Writer { plugin: Some(plugin), policy, document: policy.document.as_ref()? })
    });
    let is_used = |index: usize| mesh.plugins.iter().any(|plugin| plugin.policy == Some(index));
    let alone = mesh.policies.iter().enumerate().filter(|(index, _)| !is_used(*index));
    let alone =
        alone.filter_map(|(_, policy)| Some(Writer { plugin: None, policy, document: policy.document.as_ref()? }));
    with_plugins.chain(alone).collect()
}

fn written(document: &PolicyDocument) -> Vec<Header<'_>> {
    let (headers, routing) = (&document.headers, &document.routing);
    let tag = |name, path, state| Header { name, path, filter: filters::TRACING_TAGS, state };
    let place = |name, path| Header { name, path, filter: filters::TENANT_ROUTING, state: None };
    let cohort = routing.cohort_header(document.tenants.pins_a_cohort());
    let mut all = vec![
        tag(&*headers.tenant_id, "headers.tenantId", Some("tenant_id")),
        // The real id is on no span.
        tag(&headers.user_id, "headers.userId", None),
        tag(&headers.healthcare_context, "headers.healthcareContext", Some("healthcare_context")),
        tag(&headers.compliance_level, "headers.complianceLevel", Some("compliance_level")),
        tag(&headers.compliance_flags, "headers.complianceFlags", None),
        place(&routing.pool_header, "routing.poolHeader"),
    ];
    all.extend(headers.user_pseudonym.as_ref().map(|name| tag(name, "headers.userPseudonym", Some("user_id"))));
    all.extend(cohort.map(|header| place(header, "routing.canary.header")));
    all
}

/// What reads a header, whichever proxy it is for; each manifest once.
fn readers<'m>(mesh: &'m Mesh<'_>, tables: &'m [Table<'_>], name: &str) -> Vec<Reader<'m>> {
    let mut readers: Vec<Reader<'m>> = Vec::new();
    let mut add = |kind, manifest: &'m Manifest, place| {
        let is_known = |known: &Reader<'_>| known.manifest.is_some_and(|it| std::ptr::eq(it, manifest));
        if !readers.iter().any(is_known) {
            readers.push(Reader { kind, title: manifest.title(), place, manifest: Some(manifest) });
        }
    };
    for route in tables.iter().flat_map(|table| &table.routes) {
        let mut conditions = route.conditions.headers.iter();
        if let Some(condition) = conditions.find(|condition| condition.name.eq_ignore_ascii_case(name)) {
            add(Kind::Route, route.owner, condition.place);
        }
    }
    for manifest in &mesh.manifests {
        if let Some((kind, node)) = reads(manifest, name) {
            add(kind, manifest, &node.place);
        }
    }
    if let Some(config) = mesh.mesh_config()
        && let Some((kind, node)) = in_texts(config, name)
    {
        readers.push(Reader { kind, title: "the meshConfig".into(), place: &node.place, manifest: None });
    }
    readers
}

fn reads<'d>(manifest: &'d Manifest, name: &str) -> Option<(Kind, &'d Node)> {
    let spec = manifest.spec(&[])?;
    match (manifest.group.as_str(), manifest.kind.as_str()) {
        (TELEMETRY, "Telemetry") => {
            let tags = spec.list(&["tracing"]).iter().filter_map(|tracing| tracing.get(&["customTags"]));
            tags.flat_map(Node::entries)
                .filter_map(|tag| {
                    let header = tag.value.get(&["header", "name"]).filter(|it| mentions(it, name));
                    header.or_else(|| tag.value.get(&["formatter", "value"]).filter(|it| is_format(it, name)))
                })
                .map(|node| (Kind::Tag, node))
                .next()
                .or_else(|| {
                    let parts = ["accessLogging", "metrics"].into_iter().filter_map(|part| spec.get(&[part]));
                    parts.filter_map(|part| in_texts(part, name)).next()
                })
        }
        (SECURITY, "AuthorizationPolicy") => {
            let is_condition = |node: &&Node| {
                node.as_text().is_some_and(|it| it.starts_with("request.headers[")) && mentions(node, name)
            };
            spec.texts().into_iter().find(is_condition).map(|node| (Kind::Other, node))
        }
        (NETWORKING, "EnvoyFilter") => {
            // What writes the header does not read it.
            let written = headers::in_envoy(spec);
            let mut texts = spec.texts().into_iter().filter(|text| mentions(text, name));
            let text = texts.find(|text| !written.iter().any(|mutation| *mutation.place == text.place))?;
            Some((if is_format(text, name) { Kind::Log } else { Kind::Other }, text))
        }
        (SECURITY, "RequestAuthentication") | (NETWORKING, "DestinationRule") => in_texts(spec, name),
        (NETWORKING, "VirtualService") | (super::mesh::GATEWAY_API, _) => {
            let mut texts = spec.texts().into_iter();
            texts.find(|text| is_format(text, name)).map(|node| (Kind::Other, node))
        }
        // Plugins of others.
        _ if manifest.wasm().is_some() && !super::mesh::is_careplane(manifest) => {
            manifest.wasm()?.get(&["pluginConfig"]).and_then(|config| in_texts(config, name))
        }
        _ => None,
    }
}

/// The first text that names a header.
fn in_texts<'d>(node: &'d Node, name: &str) -> Option<(Kind, &'d Node)> {
    let text = node.texts().into_iter().find(|text| mentions(text, name))?;
    Some((if is_format(text, name) { Kind::Log } else { Kind::Other }, text))
}

/// Whether a text has the name of a header, and not in the middle of another name.
fn mentions(text: &Node, name: &str) -> bool {
    let text = text.as_text().unwrap_or_default().to_ascii_lowercase();
    let is_part = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
    text.match_indices(&name.to_ascii_lowercase()).any(|(start, found)| {
        let (before, after) = (&text.as_bytes()[..start], &text.as_bytes()[start + found.len()..]);
        !is_part(before.last()) && !is_part(after.first())
    })
}

/// Whether it is a format of Envoy that reads a header: `%REQ(X-TENANT-ID)%`.
fn is_format(text: &Node, name: &str) -> bool {
    text.as_text().is_some_and(|text| text.contains(REQUEST)) && mentions(text, name)
}

/// The policies that believe a header which comes from where a plugin stands.
fn sources<'m>(mesh: &'m Mesh<'_>, writer: &Writer<'m, '_>, name: &str) -> Vec<Reader<'m>> {
    let here = writer.plugin.and_then(|plugin| placement::of(mesh, plugin));
    let readers = mesh.plugins.iter().filter_map(|plugin| {
        let own = writer.plugin?;
        if std::ptr::eq(own, plugin) || !reaches(here, placement::of(mesh, plugin), own.meets(plugin)) {
            return None;
        }
        let policy = &mesh.policies[plugin.policy?];
        let document = policy.document.as_ref()?;
        if matches!(&document.identity.trusted_peers, TrustedPeers::Listed(peers) if peers.is_empty()) {
            return None;
        }
        let identity = &document.identity;
        let found = [("tenant", &identity.tenant.sources), ("user", &identity.user.sources)].into_iter().find_map(
            |(whose, sources)| {
                let is_it = |source: &Source| matches!(source, Source::Header(it) if it.eq_ignore_ascii_case(name));
                Some(format!("identity.{whose}.sources[{}]", sources.iter().position(is_it)?))
            },
        )?;
        Some(Reader {
            kind: Kind::Source,
            title: plugin.manifest.title(),
            place: policy.place(&found),
            manifest: Some(plugin.manifest),
        })
    });
    readers.collect()
}

/// Whether a header that is written in one place can be read in another, by careplane or through an application.
fn reaches(from: Option<ProxyPlacement>, to: Option<ProxyPlacement>, may_meet: bool) -> bool {
    match (from, to) {
        (Some(from), Some(to)) if from == to => may_meet,
        (_, Some(ProxyPlacement::Gateway)) | (Some(ProxyPlacement::Gateway), Some(ProxyPlacement::Outbound)) => false,
        _ => true,
    }
}

// === impl Header ===

impl Header<'_> {
    /// What would be right where it is read.
    fn instead(&self, kind: Kind) -> String {
        let written = "the header not in headers.omit";
        match (kind, self.state) {
            (Kind::Tag, Some(state)) => {
                format!("formatter: {{value: \"%FILTER_STATE(wasm.careplane.{state}:PLAIN)%\"}}")
            }
            (Kind::Log, _) => format!("the record, {RECORD}, or {written}"),
            (Kind::Source, _) => format!("{written}, or no such source in identity"),
            _ => written.into(),
        }
    }
}

// === impl Writer ===

impl Writer<'_, '_> {
    fn runs(&self, filter: &str) -> bool {
        self.plugin.is_none_or(|plugin| plugin.has(filter))
    }

    /// Whether a reader depends on this plugin.
    fn serves(&self, mesh: &Mesh<'_>, reader: &Reader<'_>, header: &Header<'_>, all: &[Self]) -> bool {
        let meets = |writer: &Self| match (writer.plugin, reader.manifest) {
            (Some(plugin), Some(manifest)) => may_meet(plugin.manifest, manifest),
            _ => true,
        };
        match reader.kind {
            Kind::Source => true,
            // In front of a workload, the route has been taken.
            Kind::Route => self.plugin.is_none_or(|plugin| {
                placement::of(mesh, plugin) != Some(ProxyPlacement::Inbound) || plugin.is_at_waypoints(mesh)
            }),
            Kind::Tag | Kind::Log => meets(self),
            // It can be meant for the proxies of another plugin, which writes the header.
            Kind::Other => {
                let writes = |writer: &Self| {
                    let names = written(writer.document);
                    writer.runs(header.filter)
                        && names.iter().any(|it| it.name.eq_ignore_ascii_case(header.name))
                        && !omits(writer.document, header.name)
                };
                meets(self) && !all.iter().any(|writer| meets(writer) && writes(writer))
            }
        }
    }
}

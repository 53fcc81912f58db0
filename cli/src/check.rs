//! `careplane check`: policies, the manifests that carry them, and the rest of the mesh that has to agree with them.

#[cfg(feature = "commands")]
mod command;
mod directory;
#[cfg(test)]
mod envoy;
mod envoy_filters;
pub mod finding;
mod headers;
mod identity;
mod mesh;
mod observability;
mod omitted;
#[cfg(feature = "commands")]
mod output;
mod paths;
mod people;
mod placement;
mod plugins;
pub mod routes;
mod routing;
pub mod rules;
mod shadow;
mod tracing;
mod writes;

use careplane_policy::{Policy, Problem};

use crate::input::Input;
use crate::manifest::{Document, Manifest, PROTOBUF};
use crate::yaml::kubectl::Misread;
use crate::yaml::{Location, Node};
#[cfg(feature = "commands")]
pub use command::{Arguments, run};
use finding::{Finding, Findings};
pub use mesh::{Mesh, is_careplane};

/// How much was checked, for the last line.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct Summary {
    pub documents: usize,
    pub policies: usize,
    pub plugins: usize,
}

/// Everything that is wrong, in the order of files and lines.
pub fn check(input: &Input) -> (Vec<Finding>, Summary) {
    check_with(input, Extras::default())
}

/// What is looked for only where it is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extras {
    /// Headers that no manifest reads.
    pub unread_headers: bool,
}

/// As [`check`], and what is asked for besides.
pub fn check_with(input: &Input, extras: Extras) -> (Vec<Finding>, Summary) {
    let mut findings = Findings::default();
    for broken in &input.broken {
        findings.add(&rules::NOT_YAML, &broken.place, broken.message.clone());
    }
    for document in input.documents.iter().chain(input.alternatives.iter().flatten()) {
        unquoted(document, &mut findings);
        if let Document::Protobuf(node) = document {
            findings.add(&rules::POLICY, &node.place, PROTOBUF);
        }
    }
    let none = vec![Vec::new()];
    let alternatives = if input.alternatives.is_empty() { &none } else { &input.alternatives };
    let mut summary = Summary { documents: input.documents.len(), ..Summary::default() };
    for alternative in alternatives {
        let mesh = Mesh::new(input.documents.iter().chain(alternative));
        summary.documents += alternative.len();
        summary.policies += mesh.policies.len();
        summary.plugins += mesh.plugins.len();
        policies(&mesh, &mut findings);
        plugins::check(&mesh, &mut findings);
        identity::check(&mesh, &mut findings);
        people::check(&mesh, &mut findings);
        shadow::check(&mesh, &mut findings);
        let tables = routes::tables(&mesh);
        routing::check(&mesh, &tables, &mut findings);
        writes::check(&mesh, &tables, &mut findings);
        placement::check(&mesh, &mut findings);
        directory::check(&mesh, &mut findings);
        headers::check(&mesh, &mut findings);
        omitted::check(&mesh, &tables, &mut findings);
        if extras.unread_headers {
            omitted::unread(&mesh, &tables, &mut findings);
        }
        envoy_filters::check(&mesh, &mut findings);
        paths::check(&mesh, &mut findings);
        observability::check(&mesh, &mut findings);
        tracing::check(&mesh, &mut findings);
    }
    (findings.sorted(), summary)
}

/// What `kubectl` reads otherwise, of what is compared here. Elsewhere it is what is meant: `defaultMode: 0400` of a
/// volume.
fn unquoted(document: &Document, findings: &mut Findings) {
    let is_compared = |manifest: &Manifest| {
        manifest.is_policy()
            || manifest.wasm().is_some()
            || [mesh::NETWORKING, mesh::SECURITY, mesh::TELEMETRY, mesh::GATEWAY_API].contains(&&*manifest.group)
    };
    let node = match document {
        Document::Policy(node) => node,
        Document::Manifest(manifest) if is_compared(manifest) => &manifest.node,
        Document::Manifest(_) | Document::Protobuf(_) | Document::Other(_) => return,
    };
    for (place, message) in misreadings(node) {
        findings.add(&rules::UNQUOTED, place, message);
    }
}

/// Keys and values that `kubectl` reads otherwise, and what to write instead.
pub fn misreadings(node: &Node) -> Vec<(&Location, String)> {
    let mut found = Vec::new();
    let read = |misread: &Misread| misread.read.as_deref().map(|read| format!("{read} to kubectl"));
    for (_, entry) in node.all_entries() {
        if let Some(misread) = &entry.key_misread {
            let read = read(misread).unwrap_or_else(|| "no key to kubectl, which refuses the document".into());
            let message = format!("the key {} is {read}: expected quotes: {:?}", misread.written, entry.key);
            found.push((&entry.key_place, message));
        }
    }
    for value in node.words() {
        let Some(misread) = &value.misread else { continue };
        let read = read(misread).unwrap_or_else(|| "refused by kubectl".into());
        let (here, expected) = match value.as_number() {
            Some(number) => (number.to_string(), format!("expected {number}, or quotes")),
            None => (value.to_json().to_string(), "expected quotes".to_owned()),
        };
        let message = format!("{} is {here} here and {read}: {expected}", misread.written);
        found.push((&value.place, message));
    }
    found
}

/// What the proxy would say to a policy.
fn policies(mesh: &Mesh<'_>, findings: &mut Findings) {
    for policy in &mesh.policies {
        let problems = match &policy.compiled {
            Ok(accepted) => {
                queue_size(accepted, policy.node, findings);
                continue;
            }
            Err(problems) => problems,
        };
        for problem in problems.iter() {
            findings.add(&rules::POLICY, problem_place(policy.node, problem), problem.to_string());
        }
    }
}

/// Where the text of a policy has a problem.
pub fn problem_place<'n>(policy: &'n Node, problem: &Problem) -> &'n Location {
    let found = policy.follow(&problem.path);
    // A field that does not exist is a fault of its name, any other of its value.
    match found.key_place {
        Some(key) if problem.message.starts_with("unknown field") => key,
        _ => &found.node.place,
    }
}

/// One batch is on its way while the next is filled, and both are in the queue.
fn queue_size(policy: &Policy, node: &Node, findings: &mut Findings) {
    /// What a record takes, about: a million are 1.3 GB (`docs/audit-verify.md`).
    const RECORD_BYTES: u64 = 1300;
    let Some(export) = &policy.export else { return };
    let needed = export.batch_records.saturating_mul(2 * RECORD_BYTES);
    if export.queue_bytes < needed {
        let place = &node.follow("export.queueBytes").node.place;
        findings.add(
            &rules::QUEUE_SIZE,
            place,
            format!(
                "{} bytes for batches of {} records: expected at least {needed}",
                export.queue_bytes, export.batch_records
            ),
        );
    }
}

//! The plugins themselves: what Istio takes without a word, and what those of one image have in common.

use std::collections::BTreeMap;

use super::finding::{Findings, Related};
use super::mesh::{Mesh, Plugin, claims};
use super::rules;

const SCHEMES: [&str; 4] = ["oci://", "https://", "http://", "file://"];
/// What Istio takes when a plugin does not say.
const DEFAULT_FAIL_STRATEGY: &str = "FAIL_CLOSE";

pub fn check(mesh: &Mesh<'_>, findings: &mut Findings) {
    for plugin in &mesh.plugins {
        url(plugin, findings);
        name(plugin, findings);
        phase(mesh, plugin, findings);
        pseudonym_key(mesh, plugin, findings);
        if plugin.spec("priority").is_none() {
            findings.add(
                &rules::PLUGIN_PRIORITY,
                plugin.manifest.place(),
                format!(
                    "{} has no priority: expected a number, such as 100; higher ones come first",
                    plugin.manifest.title()
                ),
            );
        }
        if plugin.policy.is_none() {
            findings.add(
                &rules::POLICY_MISSING,
                plugin.place(plugin.wasm.get(&["pluginConfig"])),
                format!(
                    "{} has no policy: expected a document with `version: careplane/v1` in pluginConfig; where \
                     kustomize puts it \
                     there, check what it renders: kubectl kustomize DIR | careplane check -",
                    plugin.manifest.title()
                ),
            );
        }
    }
    for (index, plugin) in mesh.plugins.iter().enumerate() {
        let shares_a_vm =
            |other: &&Plugin<'_>| !plugin.url().is_empty() && other.url() == plugin.url() && other.meets(plugin);
        let siblings: Vec<_> = mesh.plugins.iter().take(index).filter(shares_a_vm).collect();
        if let Some(other) = siblings.iter().find(|other| fail_strategy(other) != fail_strategy(plugin)) {
            same_fail_strategy(plugin, other, findings);
        }
        if let Some(other) = siblings.iter().find(|other| env(other) != env(plugin)) {
            same_env(plugin, other, findings);
        }
    }
}

fn url(plugin: &Plugin<'_>, findings: &mut Findings) {
    let node = plugin.wasm.get(&["url"]);
    let url = plugin.url();
    if !SCHEMES.iter().any(|scheme| url.starts_with(scheme)) {
        let example = if url.is_empty() { "registry.example/careplane/careplane:0.1.0" } else { url };
        let message = format!("{url:?} has no scheme: expected \"oci://{example}\"");
        findings.add(&rules::PLUGIN_URL, plugin.place(node), message);
    } else if !url.starts_with("file://") && !url.contains("@sha256:") && plugin.wasm.get(&["sha256"]).is_none() {
        let message = format!("{url:?} has no digest: expected `@sha256:…` at its end, or `sha256`");
        findings.add(&rules::PLUGIN_DIGEST, plugin.place(node), message);
    }
}

fn name(plugin: &Plugin<'_>, findings: &mut Findings) {
    let known = plugin.known_names();
    if !known.contains(&plugin.name()) {
        findings.add(
            &rules::PLUGIN_NAME,
            plugin.place(plugin.wasm.get(&["pluginName"])),
            format!("{:?} is not a filter of this module: expected one of {}", plugin.name(), known.join(", ")),
        );
    }
}

fn phase(mesh: &Mesh<'_>, plugin: &Plugin<'_>, findings: &mut Findings) {
    let node = plugin.spec("phase");
    let document = plugin.policy.and_then(|index| mesh.policies[index].document.as_ref());
    match node.and_then(|node| node.as_text()) {
        Some("AUTHZ") => {}
        Some("AUTHN") => {
            let claims = document.map(claims).unwrap_or_default();
            if !claims.is_empty() {
                let message = format!(
                    "AUTHN is before jwt_authn, so the claims {} are never there: expected AUTHZ",
                    claims.join(", ")
                );
                findings.add(&rules::PLUGIN_PHASE, plugin.place(node), message);
            }
        }
        other => {
            let message = format!("{} runs after authorization: expected `phase: AUTHZ`", other.unwrap_or("no phase"));
            findings.add(&rules::PLUGIN_PHASE_LATE, plugin.place(node), message);
        }
    }
}

fn pseudonym_key(mesh: &Mesh<'_>, plugin: &Plugin<'_>, findings: &mut Findings) {
    let Some(policy) = plugin.policy.map(|index| &mesh.policies[index]) else { return };
    let Some(document) = &policy.document else { return };
    let key = document.pseudonyms.key_env.as_str();
    let variable = plugin.env().iter().find(|variable| variable.text(&["name"]) == Some(key));
    match variable {
        None => findings.add_related(
            &rules::PSEUDONYM_KEY,
            plugin.place(plugin.wasm.get(&["vmConfig", "env"])),
            format!(
                "{} does not get {key}: expected {{name: {key}, valueFrom: HOST}} in vmConfig.env",
                plugin.manifest.title()
            ),
            vec![Related::new(policy.place("pseudonyms.keyEnv"), "the policy reads the key from it")],
        ),
        Some(variable) if variable.text(&["valueFrom"]) != Some("HOST") => findings.add(
            &rules::PSEUDONYM_KEY_INLINE,
            variable.get(&["value"]).map_or(&variable.place, |value| &value.place),
            format!(
                "the key is in the manifest: expected {{name: {key}, valueFrom: HOST}}, and the variable of the \
                 proxy from a Secret"
            ),
        ),
        Some(_) => {}
    }
}

fn fail_strategy<'d>(plugin: &Plugin<'d>) -> &'d str {
    plugin.wasm.text(&["failStrategy"]).unwrap_or(DEFAULT_FAIL_STRATEGY)
}

fn env<'d>(plugin: &Plugin<'d>) -> BTreeMap<&'d str, (Option<&'d str>, Option<&'d str>)> {
    let value = |variable: &'d crate::yaml::Node| (variable.text(&["value"]), variable.text(&["valueFrom"]));
    plugin.env().iter().filter_map(|variable| Some((variable.text(&["name"])?, value(variable)))).collect()
}

fn same_fail_strategy(plugin: &Plugin<'_>, other: &Plugin<'_>, findings: &mut Findings) {
    let field = |plugin: &Plugin<'_>| plugin.place(plugin.wasm.get(&["failStrategy"])).clone();
    let (mine, theirs) = (fail_strategy(plugin), fail_strategy(other));
    findings.add_related(
        &rules::PLUGIN_FAIL_STRATEGY,
        &field(plugin),
        format!(
            "{mine}, and {} of the same image has {theirs}: expected one failStrategy for one image, or the modules \
             of one filter each",
            other.manifest.title()
        ),
        vec![Related::new(&field(other), format!("{theirs} here"))],
    );
}

fn same_env(plugin: &Plugin<'_>, other: &Plugin<'_>, findings: &mut Findings) {
    let field = |plugin: &Plugin<'_>| plugin.place(plugin.wasm.get(&["vmConfig", "env"])).clone();
    findings.add_related(
        &rules::PLUGIN_ENV,
        &field(plugin),
        format!(
            "vmConfig.env is not that of {}, which has the same image: expected them equal",
            other.manifest.title()
        ),
        vec![Related::new(&field(other), "the other one")],
    );
}

//! What applying would change, found out without changing anything.

use std::fs;

use serde_json::{Value, json};

use super::Context;
use super::cluster::minor;
use super::difference::{Difference, Presence, compare};
use super::failure::{Code, Failure};
use super::keys::{Keys, SECRET};
use super::left;
use super::manifests::{self, Document, GATEWAY_NAMESPACE, PLACEHOLDER_OF_REGISTRY, Step};
use super::plugins::{self, Plugin};
use crate::check::{self, rules::Level};
use crate::image::Address;
use crate::manifest::Document as Checked;
use crate::{input, out, yaml};

/// The steps and their documents, Istio's own among them.
pub struct Plan {
    pub differences: Vec<Difference>,
    pub keys: Keys,
    pub istio: Vec<Document>,
    /// Plugins of another overlay.
    pub stale: Vec<Plugin>,
    /// What earlier runs have made and stays.
    left: Vec<Document>,
    has_certificate: bool,
    warnings: Vec<String>,
}

/// Prints the plan.
pub fn run(context: &Context<'_>) -> Result<(), Failure> {
    let printer = context.printer;
    printer.say("mode", "plan: nothing is changed; apply applies");
    if context.manifests.has_placeholder() {
        printer.warn(
            "the manifests have the placeholder oci://registry.example/…: apply needs --image, or your address in \
             base/careplane/policy/image.yaml",
        );
    }
    let plan = Plan::make(context)?;
    let finished = if plan.is_empty() {
        "nothing to do: the cluster is as the manifests say"
    } else {
        "nothing was changed: apply applies this"
    };
    printer.say("finished", finished);
    if printer.is_quiet() {
        let _ = out::print(&format!("{:#}\n", plan.to_json(context)));
    }
    Ok(())
}

impl Plan {
    /// Prints it while it is found out.
    pub fn make(context: &Context<'_>) -> Result<Self, Failure> {
        let Context { settings, cluster, manifests, printer } = context;
        if manifests.has_placeholder_of_registry() {
            printer.warn(&format!(
                "NetworkPolicy proxies has the placeholder {PLACEHOLDER_OF_REGISTRY}: where network policies are \
                 enforced, proxies cannot fetch the module and refuse every request"
            ));
            printer.more("write the address of your registry into base/security/every-namespace/network-policies.yaml");
        }
        let mut warnings = check_policies(context)?;
        warnings.extend(check_istioctl(context)?);
        let presence = Presence::read(cluster)?;
        check_gateway_api(context, &presence)?;
        let mut differences = Vec::new();
        let mut show = |label, documents: &[&Document]| {
            let waiting = printer.waiting(&format!("comparing {label}"));
            let difference = compare(cluster, &presence, label, documents)?;
            drop(waiting);
            difference.show(printer);
            differences.push(difference);
            Ok::<_, Failure>(())
        };
        show(Step::Namespaces.label(), &manifests.step(Step::Namespaces))?;
        let keys = Keys::read(context)?;
        keys.print(context, "to be made");
        let has_certificate = check_certificate(context)?;
        let istio = manifests::istio(cluster, settings)?;
        show("istio", &istio.iter().collect::<Vec<_>>())?;
        for step in [Step::Security, Step::Traffic, Step::Observability, Step::Admission, Step::Careplane] {
            show(step.label(), &manifests.step(step))?;
        }
        let (stale, others) = plugins::stale(context, &presence)?;
        let overlay = settings.overlay.name();
        for plugin in &stale {
            printer.more(&format!("to be removed: {}, which {overlay} does not have", plugin.title()));
        }
        for plugin in &others {
            printer.warn(&format!(
                "{} is not of {overlay}, and apply has not made it: it stays, beside those of {overlay}",
                plugin.title()
            ));
        }
        let mut left = left::read(context, &presence)?;
        // Each change of a configuration leaves one behind, to which a rollback leads.
        left.retain(|document| document.kind != "ConfigMap");
        if !left.is_empty() {
            printer.warn(&format!("an earlier apply has made these, which {overlay} does not have; they stay:"));
            left.iter().for_each(|document| printer.more(&document.title()));
        }
        Ok(Self { differences, keys, istio, stale, left, has_certificate, warnings })
    }

    pub fn is_empty(&self) -> bool {
        self.differences.iter().all(Difference::is_empty) && self.keys.missing.is_empty() && self.stale.is_empty()
    }

    pub fn difference(&self, label: &str) -> Option<&Difference> {
        self.differences.iter().find(|difference| difference.label == label)
    }

    pub fn conflicts(&self) -> usize {
        self.differences.iter().map(Difference::conflicts).sum()
    }

    fn to_json(&self, context: &Context<'_>) -> Value {
        json!({
            "context": context.cluster.context,
            "server": context.cluster.server,
            "overlay": context.settings.overlay.name(),
            "nothingToDo": self.is_empty(),
            "conflicts": self.conflicts(),
            "steps": self.differences.iter().map(Difference::to_json).collect::<Vec<_>>(),
            "keys": {"secret": SECRET, "missing": self.keys.missing, "different": self.keys.different},
            "hasCertificate": self.has_certificate,
            "removed": self.stale.iter().map(Plugin::title).collect::<Vec<_>>(),
            "left": self.left.iter().map(Document::title).collect::<Vec<_>>(),
            "warnings": self.warnings,
        })
    }
}

/// `careplane check`, of all that is applied.
fn check_policies(context: &Context<'_>) -> Result<Vec<String>, Failure> {
    let input = input::read(&manifests::checked(context.settings));
    let mut input = input.map_err(|error| Failure::usage(format!("{error:#}")))?;
    if let Some(image) = &context.settings.image {
        set_image(&mut input.documents, image);
    }
    let (findings, _) = check::check(&input);
    let of = |level: Level| -> Vec<String> {
        let these = findings.iter().filter(|finding| finding.rule.level == level);
        these.map(|it| format!("{}: {} [{}]", it.place, it.message, it.rule.id)).collect()
    };
    let (errors, warnings) = (of(Level::Error), of(Level::Warning));
    if !errors.is_empty() {
        for line in &errors {
            eprintln!("    {line}");
        }
        let message = "careplane check refuses the policies: nothing was changed";
        return Err(Failure::new(Code::PolicyRefused, message)
            .advise("applied all the same, a proxy that starts with them would answer every request with 500"));
    }
    context.printer.say("policies", "ok: careplane check has no objection");
    for line in &warnings {
        context.printer.more(line);
    }
    Ok(warnings)
}

/// istioctl brings the charts, and the file names the images: of one minor release, or neither has been tested with the
/// other.
fn check_istioctl(context: &Context<'_>) -> Result<Option<String>, Failure> {
    let file = context.settings.istio_file();
    let shown = file.display().to_string();
    let text = fs::read_to_string(&file).map_err(|error| Failure::usage(format!("{shown} cannot be read: {error}")))?;
    let documents = yaml::read(&shown.as_str().into(), &text).unwrap_or_default();
    let tag = documents.iter().find_map(|document| document.text(&["spec", "tag"])).unwrap_or_default();
    let istioctl = &context.cluster.istioctl;
    if minor(istioctl).zip(minor(tag)).is_none_or(|(istioctl, images)| istioctl == images) {
        return Ok(None);
    }
    let warning = format!("istioctl is {istioctl}, and {shown} has images of {tag}: use those of one minor release");
    context.printer.warn(&warning);
    Ok(Some(warning))
}

/// What is checked is what is applied.
fn set_image(documents: &mut [Checked], image: &Address) {
    for document in documents {
        let Checked::Manifest(manifest) = document else { continue };
        for way in [&["spec", "url"][..], &["spec", "wasm", "url"]] {
            let Some(url) = manifest.node.get_mut(way) else { continue };
            if let Some(found) = url.as_text().and_then(|url| url.parse().ok()) {
                url.value = yaml::Value::Text(manifests::in_place_of(found, image).to_string());
            }
        }
    }
}

fn check_gateway_api(context: &Context<'_>, presence: &Presence) -> Result<(), Failure> {
    const GROUP: &str = "gateway.networking.k8s.io";
    if !context.manifests.all().any(|document| document.group() == GROUP) || presence.serves(GROUP) {
        return Ok(());
    }
    let overlay = context.settings.overlay.name();
    let message = format!("overlay {overlay} needs the Gateway API, which this cluster does not have");
    Err(Failure::new(Code::Prerequisite, message)
        .advise("install its standard channel: https://gateway-api.sigs.k8s.io/guides/"))
}

fn check_certificate(context: &Context<'_>) -> Result<bool, Failure> {
    let Context { cluster, manifests, printer, .. } = context;
    let mut are_there = true;
    for secret in manifests.certificates() {
        if cluster.exists(&["secret", secret, "-n", GATEWAY_NAMESPACE])? {
            printer.say("certificate", &format!("ok: Secret {secret} is in {GATEWAY_NAMESPACE}"));
            continue;
        }
        are_there = false;
        printer.warn(&format!(
            "Secret {secret} is not in {GATEWAY_NAMESPACE}: the gateway serves no HTTPS without it. With your \
             certificate:"
        ));
        printer.more(&format!(
            "kubectl --context {} -n {GATEWAY_NAMESPACE} create secret tls {secret} --cert=tls.crt --key=tls.key",
            cluster.context
        ));
    }
    Ok(are_there)
}

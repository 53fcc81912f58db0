//! Installs Istio and applies the manifests, in order.

use std::thread;
use std::time::Duration;

use super::Context;
use super::difference::{Difference, MANAGER, refused};
use super::failure::{Code, Failure};
use super::manifests::{Document, Step, join};
use super::plan::Plan;
use super::plugins;

/// A plugin that the admission policy has to refuse.
const WITHOUT_POLICY: &str = "\
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: careplane-without-policy, namespace: istio-system, labels: {app.kubernetes.io/name: careplane}}
spec: {url: \"oci://registry.example/careplane\"}
";

pub fn run(context: &Context<'_>) -> Result<(), Failure> {
    let Context { settings, cluster, manifests, printer } = context;
    printer.say("mode", "apply");
    if manifests.has_placeholder() {
        let message = "the manifests still have the placeholder oci://registry.example/…: a proxy that cannot fetch \
                       the module refuses every request";
        let advice = "push the module to your registry, then: --image oci://registry/repository:tag@sha256:digest";
        return Err(Failure::usage(message).advise(advice));
    }
    let plan = Plan::make(context)?;
    let conflicts = plan.conflicts();
    if conflicts > 0 && !settings.force_conflicts {
        let message = format!(
            "other managers have set {conflicts} of these fields to something else (marked with ! above): nothing was \
             changed"
        );
        return Err(Failure::new(Code::Refused, message)
            .advise("take what they have into your manifests, or take the fields from them: --force-conflicts"));
    }
    if !plan.is_empty() {
        context.confirm("Install Istio and apply the manifests")?;
    }

    apply(context, &plan, Step::Namespaces)?;
    if !plan.keys.missing.is_empty() {
        plan.keys.make(context)?;
    }
    if let Some(difference) = plan.difference("istio").filter(|difference| !difference.is_empty()) {
        install_istio(context, difference)?;
        cluster.forget_kinds();
    }
    await_rollouts(context, "istio ready", plan.istio.iter())?;
    for step in [Step::Security, Step::Traffic, Step::Observability, Step::Admission] {
        apply(context, &plan, step)?;
    }
    await_admission(context)?;
    apply(context, &plan, Step::Careplane)?;
    for plugin in &plan.stale {
        plugins::remove(cluster, plugin)?;
        printer.more(&format!("removed: {}, which {} does not have", plugin.title(), settings.overlay.name()));
    }
    await_rollouts(context, "ready", manifests.all())?;
    let applied = if plan.is_empty() {
        "nothing was changed: the cluster was as the manifests say"
    } else {
        "the cluster is as the manifests say"
    };
    printer.say("applied", applied);
    Ok(())
}

fn apply(context: &Context<'_>, plan: &Plan, step: Step) -> Result<(), Failure> {
    let Some(difference) = plan.difference(step.label()).filter(|difference| !difference.is_empty()) else {
        return Ok(());
    };
    let manager = format!("--field-manager={MANAGER}");
    let mut arguments = vec!["apply", "--server-side", &manager, "-f", "-"];
    if context.settings.force_conflicts {
        arguments.push("--force-conflicts");
    }
    let waiting = context.printer.waiting(&format!("applying {}", step.label()));
    // All of the step: kubectl orders what its documents need of one another.
    let ended = context.cluster.feed(&arguments, &join(context.manifests.step(step)))?;
    drop(waiting);
    if !ended.status.success() {
        return Err(refused(context.cluster, step.label(), "applied", &ended));
    }
    difference.summarise(context.printer, "made", "changed");
    let mut warnings: Vec<&str> = ended.stderr.lines().filter(|line| line.starts_with("Warning: ")).collect();
    warnings.dedup();
    warnings.iter().for_each(|line| context.printer.more(line));
    Ok(())
}

fn install_istio(context: &Context<'_>, difference: &Difference) -> Result<(), Failure> {
    let Context { settings, cluster, printer, .. } = context;
    let timeout = settings.timeout.to_string();
    printer.say("istio", &format!("istioctl install; waits up to {timeout}"));
    let options = settings.istio_options();
    let mut arguments = vec!["install"];
    arguments.extend(options.iter().map(String::as_str));
    arguments.extend(["--skip-confirmation", "--readiness-timeout", &timeout]);
    let waiting = printer.waiting("istioctl install");
    let ended = cluster.istioctl(&arguments)?;
    drop(waiting);
    if ended.status.success() {
        difference.summarise(printer, "made", "changed");
        return Ok(());
    }
    let said = ended.stdout + &ended.stderr;
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    for line in lines.iter().skip(lines.len().saturating_sub(15)) {
        eprintln!("    {line}");
    }
    if said.contains("not ready") || said.contains("deadline exceeded") {
        let context = &cluster.context;
        return Err(Failure::new(Code::TimedOut, format!("Istio was installed and is not ready after {timeout}"))
            .advise(format!("try: kubectl --context {context} -n istio-system get pods"))
            .advise("then run this again"));
    }
    Err(Failure::new(Code::Refused, "istioctl install failed: the reason is above"))
}

/// Waits until the workloads among the documents are ready.
fn await_rollouts<'d>(
    context: &Context<'_>,
    label: &str,
    documents: impl Iterator<Item = &'d Document>,
) -> Result<(), Failure> {
    let (cluster, timeout) = (context.cluster, context.settings.timeout.to_string());
    let mut waited = 0;
    for workload in documents.filter(|document| document.is_workload()) {
        let (namespace, kind) = (workload.namespace.as_deref().unwrap_or("default"), workload.kind.to_lowercase());
        let Document { name, .. } = workload;
        let waiting = context.printer.waiting(&format!("waiting for {kind} {namespace}/{name}"));
        let (target, limit) = (format!("{kind}/{name}"), format!("--timeout={timeout}"));
        let ended = cluster.kubectl(&["-n", namespace, "rollout", "status", &target, &limit])?;
        drop(waiting);
        if !ended.status.success() {
            if !ended.timed_out() {
                return Err(refused(cluster, &format!("{kind} {namespace}/{name}"), "waited for", &ended));
            }
            eprintln!("    {}", ended.last_line());
            return Err(Failure::new(
                Code::TimedOut,
                format!("{kind} {namespace}/{name} is not ready after {timeout}"),
            )
            .advise(format!("try: kubectl --context {} -n {namespace} describe {kind} {name}", cluster.context))
            .advise("then run this again"));
        }
        waited += 1;
    }
    context.printer.say(label, &format!("ok: {waited} workloads ready"));
    Ok(())
}

/// A policy that was just made is not at work yet. A plugin that it has to refuse, sent as a dry run, shows when it is.
fn await_admission(context: &Context<'_>) -> Result<(), Failure> {
    const TRIES: u32 = 30;
    if context.manifests.step(Step::Admission).is_empty() {
        return Ok(());
    }
    let waiting = context.printer.waiting("waiting for the admission policy");
    let mut last = String::new();
    for _ in 0..TRIES {
        let ended = context.cluster.feed(&["create", "--dry-run=server", "-f", "-"], WITHOUT_POLICY)?;
        last = ended.stderr;
        if last.contains("ValidatingAdmissionPolicy 'careplane-plugins'") && last.contains("denied") {
            drop(waiting);
            context.printer.say("admission", "ok: refuses a plugin that has no policy");
            return Ok(());
        }
        thread::sleep(Duration::from_secs(1));
    }
    drop(waiting);
    eprintln!("    {}", last.trim());
    let message = "the admission policy does not refuse a plugin without a policy, 30 s after it was applied";
    let advice = format!("try: kubectl --context {} get validatingadmissionpolicybindings", context.cluster.context);
    Err(Failure::new(Code::TimedOut, message).advise(advice))
}

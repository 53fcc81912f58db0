//! `careplane mesh`: puts the mesh and careplane into a cluster, verifies it, and takes it out again, with the kubectl
//! and the istioctl of the person who runs it.

mod apply;
mod cluster;
mod difference;
mod failure;
mod forward;
mod keys;
mod left;
mod manifests;
mod options;
mod plan;
mod plugins;
mod print;
mod programs;
mod undo;
mod verify;

use std::process::ExitCode;

use cluster::Cluster;
use failure::Failure;
use manifests::Manifests;
pub use options::Arguments;
use options::{Mode, Settings};
use print::Printer;

/// Exit code 0 when it is done; the other ones are those of [`failure::Code`].
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    Ok(match Settings::new(arguments).and_then(|(mode, settings)| dispatch(&mode, &settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    })
}

fn dispatch(mode: &Mode, settings: &Settings) -> Result<(), Failure> {
    let printer = Printer::new(mode.is_json());
    let cluster = Cluster::connect(settings, mode, &printer)?;
    if let Mode::Forward(service) = mode {
        return forward::run(&cluster, *service, &printer);
    }
    let manifests = Manifests::render(settings)?;
    printer.say("manifests", &format!("{}, {}", settings.manifests.display(), settings.overlay.name()));
    let context = Context { settings, cluster: &cluster, manifests: &manifests, printer: &printer };
    match mode {
        Mode::Plan(_) => plan::run(&context),
        Mode::Apply => {
            apply::run(&context)?;
            verify::run(&context)
        }
        Mode::Verify => verify::run(&context),
        Mode::Undo => undo::run(&context),
        Mode::Forward(_) => Ok(()),
    }
}

/// What each step needs.
struct Context<'a> {
    settings: &'a Settings,
    cluster: &'a Cluster,
    manifests: &'a Manifests,
    printer: &'a Printer,
}

impl Context<'_> {
    /// Asks whether to go on.
    fn confirm(&self, what: &str) -> Result<(), Failure> {
        if self.settings.yes {
            return Ok(());
        }
        let context = &self.cluster.context;
        if !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
            return Err(Failure::declined(format!(
                "there is no terminal to ask on: to go on in context {context}, add --yes"
            )));
        }
        print::prompt(&format!("{what} in context {context}? [y/N] "));
        let mut answer = String::new();
        // No answer is none.
        let _ = std::io::stdin().read_line(&mut answer);
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Failure::declined("not confirmed, nothing was changed")),
        }
    }
}

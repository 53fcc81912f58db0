//! What the command line says: as subcommands, and as the options of `deploy-service-mesh.sh`.

use std::env;
use std::path::PathBuf;

use clap::ValueEnum;

use super::failure::Failure;
use crate::image::Address;

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or nothing to do
  1  applied, but the verification failed
  2  wrong usage
  3  a program is missing or too old
  4  the cluster cannot be reached, or a read failed
  5  the cluster refused something, or a field belongs to another manager
  6  a wait took longer than --timeout
  7  the policy was refused, by `careplane check` or by the admission policy
  8  not confirmed

It needs kubectl 1.30 or newer, istioctl 1.29 to 1.32, and a cluster of Kubernetes 1.30 or newer.";

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    script: Script,
}

#[derive(clap::Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one of it, once")]
enum Command {
    /// Shows what `apply` would change, and changes nothing
    #[command(after_help = EXIT_CODES)]
    Plan {
        #[command(flatten)]
        target: Target,
        /// Format of the plan
        #[arg(short, long, value_enum, default_value_t = Output::Human)]
        output: Output,
    },
    /// Shows the plan, asks, installs Istio, applies the manifests in order, waits, and verifies
    #[command(after_help = EXIT_CODES)]
    Apply {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        change: Change,
        #[command(flatten)]
        take: Take,
        #[command(flatten)]
        requests: Requests,
    },
    /// Verifies injection, mutual TLS, proxies in sync, plugins loaded, and a trace in Jaeger
    #[command(after_help = EXIT_CODES)]
    Verify {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        requests: Requests,
    },
    /// Removes what `apply` made; what holds data or serves others stays, and is named
    #[command(after_help = EXIT_CODES)]
    Undo {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        change: Change,
        #[command(flatten)]
        purge: Purge,
    },
    /// Opens a service of the mesh on this machine, until Ctrl-C
    #[command(after_help = EXIT_CODES)]
    Forward {
        /// The service
        #[arg(value_enum)]
        name: Service,
        /// Context of the kubeconfig (default: the current one)
        #[arg(long, value_name = "NAME")]
        context: Option<String>,
    },
}

/// The same without a subcommand, for the scripts. Without --apply, --verify, --undo and --forward: `plan`.
#[derive(clap::Args)]
#[command(next_help_heading = "As deploy-service-mesh.sh")]
struct Script {
    /// Is `careplane mesh apply`
    #[arg(long, conflicts_with_all = ["undo", "forward"])]
    apply: bool,
    /// Is `careplane mesh verify`
    #[arg(long, conflicts_with_all = ["undo", "forward"])]
    verify: bool,
    /// Is `careplane mesh undo`
    #[arg(long, conflicts_with = "forward")]
    undo: bool,
    /// Is `careplane mesh forward`
    #[arg(long, value_enum, value_name = "NAME")]
    forward: Option<Service>,
    /// Format of the plan
    #[arg(short, long, value_enum, default_value_t = Output::Human)]
    output: Output,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    change: Change,
    #[command(flatten)]
    take: Take,
    #[command(flatten)]
    purge: Purge,
    #[command(flatten)]
    requests: Requests,
}

#[derive(clap::Args, Clone, Default)]
struct Target {
    /// Context of the kubeconfig (default: the current one; it is shown, and changes are asked for)
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Which arrangement of careplane
    #[arg(long, value_enum, default_value_t = Overlay::Base)]
    overlay: Overlay,
    /// Folder with install, base and overlays (default: CAREPLANE_MANIFESTS, which the scripts set, or
    /// wasmplugin-manifests)
    #[arg(long, value_name = "DIR")]
    manifests: Option<PathBuf>,
    /// Module image, oci://registry/repository:tag@sha256:digest, in place of the one in the manifests. With several
    /// images (overlay isolated) only a tag, for all of them; `careplane image pin` pins each
    #[arg(long, value_name = "URL")]
    image: Option<Address>,
}

#[derive(clap::Args, Clone, Default)]
struct Change {
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    wait: Wait,
}

#[derive(clap::Args, Clone, Default)]
struct Take {
    /// Also take fields that another manager has set to something else
    #[arg(long)]
    force_conflicts: bool,
}

#[derive(clap::Args, Clone, Default)]
struct Wait {
    /// How long each wait may take, in s or m
    #[arg(long, value_name = "TIME", default_value = "300s", value_parser = timeout)]
    timeout: Timeout,
}

#[derive(clap::Args, Clone, Default)]
struct Purge {
    /// With undo: also the pseudonym keys, the stored traces and records, and Istio although proxies still run
    #[arg(long)]
    purge: bool,
}

#[derive(clap::Args, Clone, Default)]
struct Requests {
    /// A valid access token: the verification then sends an accepted request in place of a refused one (or TOKEN)
    #[arg(long)]
    token: Option<String>,
    /// Where the ingress gateway's HTTPS port is reached, if not by port-forward (or GATEWAY_URL)
    #[arg(long, value_name = "URL")]
    gateway_url: Option<String>,
    /// Where Jaeger's query port is reached, if not by port-forward (or JAEGER_URL)
    #[arg(long, value_name = "URL")]
    jaeger_url: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Human,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Overlay {
    #[default]
    Base,
    TrafficExtension,
    Ambient,
    OnePluginPerFilter,
    Isolated,
    AuditOnly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Service {
    Jaeger,
    Kiali,
    Grafana,
    Prometheus,
}

/// Seconds, as kubectl and istioctl take them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout(pub u64);

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Plan(Output),
    Apply,
    Verify,
    Undo,
    Forward(Service),
}

/// With what.
#[derive(Debug, Default)]
pub struct Settings {
    pub context: Option<String>,
    pub overlay: Overlay,
    pub manifests: PathBuf,
    pub image: Option<Address>,
    pub yes: bool,
    pub force_conflicts: bool,
    pub purge: bool,
    pub timeout: Timeout,
    pub token: Option<String>,
    pub gateway_url: Option<String>,
    pub jaeger_url: Option<String>,
}

// === impl Settings ===

impl Settings {
    /// # Errors
    /// When options exclude each other, or the folder of the manifests is none.
    pub fn new(arguments: &Arguments) -> Result<(Mode, Self), Failure> {
        let (mode, mut settings) = match &arguments.command {
            None => Self::of_script(&arguments.script)?,
            Some(Command::Plan { target, output }) => (Mode::Plan(*output), Self::of(target)),
            Some(Command::Apply { target, change, take, requests }) => {
                (Mode::Apply, Self::of(target).change(change).requests(requests).take(take))
            }
            Some(Command::Verify { target, wait, requests }) => {
                let settings = Self::of(target).requests(requests);
                (Mode::Verify, Self { timeout: wait.timeout, ..settings })
            }
            Some(Command::Undo { target, change, purge }) => {
                (Mode::Undo, Self { purge: purge.purge, ..Self::of(target).change(change) })
            }
            Some(Command::Forward { name, context }) => {
                (Mode::Forward(*name), Self { context: context.clone(), ..Self::default() })
            }
        };
        if !matches!(mode, Mode::Forward(_)) {
            settings.find_manifests()?;
        }
        Ok((mode, settings))
    }

    fn of_script(script: &Script) -> Result<(Mode, Self), Failure> {
        let mode = match script.forward {
            Some(service) => Mode::Forward(service),
            None if script.apply => Mode::Apply, // which verifies anyway
            None if script.undo => Mode::Undo,
            None if script.verify => Mode::Verify,
            None => Mode::Plan(script.output),
        };
        if script.purge.purge && mode != Mode::Undo {
            return Err(Failure::usage("--purge goes with --undo"));
        }
        let settings = Self::of(&script.target).change(&script.change).requests(&script.requests).take(&script.take);
        Ok((mode, Self { purge: script.purge.purge, ..settings }))
    }

    fn of(target: &Target) -> Self {
        let Target { context, overlay, manifests, image } = target.clone();
        let manifests = manifests.or_else(|| env::var_os("CAREPLANE_MANIFESTS").map(PathBuf::from));
        let manifests = manifests.unwrap_or_else(|| "wasmplugin-manifests".into());
        Self { context, overlay, manifests, image, ..Self::default() }
    }

    fn change(self, change: &Change) -> Self {
        Self { yes: change.yes, timeout: change.wait.timeout, ..self }
    }

    fn take(self, take: &Take) -> Self {
        Self { force_conflicts: take.force_conflicts, ..self }
    }

    fn requests(self, requests: &Requests) -> Self {
        let Requests { token, gateway_url, jaeger_url } = requests.clone();
        let or = |value: Option<String>, name| value.or_else(|| env::var(name).ok()).filter(|value| !value.is_empty());
        Self {
            token: or(token, "TOKEN"),
            gateway_url: or(gateway_url, "GATEWAY_URL"),
            jaeger_url: or(jaeger_url, "JAEGER_URL"),
            ..self
        }
    }

    fn find_manifests(&mut self) -> Result<(), Failure> {
        let is_there = |name: &str| self.manifests.join(name).is_file();
        if is_there("install/istio.yaml") && is_there("base/kustomization.yaml") {
            return Ok(());
        }
        let shown = self.manifests.display();
        let failure = format!("--manifests {shown}: no install/istio.yaml and base/kustomization.yaml there");
        Err(Failure::usage(failure).advise("give the folder wasmplugin-manifests of careplane, or your copy of it"))
    }

    /// What `istioctl install` is called with.
    pub fn istio_options(&self) -> Vec<String> {
        let mut options = vec!["-f".to_owned(), self.istio_file().display().to_string()];
        if self.overlay == Overlay::Ambient {
            options.extend(["--set".to_owned(), "profile=ambient".to_owned()]);
        }
        options
    }

    pub fn istio_file(&self) -> PathBuf {
        self.manifests.join("install/istio.yaml")
    }

    /// The kustomization that is applied.
    pub fn folder(&self) -> PathBuf {
        match self.overlay {
            Overlay::Base => self.manifests.join("base"),
            overlay => self.manifests.join("overlays").join(overlay.name()),
        }
    }
}

// === impl Mode ===

impl Mode {
    pub fn is_json(self) -> bool {
        self == Self::Plan(Output::Json)
    }
}

// === impl Overlay ===

impl Overlay {
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

// === impl Timeout ===

impl Default for Timeout {
    fn default() -> Self {
        Self(300)
    }
}

impl std::fmt::Display for Timeout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}s", self.0)
    }
}

fn timeout(text: &str) -> Result<Timeout, String> {
    let seconds = match text.split_at_checked(text.len().saturating_sub(1)) {
        Some((number, "s")) => number.parse().ok(),
        Some((number, "m")) => number.parse::<u64>().ok().and_then(|minutes| minutes.checked_mul(60)),
        _ => None,
    };
    match seconds {
        Some(seconds @ 1..=359_999) => Ok(Timeout(seconds)),
        _ => Err("write seconds or minutes, for example 300s or 5m".to_owned()),
    }
}

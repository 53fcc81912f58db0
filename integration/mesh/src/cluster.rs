//! A Kubernetes cluster for as long as a value lives.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use careplane_integration::{poll::until, workspace};
use serde_json::Value;
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
};

/// The registry of the cluster, for images of the module.
pub const REGISTRY: &str = "10.244.0.1:5000";

const READY: Duration = Duration::from_secs(60);

/// Etcd, kube-apiserver, controllers, scheduler, and a kubelet whose containers are plain processes.
#[derive(Debug)]
pub struct Cluster {
    /// Ends with its standard input, so with this process too.
    process: Child,
    directory: PathBuf,
}

impl Cluster {
    /// Starts one that keeps everything in `directory`. It has to be in a [sandbox](crate::sandbox).
    ///
    /// # Errors
    ///
    /// When it does not become ready; what it printed is in `directory`.
    pub async fn start(directory: &Path) -> Result<Self> {
        let home = directory.join("cluster");
        let log = fs::File::create(directory.join("cluster.log"))?;
        let process = Command::new(program("cluster"))
            .arg("up")
            .arg("--directory")
            .arg(&home)
            .arg("--workspace")
            .arg(workspace::root())
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("cannot run .tools/mesh/cluster (integration/mesh/build.sh makes it)")?;
        let mut cluster = Self { process, directory: home };
        let ready = cluster.directory.join("cluster.json");
        let log = directory.join("cluster.log");
        until("the cluster to be ready", READY, async || {
            if let Some(status) = cluster.process.try_wait()? {
                bail!("it ended with {status}:\n{}", fs::read_to_string(&log).unwrap_or_default());
            }
            Ok(ready.exists().then_some(()))
        })
        .await?;
        Ok(cluster)
    }

    /// A program, with the cluster as its kubeconfig and the mesh's tools in its path.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let path = std::env::join_paths(
            [tools()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
        );
        command
            .env("KUBECONFIG", self.directory.join("kubeconfig"))
            .env("PATH", path.unwrap_or_default())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs `kubectl` and returns what it printed.
    ///
    /// # Errors
    ///
    /// When it fails: what it said.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.run("kubectl", arguments).await
    }

    /// Runs `istioctl` and returns what it printed.
    ///
    /// # Errors
    ///
    /// When it fails: what it said.
    pub async fn istioctl(&self, arguments: &[&str]) -> Result<String> {
        self.run("istioctl", arguments).await
    }

    /// What `kubectl get … -o json` says.
    ///
    /// # Errors
    ///
    /// When there is no such thing.
    pub async fn get(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.kubectl(&[&["get", "-o", "json"], arguments].concat()).await?;
        serde_json::from_str(&text).context("kubectl printed no JSON")
    }

    /// Where the volume of a namespace is whose claim has `name` in its own.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub async fn volume(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let volumes = self.get(&["pv"]).await?;
        let ours = |volume: &&Value| {
            let claim = &volume["spec"]["claimRef"];
            claim["namespace"] == namespace && claim["name"].as_str().is_some_and(|claim| claim.contains(name))
        };
        let volume = volumes["items"].as_array().and_then(|volumes| volumes.iter().find(ours));
        let path = volume.and_then(|volume| volume["spec"]["hostPath"]["path"].as_str());
        path.map(PathBuf::from).with_context(|| format!("no volume of {name} in {namespace}: {volumes}"))
    }

    /// Applies YAML or JSON, as a person would with `kubectl apply --server-side`.
    ///
    /// # Errors
    ///
    /// When the API server refuses: why.
    pub async fn apply(&self, manifest: &str) -> Result<String> {
        let arguments = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        self.feed("kubectl", &arguments, manifest).await
    }

    /// Runs one of the mesh's tools.
    ///
    /// # Errors
    ///
    /// When it fails: what it said.
    pub async fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output =
            self.command(program).args(arguments).output().await.with_context(|| format!("running {program}"))?;
        said(program, arguments, &output)
    }

    /// Runs one of the mesh's tools on `input`.
    ///
    /// # Errors
    ///
    /// When it fails: what it said.
    pub async fn feed(&self, program: &str, arguments: &[&str], input: &str) -> Result<String> {
        let mut command = self.command(program);
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("running {program}"))?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        let input = input.to_owned();
        // Beside the reading: it may print before it has read everything.
        let writing = tokio::spawn(async move { stdin.write_all(input.as_bytes()).await });
        let output = child.wait_with_output().await?;
        // It may also end before it has read everything; then its exit code decides.
        let _ = writing.await;
        said(program, arguments, &output)
    }

    /// Ends it and everything in it.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub async fn stop(mut self) -> Result<()> {
        drop(self.process.stdin.take());
        let status = tokio::time::timeout(READY, self.process.wait()).await.context("the cluster does not end")??;
        ensure!(status.success(), "the cluster ended with {status}");
        Ok(())
    }
}

fn said(program: &str, arguments: &[&str], output: &std::process::Output) -> Result<String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{program} {}: {}: {}{text}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(text)
}

/// What a cluster with Istio in it is made of.
pub const PROGRAMS: [&str; 7] = ["cluster", "pod", "echo", "kubectl", "istioctl", "pilot-discovery", "pilot-agent"];

/// Which of these programs is not built.
#[must_use]
pub fn missing(programs: &[&str]) -> Option<String> {
    let missing = programs.iter().find(|name| !program(name).exists())?;
    Some(format!(".tools/mesh/{missing} is not built (integration/mesh/build.sh, which needs Go)"))
}

/// Where `integration/mesh/build.sh` puts its programs.
#[must_use]
pub fn tools() -> PathBuf {
    workspace::root().join(".tools/mesh")
}

/// One of them.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    tools().join(name)
}

//! `careplane mesh` where things go wrong before anything is applied, or at the first step: kubectl and istioctl are
//! stand-ins that answer from files and variables, and note how they were called. (What it does when all is well is
//! tried with a real API server and istiod, in the mesh tests.)
#![cfg(unix)]

mod applied;
mod verified;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

const IMAGE: [&str; 2] = ["--image", "oci://registry.test/careplane/careplane:1"];

/// A cluster that is played.
struct Played {
    folder: PathBuf,
    variables: BTreeMap<&'static str, String>,
}

struct Ended {
    code: Option<i32>,
    /// Standard output, then standard error.
    said: String,
    stdout: String,
    calls: Vec<String>,
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deploy").join(name)
}

impl Played {
    /// A cluster with the namespaces and without anything of the manifests.
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("deploy").join(name);
        let _ = fs::remove_dir_all(&folder);
        for below in ["bin", "state", "manifests/install", "manifests/base"] {
            fs::create_dir_all(folder.join(below)).unwrap();
        }
        for program in ["kubectl", "istioctl"] {
            symlink(shipped(program), folder.join("bin").join(program)).unwrap();
        }
        fs::write(folder.join("manifests/install/istio.yaml"), "").unwrap();
        fs::write(folder.join("manifests/base/kustomization.yaml"), "").unwrap();
        let played = Self { folder, variables: BTreeMap::new() };
        played.answer("rendered.yaml", &fs::read_to_string(shipped("rendered.yaml")).unwrap());
        let namespace = |name: &str| json!({"metadata": {"name": name, "labels": {}}});
        let namespaces = json!({"items": [namespace("core-healthcare"), namespace("istio-system")]});
        played.answer("namespaces.json", &namespaces.to_string());
        let verbs = ["get", "list"];
        let kind = |kind: &str, name: &str, namespaced: bool| {
            json!({
                "kind": kind, "name": name, "namespaced": namespaced, "verbs": verbs
            })
        };
        let kinds = [
            kind("Namespace", "namespaces", false),
            kind("WasmPlugin", "wasmplugins", true),
            kind("ConfigMap", "configmaps", true),
            kind("AuthorizationPolicy", "authorizationpolicies", true),
        ];
        played.answer("kinds.json", &json!({"resources": kinds}).to_string());
        played.answer("pods.json", r#"{"items": []}"#);
        played.answer("wasmplugins.json", r#"{"items": []}"#);
        played.answer("live.json", "");
        played.answer("wanted.json", &json!({"items": [wanted_namespace(), plugin()]}).to_string());
        played
    }

    fn answer(&self, name: &str, text: &str) {
        fs::write(self.folder.join("state").join(name), text).unwrap();
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.insert(name, value.into());
        self
    }

    fn state(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join("state").join(name)).unwrap_or_default()
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        self.run_as(Command::new(env!("CARGO_BIN_EXE_careplane")).arg("mesh"), arguments)
    }

    fn run_as(&self, command: &mut Command, arguments: &[&str]) -> Ended {
        let calls = self.folder.join("state/calls");
        fs::write(&calls, "").unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let output = command
            .args(arguments)
            .env("PATH", format!("{}:{path}", self.folder.join("bin").display()))
            .env("CAREPLANE_MANIFESTS", self.folder.join("manifests"))
            .env("STATE", self.folder.join("state"))
            .env("CALLS", &calls)
            .envs(&self.variables)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let said = format!("{stdout}{}", String::from_utf8(output.stderr).unwrap());
        let calls = fs::read_to_string(calls).unwrap().lines().map(str::to_owned).collect();
        Ended { code: output.status.code(), said, stdout, calls }
    }
}

fn wanted_namespace() -> Value {
    let labels = json!({"istio-injection": "enabled", "owner": "careplane"});
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "core-healthcare", "labels": labels}})
}

fn plugin() -> Value {
    let metadata = json!({"name": "careplane-gateway", "namespace": "istio-system"});
    json!({"apiVersion": "extensions.istio.io/v1alpha1", "kind": "WasmPlugin", "metadata": metadata})
}

fn changes(call: &str) -> bool {
    let is_dry = call.contains("--dry-run");
    [" apply ", " create ", " delete ", " install ", " uninstall "].iter().any(|verb| call.contains(verb)) && !is_dry
}

#[track_caller]
fn ends_with(ended: &Ended, code: i32, text: &str) {
    assert_eq!(ended.code, Some(code), "{}", ended.said);
    assert!(ended.said.contains(text), "no {text:?} in\n{}", ended.said);
}

#[test]
fn wrong_usage_is_2() {
    let played = Played::new("usage");
    let cases: [(&[&str], &str); 12] = [
        (&["--aply"], "unexpected argument '--aply'"),
        (&["--context"], "a value is required for '--context <NAME>'"),
        (&["--overlay", "sidecar"], "base, traffic-extension, ambient, one-plugin-per-filter, isolated, audit-only"),
        (&["apply", "--timeout", "300"], "write seconds or minutes"),
        (&["apply", "--timeout", "0s"], "write seconds or minutes"),
        (&["plan", "--image", "registry.test/careplane:1"], "it does not begin with oci://"),
        (&["--apply", "--undo"], "cannot be used with"),
        (&["--forward", "jaeger", "--verify"], "cannot be used with"),
        (&["--apply", "--purge"], "--purge goes with --undo"),
        (&["apply", "--purge"], "unexpected argument '--purge'"),
        (&["plan", "--manifests", "/nowhere"], "no install/istio.yaml"),
        (&["forward", "zipkin"], "jaeger, kiali, grafana, prometheus"),
    ];
    for (arguments, text) in cases {
        ends_with(&played.run(arguments), 2, text);
    }
    ends_with(&played.run(&["--help"]), 0, "Exit codes");
}

#[test]
fn what_is_missing_or_too_old_is_3() {
    let cases = [
        ("KUBECTL", "v1.29.1", "kubectl is v1.29.1: 1.30 or newer is needed"),
        ("ISTIOCTL", "1.28.0", "istioctl is 1.28.0: 1.29 to 1.32 is needed"),
        ("ISTIOCTL", "1.33.0", "istioctl is 1.33.0"),
        ("SERVER", "v1.27.3", "the cluster is Kubernetes v1.27.3"),
    ];
    for (name, value, text) in cases {
        ends_with(&Played::new("old").with(name, value).run(&["plan"]), 3, text);
    }
    for program in ["kubectl", "istioctl"] {
        let played = Played::new("missing");
        let empty = played.folder.join("empty");
        fs::create_dir_all(&empty).unwrap();
        // The PATH has the other one alone, and the shell that runs it.
        for other in ["kubectl", "istioctl", "sh", "wc", "cat"].iter().filter(|other| **other != program) {
            let from = played.folder.join("bin").join(other);
            let from = if from.exists() { from } else { Path::new("/bin").join(other) };
            symlink(from, empty.join(other)).unwrap();
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_careplane"));
        command.arg("mesh").env_clear();
        let calls = played.folder.join("state/calls");
        fs::write(&calls, "").unwrap();
        let output = command
            .env("PATH", &empty)
            .env("CAREPLANE_MANIFESTS", played.folder.join("manifests"))
            .env("CALLS", &calls)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(&format!("{program} is not in the PATH")), "{said}");
    }
}

#[test]
fn a_cluster_that_cannot_be_reached_is_4() {
    ends_with(&Played::new("context").with("CONTEXT", "").run(&["plan"]), 4, "choose one with --context");
    ends_with(&Played::new("context").run(&["plan", "--context", "prod"]), 4, "no context prod");
    ends_with(&Played::new("down").with("DOWN", "1").run(&["plan"]), 4, "does not answer: connection refused");
}

#[test]
fn a_service_that_is_not_there_is_not_forwarded() {
    for arguments in [&["forward", "jaeger"][..], &["--forward", "jaeger"]] {
        let ended = Played::new("forward").run(arguments);
        ends_with(&ended, 4, "there is no Service tracing/writecarenotes-jaeger-query");
    }
}

#[test]
fn the_scripts_find_careplane_and_pass_everything_on() {
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wasmplugin-manifests");
    let mut programs = vec![vec!["bash".to_owned(), manifests.join("deploy-service-mesh.sh").display().to_string()]];
    if Command::new("pwsh").arg("-Version").output().is_ok() {
        let script = manifests.join("deploy-service-mesh.ps1").display().to_string();
        programs.push(vec!["pwsh".into(), "-NoProfile".into(), "-File".into(), script]);
    }
    for program in programs {
        let played = Played::new("scripts").with("CAREPLANE", env!("CARGO_BIN_EXE_careplane"));
        let manifests = played.folder.join("manifests").display().to_string();
        let mut command = Command::new(&program[0]);
        let ended = played.run_as(command.args(&program[1..]), &["--manifests", &manifests, "--context", "prod"]);
        ends_with(&ended, 4, "no context prod");
        // Without the option, the manifests beside the script.
        let ended = played.with("DOWN", "1").run_as(Command::new(&program[0]).args(&program[1..]), &["--verify"]);
        ends_with(&ended, 4, "connection refused");
    }
    // With this in the environment, `cd` to a name without a dot prints where it went.
    let played = Played::new("cdpath").with("CAREPLANE", env!("CARGO_BIN_EXE_careplane")).with("CDPATH", ".");
    let mut command = Command::new("bash");
    command.current_dir(manifests.join("..")).arg("wasmplugin-manifests/deploy-service-mesh.sh");
    ends_with(&played.with("DOWN", "1").run_as(&mut command, &["--verify"]), 4, "connection refused");
}

#[test]
fn a_script_without_careplane_says_what_is_missing() {
    let played = Played::new("bare");
    let bare = played.folder.join("bare");
    fs::create_dir_all(&bare).unwrap();
    for program in ["bash", "dirname"] {
        let found = ["/bin", "/usr/bin"].iter().map(|folder| Path::new(folder).join(program)).find(|it| it.exists());
        symlink(found.unwrap(), bare.join(program)).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wasmplugin-manifests/deploy-service-mesh.sh");
    let output = Command::new(bare.join("bash")).arg(script).env_clear().env("PATH", &bare).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.lines().count() == 1 && said.contains("careplane is missing"), "{said}");
}

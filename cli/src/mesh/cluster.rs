//! A cluster: the context of the kubeconfig, and what is read from it. A read that fails is a failure, never an empty
//! answer.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

use super::failure::{Code, Failure};
use super::options::{Mode, Settings};
use super::print::Printer;
use super::programs::{self, Ended, Stderr};

/// The kinds of one API version: name of the resource, and whether it is listable and in a namespace.
type Kinds = Rc<Vec<Kind>>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    pub kind: String,
    /// As kubectl takes it: `deployments.apps`.
    pub resource: String,
    pub is_namespaced: bool,
    pub is_listable: bool,
}

#[derive(Debug)]
pub struct Cluster {
    pub context: String,
    /// The address of its API server.
    pub server: String,
    /// The version of istioctl, where it is used.
    pub istioctl: String,
    kinds: RefCell<BTreeMap<String, Kinds>>,
}

impl Cluster {
    /// Checks the programs, and that the cluster of the context answers.
    pub fn connect(settings: &Settings, mode: &Mode, printer: &Printer) -> Result<Self, Failure> {
        let (tools, istioctl) = tools(mode)?;
        printer.say("tools", &tools);
        let context = match &settings.context {
            Some(context) => context.clone(),
            None => {
                let current = kubectl(&["config", "current-context"])?;
                if !current.status.success() {
                    let message = "the kubeconfig has no current context: choose one with --context";
                    return Err(Failure::new(Code::Unreachable, message).advise(contexts()?));
                }
                current.stdout.trim().to_owned()
            }
        };
        if !kubectl(&["config", "get-contexts", &context])?.status.success() {
            let message = format!("the kubeconfig has no context {context}");
            return Err(Failure::new(Code::Unreachable, message).advise(contexts()?));
        }
        let mut cluster = Self { context, server: String::new(), istioctl, kinds: RefCell::default() };
        let server = ["config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"];
        cluster.server = cluster.read(&server)?.trim().to_owned();
        let arguments = cluster.with_context(&["get", "--raw", "/version", "--request-timeout=15s"]);
        let version = programs::run("kubectl", &arguments, None, Stderr::Shown)?;
        if !version.status.success() {
            let Self { context, server, .. } = &cluster;
            let why = version.last_line();
            let message = format!("the cluster of context {context} ({server}) does not answer: {why}");
            let advice = format!("try: kubectl --context {context} version");
            return Err(Failure::new(Code::Unreachable, message).advise(advice));
        }
        let version = text_of(&version.stdout, &["gitVersion"]);
        if minor(&version).is_none_or(|minor| minor < 30) {
            let message = format!(
                "the cluster is Kubernetes {}: 1.30 or newer is needed, for admission policies in CEL",
                known(&version)
            );
            return Err(Failure::new(Code::Prerequisite, message));
        }
        let Self { context, server, .. } = &cluster;
        let version = version.trim_start_matches('v');
        printer.say("cluster", &format!("context {context}, {server}, Kubernetes {version}"));
        Ok(cluster)
    }

    fn with_context<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        [&["--context", &self.context], arguments].concat()
    }

    /// Runs kubectl; how it ended is for the caller to judge.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<Ended, Failure> {
        programs::run("kubectl", &self.with_context(arguments), None, Stderr::Kept)
    }

    /// The same with an input.
    pub fn feed(&self, arguments: &[&str], input: &str) -> Result<Ended, Failure> {
        programs::run("kubectl", &self.with_context(arguments), Some(input), Stderr::Kept)
    }

    pub fn istioctl(&self, arguments: &[&str]) -> Result<Ended, Failure> {
        programs::run("istioctl", &self.with_context(arguments), None, Stderr::Kept)
    }

    /// What kubectl reads. Nothing is an answer only when kubectl succeeds.
    pub fn read(&self, arguments: &[&str]) -> Result<String, Failure> {
        let ended = self.kubectl(arguments)?;
        if ended.status.success() { Ok(ended.stdout) } else { Err(self.unread(arguments, &ended)) }
    }

    /// The same as JSON; null when kubectl printed nothing.
    pub fn read_json(&self, arguments: &[&str]) -> Result<Value, Failure> {
        parse(arguments, &self.read(arguments)?)
    }

    /// The items of a list.
    pub fn items(&self, arguments: &[&str]) -> Result<Vec<Value>, Failure> {
        Ok(list(self.read_json(arguments)?))
    }

    /// Whether something is there.
    pub fn exists(&self, arguments: &[&str]) -> Result<bool, Failure> {
        let get = [&["get"], arguments, &["--ignore-not-found", "-o", "name"]].concat();
        Ok(!self.read(&get)?.trim().is_empty())
    }

    /// Those of these documents that the cluster has.
    pub fn live(&self, documents: &str) -> Result<Vec<Value>, Failure> {
        let arguments = ["get", "--ignore-not-found", "-o", "json", "-f", "-"];
        let ended = self.feed(&arguments, documents)?;
        if !ended.status.success() {
            return Err(self.unread(&arguments, &ended));
        }
        Ok(list(parse(&arguments, &ended.stdout)?))
    }

    pub fn namespaces(&self) -> Result<Vec<Value>, Failure> {
        self.items(&["get", "namespaces", "-o", "json"])
    }

    /// `v1`, `apps/v1`, …
    pub fn api_versions(&self) -> Result<Vec<String>, Failure> {
        Ok(self.read(&["api-versions"])?.lines().map(str::to_owned).collect())
    }

    /// The kinds of an API version that the cluster has. Asked for one by one: an API that does not answer must not
    /// look like an API that is not there.
    pub fn kinds(&self, version: &str) -> Result<Kinds, Failure> {
        if let Some(kinds) = self.kinds.borrow().get(version) {
            return Ok(Rc::clone(kinds));
        }
        let path = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
        let answer = self.read_json(&["get", "--raw", &path])?;
        let group = version.split_once('/').map_or("", |(group, _)| group);
        let kind = |resource: &Value| {
            let name = resource["name"].as_str().filter(|name| !name.contains('/'))?;
            Some(Kind {
                kind: resource["kind"].as_str()?.to_owned(),
                resource: if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") },
                is_namespaced: resource["namespaced"] == true,
                is_listable: resource["verbs"].as_array().is_some_and(|verbs| verbs.iter().any(|it| it == "list")),
            })
        };
        let kinds = Rc::new(answer["resources"].as_array().into_iter().flatten().filter_map(kind).collect::<Vec<_>>());
        self.kinds.borrow_mut().insert(version.to_owned(), Rc::clone(&kinds));
        Ok(kinds)
    }

    /// Forgets which kinds there are, after something may have brought more.
    pub fn forget_kinds(&self) {
        self.kinds.borrow_mut().clear();
    }

    fn unread(&self, arguments: &[&str], ended: &Ended) -> Failure {
        let command = arguments.join(" ");
        let why = ended.last_line();
        if ended.is_not_allowed() {
            let message = format!("`kubectl {command}` is not allowed for this account: {why}");
            return Failure::new(Code::Refused, message).advise("use an account that is cluster-admin");
        }
        let advice = format!("nothing was taken for absent; try: kubectl --context {} {command}", self.context);
        Failure::new(Code::Unreachable, format!("`kubectl {command}` failed: {why}")).advise(advice)
    }
}

/// The items of a list, or the one thing that is none.
fn list(mut value: Value) -> Vec<Value> {
    match value["items"].take() {
        Value::Array(items) => items,
        _ if value.is_null() => Vec::new(),
        _ => vec![value],
    }
}

fn parse(arguments: &[&str], text: &str) -> Result<Value, Failure> {
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(text).map_err(|error| {
        Failure::new(Code::Unreachable, format!("`kubectl {}` printed no JSON: {error}", arguments.join(" ")))
    })
}

fn kubectl(arguments: &[&str]) -> Result<Ended, Failure> {
    programs::run("kubectl", arguments, None, Stderr::Kept)
}

fn contexts() -> Result<String, Failure> {
    let known = kubectl(&["config", "get-contexts", "-o", "name"])?;
    Ok(format!("there is: {}", known.stdout.split_whitespace().collect::<Vec<_>>().join(", ")))
}

/// The versions of the programs, when they are the right ones, and that of istioctl.
fn tools(mode: &Mode) -> Result<(String, String), Failure> {
    let client = kubectl(&["version", "--client", "-o", "json"])?;
    let client = text_of(&client.stdout, &["clientVersion", "gitVersion"]);
    if minor(&client).is_none_or(|minor| minor < 30) {
        let message = format!("kubectl is {}: 1.30 or newer is needed", known(&client));
        return Err(Failure::new(Code::Prerequisite, message).advise("https://kubernetes.io/docs/tasks/tools/"));
    }
    let client = client.trim_start_matches('v');
    if matches!(mode, Mode::Forward(_)) {
        return Ok((format!("kubectl {client}"), String::new()));
    }
    let istio = programs::run("istioctl", &["version", "--remote=false", "-o", "json"], None, Stderr::Kept)?;
    if !istio.status.success() {
        let message = format!("istioctl does not say its version: {}", istio.last_line());
        return Err(Failure::new(Code::Prerequisite, message).advise("try: istioctl version --remote=false"));
    }
    let istio = text_of(&istio.stdout, &["clientVersion", "version"]);
    match minor(&istio) {
        Some(29..=32) => Ok((format!("kubectl {client}, istioctl {istio}"), istio)),
        // A build of one's own says what it likes.
        None => Ok((format!("kubectl {client}, istioctl {} (1.29 to 1.32 is needed)", known(&istio)), istio)),
        Some(_) => Err(Failure::new(Code::Prerequisite, format!("istioctl is {istio}: 1.29 to 1.32 is needed"))
            .advise("https://istio.io/latest/docs/setup/additional-setup/download-istio-release/")),
    }
}

fn text_of(json: &str, way: &[&str]) -> String {
    let value: Value = serde_json::from_str(json).unwrap_or_default();
    let found = way.iter().try_fold(&value, |value, key| value.get(key));
    found.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// `v1.36.3` → 36
pub fn minor(version: &str) -> Option<u32> {
    let rest = version.trim_start_matches('v').strip_prefix("1.")?;
    rest.split(|end: char| !end.is_ascii_digit()).next()?.parse().ok()
}

fn known(version: &str) -> &str {
    if version.is_empty() { "of an unknown version" } else { version }
}

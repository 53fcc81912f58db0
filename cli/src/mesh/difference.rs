//! What applying would change: by a dry run on the server, beside what is there now.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::failure::{Code, Failure};
use super::manifests::{Document, join};
use super::print::Printer;
use super::programs::Ended;

/// The field manager. What it has applied and others have not touched, the next run changes without being forced.
pub const MANAGER: &str = "careplane-deploy";
/// Istio's own: `istioctl install` changes what these manage in any case.
const ISTIO: [&str; 2] = ["istio-operator", "pilot-discovery"];

/// The namespaces and the kinds that the cluster has. A dry run needs both.
#[derive(Debug)]
pub struct Presence {
    namespaces: BTreeSet<String>,
    versions: BTreeSet<String>,
}

/// What one step would change.
#[derive(Debug)]
pub struct Difference {
    pub label: &'static str,
    pub total: usize,
    /// Titles.
    pub new: Vec<String>,
    pub changed: Vec<Changed>,
}

#[derive(Debug)]
pub struct Changed {
    pub title: String,
    pub fields: Vec<Field>,
    pub conflicts: Vec<Conflict>,
}

/// A field that becomes another. None is: absent.
#[derive(Debug, PartialEq)]
pub struct Field {
    pub path: String,
    pub is: Option<Value>,
    pub becomes: Option<Value>,
}

/// Fields that another manager has set.
#[derive(Debug, PartialEq)]
pub struct Conflict {
    pub manager: String,
    pub fields: Vec<String>,
}

// === impl Presence ===

impl Presence {
    pub fn read(cluster: &Cluster) -> Result<Self, Failure> {
        let name = |namespace: &Value| namespace["metadata"]["name"].as_str().map(str::to_owned);
        let namespaces = cluster.namespaces()?.iter().filter_map(name).collect();
        Ok(Self { namespaces, versions: cluster.api_versions()?.into_iter().collect() })
    }

    /// Whether the cluster can have such a document today.
    pub fn knows(&self, cluster: &Cluster, document: &Document) -> Result<bool, Failure> {
        let has_namespace = document.namespace.as_ref().is_none_or(|namespace| self.namespaces.contains(namespace));
        if !has_namespace || !self.versions.contains(&document.version) {
            return Ok(false);
        }
        Ok(cluster.kinds(&document.version)?.iter().any(|kind| kind.kind == document.kind))
    }

    /// Those of the documents that it can have.
    pub fn known<'d>(
        &self,
        cluster: &Cluster,
        documents: impl IntoIterator<Item = &'d Document>,
    ) -> Result<Vec<&'d Document>, Failure> {
        let mut known = Vec::new();
        for document in documents {
            if self.knows(cluster, document)? {
                known.push(document);
            }
        }
        Ok(known)
    }

    pub fn serves(&self, group: &str) -> bool {
        self.versions.iter().any(|version| version.split_once('/').is_some_and(|(served, _)| served == group))
    }

    pub fn has_version(&self, version: &str) -> bool {
        self.versions.contains(version)
    }

    pub fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.contains(namespace)
    }

    pub fn versions(&self) -> impl Iterator<Item = &str> {
        self.versions.iter().map(String::as_str)
    }
}

/// Compares documents with what the cluster has.
pub fn compare(
    cluster: &Cluster,
    presence: &Presence,
    label: &'static str,
    documents: &[&Document],
) -> Result<Difference, Failure> {
    let known = presence.known(cluster, documents.iter().copied())?;
    let mut difference = Difference { label, total: documents.len(), new: Vec::new(), changed: Vec::new() };
    let (mut live, mut wanted) = (Vec::new(), Vec::new());
    if !known.is_empty() {
        let text = join(known.iter().copied());
        live = cluster.live(&text)?;
        // By force, to see all of what applying by force would change.
        wanted = dry_run(cluster, label, &text)?;
    }
    for document in documents {
        let find = |among: &[Value]| among.iter().position(|value| is_of(value, document));
        let (Some(wanted), Some(live)) = (find(&wanted).map(|at| &wanted[at]), find(&live).map(|at| &live[at])) else {
            difference.new.push(document.title());
            continue;
        };
        let mut fields = Vec::new();
        compare_values("", Some(&essential(live)), Some(&essential(wanted)), &mut fields);
        if !fields.is_empty() {
            let conflicts = conflicts(cluster, label, document)?;
            difference.changed.push(Changed { title: document.title(), fields, conflicts });
        }
    }
    Ok(difference)
}

fn is_of(value: &Value, document: &Document) -> bool {
    value["apiVersion"] == document.version.as_str()
        && value["kind"] == document.kind.as_str()
        && value["metadata"]["name"] == document.name.as_str()
        && document.namespace.as_ref().is_none_or(|namespace| value["metadata"]["namespace"] == namespace.as_str())
}

fn dry_run(cluster: &Cluster, label: &str, text: &str) -> Result<Vec<Value>, Failure> {
    let manager = format!("--field-manager={MANAGER}");
    let arguments =
        ["apply", "--server-side", "--force-conflicts", "--dry-run=server", &manager, "-o", "json", "-f", "-"];
    let ended = cluster.feed(&arguments, text)?;
    if !ended.status.success() {
        return Err(refused(cluster, label, "compared", &ended));
    }
    let value: Value = serde_json::from_str(&ended.stdout)
        .map_err(|error| Failure::new(Code::Unreachable, format!("the dry run of {label} is no JSON: {error}")))?;
    Ok(match &value["items"] {
        Value::Array(items) => items.clone(),
        _ => vec![value],
    })
}

/// The fields of a document that others have set to something else.
fn conflicts(cluster: &Cluster, label: &str, document: &Document) -> Result<Vec<Conflict>, Failure> {
    let manager = format!("--field-manager={MANAGER}");
    let arguments = ["apply", "--server-side", "--dry-run=server", &manager, "-o", "name", "-f", "-"];
    let ended = cluster.feed(&arguments, &document.text)?;
    if ended.status.success() {
        return Ok(Vec::new());
    }
    let mut conflicts = read_conflicts(&ended.stderr);
    if conflicts.is_empty() {
        return Err(refused(cluster, label, "compared", &ended));
    }
    if label == "istio" {
        conflicts.retain(|conflict| !ISTIO.contains(&conflict.manager.as_str()));
    }
    Ok(conflicts)
}

/// `conflict with "kubectl-patch" using networking.istio.io/v1: .spec.http`, or a list of fields below it.
fn read_conflicts(text: &str) -> Vec<Conflict> {
    let mut conflicts: Vec<Conflict> = Vec::new();
    for line in text.lines().take_while(|line| !line.starts_with("Please review")) {
        let manager = ["conflict with \"", "conflicts with \""].iter().find_map(|words| line.split_once(words));
        if let Some((_, rest)) = manager
            && let Some((manager, rest)) = rest.split_once('"')
        {
            let field = rest.rsplit_once(": ").map(|(_, field)| field.trim().to_owned());
            let fields = field.filter(|field| !field.is_empty()).into_iter().collect();
            conflicts.push(Conflict { manager: manager.to_owned(), fields });
        } else if let (Some(field), Some(conflict)) = (line.trim().strip_prefix("- "), conflicts.last_mut()) {
            conflict.fields.push(field.to_owned());
        }
    }
    conflicts
}

/// Without what the API server keeps for itself.
fn essential(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in ["managedFields", "resourceVersion", "uid", "creationTimestamp", "generation"] {
                metadata.remove(field);
            }
        }
        // What is secret is not shown, only that it changes.
        if object.get("kind").is_some_and(|kind| kind == "Secret") {
            for field in ["data", "stringData"] {
                if let Some(data) = object.get_mut(field) {
                    *data = json!(format!("{:016x}", fingerprint(data)));
                }
            }
        }
    }
    value
}

fn fingerprint(value: &Value) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}

fn compare_values(path: &str, live: Option<&Value>, wanted: Option<&Value>, fields: &mut Vec<Field>) {
    match (live, wanted) {
        (Some(Value::Object(live)), Some(Value::Object(wanted))) => {
            let keys: BTreeSet<&String> = live.keys().chain(wanted.keys()).collect();
            for key in keys {
                compare_values(&child(path, key), live.get(key), wanted.get(key), fields);
            }
        }
        (Some(Value::Array(live)), Some(Value::Array(wanted))) => compare_lists(path, live, wanted, fields),
        (live, wanted) if live == wanted => {}
        (live, wanted) => {
            fields.push(Field { path: path.to_owned(), is: live.cloned(), becomes: wanted.cloned() });
        }
    }
}

/// Without what the lists begin and end with alike; of the same length, element by element.
fn compare_lists(path: &str, live: &[Value], wanted: &[Value], fields: &mut Vec<Field>) {
    let start = live.iter().zip(wanted).take_while(|(live, wanted)| live == wanted).count();
    let (live, wanted) = (&live[start..], &wanted[start..]);
    let end = live.iter().rev().zip(wanted.iter().rev()).take_while(|(live, wanted)| live == wanted).count();
    let (live, wanted) = (&live[..live.len() - end], &wanted[..wanted.len() - end]);
    for at in 0..live.len().max(wanted.len()) {
        compare_values(&format!("{path}[{}]", start + at), live.get(at), wanted.get(at), fields);
    }
}

fn child(path: &str, key: &str) -> String {
    if key.contains(['.', '/']) {
        format!("{path}[\"{key}\"]")
    } else if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

// === impl Difference ===

impl Difference {
    pub fn is_empty(&self) -> bool {
        self.new.is_empty() && self.changed.is_empty()
    }

    /// How many fields belong to others.
    pub fn conflicts(&self) -> usize {
        self.changed.iter().flat_map(|changed| &changed.conflicts).map(|conflict| conflict.fields.len().max(1)).sum()
    }

    /// Prints how much is new, and how much is changed, in these words.
    pub fn summarise(&self, printer: &Printer, new: &str, changed: &str) {
        let mut parts = Vec::new();
        if !self.new.is_empty() {
            parts.push(format!("{} {new}", self.new.len()));
        }
        if !self.changed.is_empty() {
            parts.push(format!("{} {changed}", self.changed.len()));
        }
        parts.push(format!("{} unchanged", self.total - self.new.len() - self.changed.len()));
        printer.say(self.label, &parts.join(", "));
    }

    /// Prints all of it, before it is applied.
    pub fn show(&self, printer: &Printer) {
        let (new, changed) = ("to be made", "to be changed");
        self.summarise(printer, new, changed);
        for title in &self.new {
            printer.more(&format!("{new}: {title}"));
        }
        for one in &self.changed {
            printer.more(&format!("{changed}: {}", one.title));
            for field in &one.fields {
                for (sign, value) in [('-', &field.is), ('+', &field.becomes)] {
                    if let Some(value) = value {
                        printer.more(&format!("  {sign} {}: {value}", field.path));
                    }
                }
            }
            for conflict in &one.conflicts {
                let fields = conflict.fields.join(", ");
                printer.more(&format!("  ! belongs to {}: {fields}", conflict.manager));
            }
        }
    }

    pub fn to_json(&self) -> Value {
        let changed = |changed: &Changed| {
            let fields = changed
                .fields
                .iter()
                .map(|field| json!({"path": field.path, "is": field.is, "becomes": field.becomes}));
            let conflicts = changed
                .conflicts
                .iter()
                .map(|conflict| json!({"manager": conflict.manager, "fields": conflict.fields}));
            json!({
                "object": changed.title,
                "fields": fields.collect::<Vec<_>>(),
                "conflicts": conflicts.collect::<Vec<_>>(),
            })
        };
        json!({
            "step": self.label,
            "total": self.total,
            "new": self.new,
            "changed": self.changed.iter().map(changed).collect::<Vec<_>>(),
        })
    }
}

/// Why the cluster does not take a step.
pub fn refused(cluster: &Cluster, step: &str, verb: &str, ended: &Ended) -> Failure {
    let context = &cluster.context;
    for line in ended.stderr.lines() {
        eprintln!("    {line}");
    }
    let has = |words: &str| ended.stderr.contains(words);
    // Others have such policies and webhooks, too.
    if has("ValidatingAdmissionPolicy 'careplane-plugins'") {
        return Failure::new(Code::PolicyRefused, format!("the admission policy refuses {step}"))
            .advise("correct the policy, and try it with: careplane check");
    }
    if ended.is_not_allowed() {
        let message = format!("{step} cannot be {verb}: this account may not; use one that is cluster-admin");
        return Failure::new(Code::Refused, message);
    }
    if has("because it is being terminated") {
        let message = format!("{step} cannot be {verb}: a namespace is being terminated");
        return Failure::new(Code::Refused, message).advise("run this again when it is gone");
    }
    if let Some((_, rest)) = ended.stderr.split_once("failed calling webhook \"") {
        let webhook = rest.split('"').next().unwrap_or_default();
        let (what, get) = if webhook.ends_with("istio.io") {
            ("istiod, which validates it,".to_owned(), "-n istio-system get pods")
        } else {
            (format!("the webhook {webhook}"), "get validatingwebhookconfigurations,mutatingwebhookconfigurations")
        };
        return Failure::new(Code::Refused, format!("{step} cannot be {verb}: {what} does not answer"))
            .advise(format!("try: kubectl --context {context} {get}"));
    }
    if ended.is_unreachable() {
        return Failure::new(Code::Unreachable, format!("{step} cannot be {verb}: the cluster does not answer"))
            .advise(format!("try: kubectl --context {context} version"))
            .advise("then run this again");
    }
    if !read_conflicts(&ended.stderr).is_empty() {
        return Failure::new(Code::Refused, format!("{step} cannot be {verb}: others have changed it meanwhile"))
            .advise("see what it would change: careplane mesh plan");
    }
    Failure::new(Code::Refused, format!("{step} cannot be {verb}: the reason is above"))
}

/// Whether `apply` has made it, or changed it.
pub fn is_ours(object: &Value) -> bool {
    let mut managers = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    managers.any(|manager| manager["manager"] == MANAGER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(live: Value, wanted: Value) -> Vec<(String, Option<Value>, Option<Value>)> {
        let mut fields = Vec::new();
        compare_values("", Some(&essential(&live)), Some(&essential(&wanted)), &mut fields);
        fields.into_iter().map(|field| (field.path, field.is, field.becomes)).collect()
    }

    #[test]
    fn what_the_server_keeps_for_itself_is_no_difference() {
        let live = json!({"metadata": {"uid": "1", "generation": 3, "name": "x"}, "status": {"ready": true}});
        assert_eq!(fields(live, json!({"metadata": {"name": "x", "generation": 4}})), []);
    }

    #[test]
    fn a_field_is_named_by_its_path() {
        let live = json!({"metadata": {"labels": {"a.b/c": "1"}}, "spec": {"http": [{"timeout": "7s"}]}});
        let wanted = json!({"metadata": {"labels": {}}, "spec": {"http": [{"timeout": "30s"}]}});
        let expected = [
            ("metadata.labels[\"a.b/c\"]".to_owned(), Some(json!("1")), None),
            ("spec.http[0].timeout".to_owned(), Some(json!("7s")), Some(json!("30s"))),
        ];
        assert_eq!(fields(live, wanted), expected);
    }

    #[test]
    fn an_element_more_is_one_difference() {
        let expected = [("l[1]".to_owned(), None, Some(json!(2)))];
        assert_eq!(fields(json!({"l": [1, 3]}), json!({"l": [1, 2, 3]})), expected);
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = |data: &str| json!({"kind": "Secret", "data": {"key": data}});
        let shown = format!("{:?}", fields(secret("b2xk"), secret("bmV3")));
        assert!(shown.contains("data") && !shown.contains("b2xk") && !shown.contains("bmV3"), "{shown}");
    }

    #[test]
    fn conflicts_name_manager_and_fields() {
        let one = "error: Apply failed with 1 conflict: conflict with \"kubectl-patch\" using \
                   networking.istio.io/v1: .spec.http\nPlease review the fields above--they currently have other \
                   managers. - .no";
        let expected = Conflict { manager: "kubectl-patch".into(), fields: vec![".spec.http".into()] };
        assert_eq!(read_conflicts(one), [expected]);
        let many = "error: Apply failed with 3 conflicts: conflicts with \"helm\":\n- .spec.a\n- .spec.b\nconflicts \
                    with \"x\" using v1:\n- .data";
        let fields = |conflict: &Conflict| (conflict.manager.clone(), conflict.fields.join(" "));
        let found: Vec<_> = read_conflicts(many).iter().map(fields).collect();
        assert_eq!(found, [("helm".into(), ".spec.a .spec.b".into()), ("x".into(), ".data".into())]);
    }
}

//! What is to be read: files, folders, kustomizations, the standard input.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, bail};

use crate::manifest::{self, Document, Manifest};
use crate::yaml::{self, Location, Node, NotYaml};

/// The name of the standard input among files.
pub const STDIN: &str = "-";
const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// What was read.
#[derive(Debug, Default)]
pub struct Input {
    /// What belongs to every mesh.
    pub documents: Vec<Document>,
    /// The kustomizations that were found below a folder: each a mesh of its own, for they can be alternatives.
    pub alternatives: Vec<Vec<Document>>,
    /// What is not YAML.
    pub broken: Vec<NotYaml>,
    /// What was read, by the name that places have.
    texts: HashMap<Arc<str>, String>,
    /// The folders that were read.
    folders: HashSet<PathBuf>,
}

/// Reads files, folders and the standard input (`-`).
///
/// # Errors
/// When one of them cannot be read at all.
pub fn read(paths: &[PathBuf]) -> anyhow::Result<Input> {
    let mut input = Input::default();
    for path in paths {
        if path.as_os_str() == STDIN {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("the standard input cannot be read")?;
            let documents = input.parse("stdin", &text);
            input.documents.extend(named(documents));
        } else if path.is_dir() {
            if is_kustomization(path) {
                let documents = input.render(path)?;
                input.documents.extend(documents);
            } else {
                input.walk(path)?;
            }
        } else {
            let documents = input.file(path)?;
            input.documents.extend(named(documents));
        }
    }
    Ok(input)
}

/// The text of a file.
///
/// # Errors
/// When it cannot be read, or is not UTF-8.
pub fn read_text(path: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    String::from_utf8(bytes).ok().with_context(|| {
        format!("{} is not UTF-8: save it as UTF-8 (`>` of Windows PowerShell writes UTF-16)", path.display())
    })
}

/// A file that was named is meant to hold policies where it holds no manifest.
fn named(documents: Vec<Document>) -> impl Iterator<Item = Document> {
    documents.into_iter().map(|document| match document {
        Document::Other(node) => Document::Policy(node),
        known => known,
    })
}

fn is_kustomization(folder: &Path) -> bool {
    KUSTOMIZATIONS.iter().any(|name| folder.join(name).is_file())
}

impl Input {
    /// One text, as if it was a file of this name.
    pub fn of_text(name: &str, text: &str) -> Self {
        let mut input = Self::default();
        let documents = input.parse(name, text);
        input.documents.extend(named(documents));
        input
    }

    /// The text that a place is in. What kustomize read by itself is read for this alone.
    pub fn text(&self, place: &Location) -> Option<Cow<'_, str>> {
        match self.texts.get(&place.file) {
            Some(text) => Some(Cow::Borrowed(text)),
            None => std::fs::read_to_string(&*place.file).ok().map(Cow::Owned),
        }
    }

    fn file(&mut self, path: &Path) -> anyhow::Result<Vec<Document>> {
        let text = read_text(path)?;
        let name = path.strip_prefix(".").unwrap_or(path);
        Ok(self.parse(&name.display().to_string(), &text))
    }

    fn parse(&mut self, name: &str, text: &str) -> Vec<Document> {
        let name = Arc::from(name);
        self.texts.insert(Arc::clone(&name), text.to_owned());
        match yaml::read(&name, text) {
            Ok(nodes) => manifest::documents(nodes),
            Err(broken) => {
                self.broken.push(broken);
                Vec::new()
            }
        }
    }

    /// Reads a folder that is no kustomization, and what is below it.
    fn walk(&mut self, folder: &Path) -> anyhow::Result<()> {
        for path in entries(folder, &mut self.folders)? {
            if path.is_dir() {
                if is_component(&path) {
                    continue; // says nothing without the kustomization that takes it up
                }
                if is_kustomization(&path) {
                    let documents = self.render(&path)?;
                    self.alternatives.push(documents);
                } else {
                    self.walk(&path)?;
                }
            } else if is_manifest(&path) {
                let documents = self.file(&path)?;
                self.documents.extend(documents);
            }
        }
        Ok(())
    }

    /// What a kustomization comes to. Its files alone would not show what its replacements and patches do.
    fn render(&mut self, folder: &Path) -> anyhow::Result<Vec<Document>> {
        if is_component(folder) {
            bail!("{} is a component: check a kustomization that takes it up, or the files in it", folder.display());
        }
        let text = kustomize(folder)?;
        let name = format!("{} (rendered)", folder.display());
        let mut documents = self.parse(&name, &text);
        let mut sources = Sources::default();
        sources.gather(folder);
        for document in &mut documents {
            if let Document::Manifest(manifest) = document {
                sources.relocate(manifest);
            }
        }
        Ok(documents)
    }
}

/// The manifests that a kustomization is made of, to say where in them a problem is.
#[derive(Default)]
struct Sources {
    resources: Vec<Manifest>,
    patches: Vec<Manifest>,
}

impl Sources {
    fn gather(&mut self, folder: &Path) {
        for kustomization in kustomizations(folder) {
            for list in ["resources", "components"] {
                for path in kustomization.list(&[list]).iter().filter_map(Node::as_text) {
                    let path = tidy(&folder.join(path));
                    if path.is_dir() {
                        self.gather(&path);
                    } else {
                        self.resources.extend(manifests(&path));
                    }
                }
            }
            for path in kustomization.list(&["patches"]).iter().filter_map(|patch| patch.text(&["path"])) {
                self.patches.extend(manifests(&tidy(&folder.join(path))));
            }
        }
    }

    /// Gives the values of a rendered manifest the places that they were written at, where that can be known: in the
    /// resource of the same name, else in a patch for its kind, else where a replacement may have come from, which says
    /// the same.
    fn relocate(&self, rendered: &mut Manifest) {
        let from = Arc::clone(&rendered.node.place.file);
        let same_kind = |source: &&Manifest| source.group == rendered.group && source.kind == rendered.kind;
        let same_name = |source: &&Manifest| {
            let same_namespace = source.namespace.is_none() || source.namespace == rendered.namespace;
            source.name == rendered.name && same_namespace
        };
        let spec = rendered.spec(&[]).map(Node::to_json);
        let same_spec = |source: &&Manifest| spec.is_some() && source.spec(&[]).map(Node::to_json) == spec;
        let named = self.resources.iter().filter(same_kind).find(same_name);
        let patches = self.patches.iter().filter(same_kind);
        let equal = self.resources.iter().filter(same_kind).find(same_spec);
        for source in named.into_iter().chain(patches).chain(equal).collect::<Vec<_>>() {
            rendered.node.relocate(&from, &source.node);
        }
        for way in [&["spec", "pluginConfig"][..], &["spec", "wasm", "pluginConfig"]] {
            let Some(config) = rendered.node.get_mut(way) else { continue };
            for policy in self.resources.iter().chain(&self.patches).filter_map(Manifest::policy) {
                config.relocate(&from, policy);
            }
        }
    }
}

/// What a file holds, as far as it can be read: kustomize has read it already.
fn read_lenient(path: &Path) -> Vec<Node> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let name = path.strip_prefix(".").unwrap_or(path);
    yaml::read(&name.display().to_string().into(), &text).unwrap_or_default()
}

fn kustomizations(folder: &Path) -> Vec<Node> {
    KUSTOMIZATIONS.iter().flat_map(|name| read_lenient(&folder.join(name))).collect()
}

fn manifests(path: &Path) -> impl Iterator<Item = Manifest> {
    manifest::documents(read_lenient(path)).into_iter().filter_map(|document| match document {
        Document::Manifest(manifest) => Some(manifest),
        Document::Policy(_) | Document::Protobuf(_) | Document::Other(_) => None,
    })
}

/// Without `..`, where that is a matter of names alone.
pub fn tidy(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut tidy, part| {
        let goes_up = part == std::path::Component::ParentDir;
        if !(goes_up && matches!(tidy.components().next_back(), Some(std::path::Component::Normal(_))) && tidy.pop()) {
            tidy.push(part);
        }
        tidy
    })
}

/// What is in a folder; nothing where it is among those that were read: links can lead back to it. Kubernetes mounts a
/// ConfigMap as links to files in a folder `..data`, which holds the same a second time.
pub fn entries(folder: &Path, read: &mut HashSet<PathBuf>) -> anyhow::Result<Vec<PathBuf>> {
    let unreadable = || format!("{} cannot be read", folder.display());
    if !read.insert(folder.canonicalize().with_context(unreadable)?) {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(folder).with_context(unreadable)?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().with_context(unreadable)?;
    let is_behind = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".."));
    paths.retain(|path| !is_behind(path));
    paths.sort();
    Ok(paths)
}

pub fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

fn is_component(folder: &Path) -> bool {
    kustomizations(folder).iter().any(|kustomization| kustomization.text(&["kind"]) == Some("Component"))
}

/// The output of `kubectl kustomize`, or of `kustomize build` where there is no kubectl.
fn kustomize(folder: &Path) -> anyhow::Result<String> {
    for command in [["kubectl", "kustomize"], ["kustomize", "build"]] {
        let [program, verb] = command;
        match Command::new(program).arg(verb).arg(folder).output() {
            Ok(output) if output.status.success() => {
                return String::from_utf8(output.stdout).context("kustomize wrote what is not UTF-8");
            }
            Ok(output) => bail!(
                "`{program} {verb} {}` failed: {}",
                folder.display(),
                String::from_utf8_lossy(&output.stderr).trim()
            ),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("{program} cannot be run")),
        }
    }
    bail!(
        "{folder} has a kustomization, and neither kubectl nor kustomize is on the PATH: install one of them, or pipe \
         what it renders: kubectl kustomize {folder} | careplane check -",
        folder = folder.display()
    )
}

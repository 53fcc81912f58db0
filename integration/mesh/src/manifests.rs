//! The manifests as they are shipped, with the few changes that a cluster of plain processes on one machine asks for.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use careplane_integration::workspace;
use serde_json::{Value, json};

/// A copy of `wasmplugin-manifests/` in `directory`. What is changed in it, and why, is said here and nowhere else.
///
/// # Errors
///
/// When something that is to be changed is not there.
pub fn prepare(directory: &Path, jwks: &Value) -> Result<PathBuf> {
    let copy = directory.join("manifests");
    self::copy(&copy)?;
    one_of_each(&copy.join("install/istio.yaml"))?;
    // No server answers at https://login.writecarenotes.com: the manifest contains the keys.
    patch(
        &copy.join("base/security"),
        json!({"kind": "RequestAuthentication"}),
        &json!([
            {"op": "remove", "path": "/spec/jwtRules/0/jwksUri"},
            {"op": "add", "path": "/spec/jwtRules/0/jwks", "value": jwks.to_string()},
        ]),
    )?;
    // A stock Envoy lacks Istio's own filter for metrics. First among the manifests, so that no proxy is ever asked for
    // it.
    fs::copy(workspace::root().join("integration/mesh/stock-envoy.yaml"), copy.join("base/security/stock-envoy.yaml"))?;
    append(&copy.join("base/security"), "resources:", "stock-envoy.yaml")?;
    Ok(copy)
}

/// One replica of everything: the second would say the same, and take 100 MB.
fn one_of_each(path: &Path) -> Result<()> {
    let text = fs::read_to_string(path)?;
    fs::write(path, text.replace("minReplicas: 2", "minReplicas: 1"))?;
    Ok(())
}

/// Lets the kustomization of `folder` patch what `target` selects.
fn patch(folder: &Path, target: Value, operations: &Value) -> Result<()> {
    let path = folder.join("kustomization.yaml");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let patch = json!([{"target": target, "patch": operations.to_string()}]);
    fs::write(&path, format!("{text}\npatches: {patch}\n"))?;
    Ok(())
}

/// Adds to a list of the kustomization of `folder`.
fn append(folder: &Path, list: &str, entry: &str) -> Result<()> {
    let path = folder.join("kustomization.yaml");
    let text = fs::read_to_string(&path)?;
    let more = text.replacen(&format!("{list} ["), &format!("{list} [{entry}, "), 1);
    ensure!(more != text, "{} has no {list} in brackets", path.display());
    fs::write(&path, more)?;
    Ok(())
}

/// A copy of the shipped manifests.
///
/// # Errors
///
/// When they cannot be read, or the copy cannot be written.
pub fn copy(to: &Path) -> Result<()> {
    copy_tree(&workspace::root().join("wasmplugin-manifests"), to)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

//! What a run has proved, as the table in `docs/mesh.md`.

use std::{fmt::Write as _, fs, path::PathBuf};

use anyhow::{Context, Result, bail, ensure};
use careplane_integration::workspace;

const BEGIN: &str = "<!-- made by `make test-mesh`: do not edit -->\n";
const END: &str = "<!-- end -->\n";

/// One sentence about the mesh that a test has shown to be true.
#[derive(Clone, Copy, Debug)]
pub struct Proof {
    /// The part of the mesh it is about, as a reader would look for it.
    pub about: &'static str,
    /// The manifest that makes it so, below `wasmplugin-manifests/`.
    pub manifest: &'static str,
    /// What was seen.
    pub seen: &'static str,
}

/// Where the table is.
#[must_use]
pub fn document() -> PathBuf {
    workspace::root().join("docs/mesh.md")
}

/// Puts `proofs`, in this order, into the document. Says whether that changed it.
///
/// # Errors
///
/// When a manifest is not there, or the document has no place for the table or cannot be written.
pub fn publish(proofs: &[Proof]) -> Result<bool> {
    let manifests = workspace::root().join("wasmplugin-manifests");
    for proof in proofs {
        ensure!(manifests.join(proof.manifest).is_file(), "there is no wasmplugin-manifests/{}", proof.manifest);
    }
    let path = document();
    let old = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let Some((head, (_, tail))) = old.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?)))
    else {
        bail!("{} has no place for the table, between {BEGIN:?} and {END:?}", path.display());
    };
    let new = format!("{head}{BEGIN}{}{END}{tail}", table(proofs));
    if new == old {
        return Ok(false);
    }
    fs::write(&path, new).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(true)
}

fn table(proofs: &[Proof]) -> String {
    let mut table = "\n| part | manifest | seen |\n|---|---|---|\n".to_owned();
    for proof in proofs {
        let link = format!("[{0}](../wasmplugin-manifests/{0})", proof.manifest);
        let _ = writeln!(table, "| {} | {link} | {} |", proof.about, proof.seen);
    }
    table + "\n"
}

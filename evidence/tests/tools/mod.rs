//! What `evidence/test-tools.sh`, `evidence/chdb.sh` and `evidence/fhir-validator.sh` install.

#[allow(dead_code, reason = "tests of pages alone have pages")]
pub mod browser;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Something that a test cannot do without.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code, reason = "each test uses its own")]
pub enum Tool {
    /// A browser.
    Chromium,
    /// What judges whether everybody can read a page.
    Axe,
    /// The JSON Schema of FHIR R4.
    FhirSchema,
    /// A folder with HL7's FHIR validator: the jars. Java (a JDK) is on the path.
    FhirValidator,
    /// A folder with chDB: a path of Python modules. Python is on the path.
    Chdb,
}

/// Where it is. Where it is not, says so past the test runner's capture, so that a skip is never taken for a pass.
///
/// # Panics
/// With `CI=true`: where everything is supposed to be installed, missing is failing.
pub fn tool(tool: Tool) -> Option<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools");
    let places: Vec<_> = match tool {
        Tool::Chromium => {
            let names = ["chromium-headless-shell", "chromium", "google-chrome", "google-chrome-stable"];
            let folders: Vec<_> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
            let installed = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
            installed.chain([tools.join("chromium-153.0.0/chromium")]).collect()
        }
        Tool::Axe => vec![tools.join("axe-4.14.1.js")],
        Tool::FhirSchema => vec![tools.join("fhir-r4.schema.json")],
        // The jars alone do not validate.
        Tool::FhirValidator if !has_jdk() => Vec::new(),
        Tool::FhirValidator => vec![tools.join("fhir-validator-8.8.1")],
        Tool::Chdb => vec![tools.join("chdb-26.9.0")],
    };
    if let Some(found) = places.into_iter().find(|place| place.exists()) {
        return Some(found);
    }
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    let installer = match tool {
        Tool::FhirValidator => "evidence/fhir-validator.sh, with a JDK 17 and Maven",
        Tool::Chdb => "evidence/chdb.sh",
        Tool::Chromium | Tool::Axe | Tool::FhirSchema => "evidence/test-tools.sh",
    };
    let message = format!("SKIPPED: {test}, because {tool:?} is not installed ({installer})");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{message}");
    let _ = writeln!(std::io::stderr(), "{message}");
    None
}

/// Whether `java` can run a source file.
fn has_jdk() -> bool {
    Command::new("javac").arg("-version").output().is_ok_and(|output| output.status.success())
}

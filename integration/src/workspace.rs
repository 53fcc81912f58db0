//! Where things are in this repository, and whether the ones that are not committed have been made.

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    thread,
};

use crate::{EnvoyVersion, Plugins};

/// Names a directory that holds `envoy-VERSION` installations, when they are not in `.tools/`.
pub const ENVOY_DIR_VARIABLE: &str = "CAREPLANE_ENVOY_DIR";

/// Lists the versions that tests run with, when they are not the newest and the oldest.
pub const ENVOYS_VARIABLE: &str = "CAREPLANE_ENVOYS";

/// Names a folder of other Wasm modules than those in `dist/`, from the root of the repository.
pub const MODULES_VARIABLE: &str = "CAREPLANE_MODULES";

/// The versions that tests run with, where the version could matter: the newest and the oldest, or those of
/// `CAREPLANE_ENVOYS`.
///
/// # Panics
///
/// When that names something that is no version.
#[must_use]
pub fn versions() -> Vec<EnvoyVersion> {
    match env::var(ENVOYS_VARIABLE) {
        Ok(asked) if !asked.trim().is_empty() => asked
            .split_whitespace()
            .map(|version| version.parse().unwrap_or_else(|error| panic!("{ENVOYS_VARIABLE}: {error}")))
            .collect(),
        _ => vec![EnvoyVersion::V1_40_0, EnvoyVersion::V1_36_2],
    }
}

/// The version that tests run with where one will do: the first of [`versions`].
///
/// # Panics
///
/// As [`versions`].
#[must_use]
pub fn version() -> EnvoyVersion {
    versions()[0]
}

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("integration/ lies in the repository").to_path_buf()
}

/// `integration/envoy.yaml`, from which every configuration is derived.
#[must_use]
pub fn envoy_yaml() -> PathBuf {
    root().join("integration/envoy.yaml")
}

/// The Envoy binary of `version`, as `install-envoy.sh` installs it. It need not exist.
#[must_use]
pub fn envoy_binary(version: EnvoyVersion) -> PathBuf {
    let tools = env::var_os(ENVOY_DIR_VARIABLE).map_or_else(|| root().join(".tools"), PathBuf::from);
    tools.join(format!("envoy-{version}/envoy/_bin/envoy"))
}

/// A program that `integration/mesh/build.sh` builds: `otel-collector`, `jaeger`. It need not exist.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    root().join(".tools/mesh").join(name)
}

/// `dist/`, where the build puts the Wasm modules, or the folder in `CAREPLANE_MODULES`.
#[must_use]
pub fn dist() -> PathBuf {
    root().join(env::var_os(MODULES_VARIABLE).unwrap_or_else(|| "dist".into()))
}

/// Whether a test with this Envoy and these plugins can run here.
///
/// When it cannot, says `SKIPPED: <test>: <what is missing and how to make it>` past the test runner's capture, so that
/// a skip is never mistaken for a pass, and returns false: the test should then return.
///
/// # Panics
///
/// With `CI=true` in the environment: where everything is supposed to be installed, missing is failing.
#[must_use]
pub fn prerequisites(version: EnvoyVersion, plugins: Plugins) -> bool {
    proceed(missing(version, plugins))
}

/// As [`prerequisites`], for a test that also needs these [`program`]s.
///
/// # Panics
///
/// As [`prerequisites`].
#[must_use]
pub fn prerequisites_and(programs: &[&str], version: EnvoyVersion, plugins: Plugins) -> bool {
    let mut missing = missing(version, plugins);
    for name in programs.iter().filter(|name| !program(name).is_file()) {
        missing.push(format!(".tools/mesh/{name} is not built (make telemetry-programs, with Go)"));
    }
    proceed(missing)
}

fn proceed(missing: Vec<String>) -> bool {
    if missing.is_empty() {
        return true;
    }
    let test = thread::current().name().unwrap_or("test").to_owned();
    let message = format!("SKIPPED: {test}: {}", missing.join("; "));
    assert!(env::var("CI").as_deref() != Ok("true"), "{message}");
    // Not eprintln!, which the test runner swallows for a test that passes. A closed stderr is no error.
    let _ = writeln!(std::io::stderr(), "{message}");
    false
}

fn missing(version: EnvoyVersion, plugins: Plugins) -> Vec<String> {
    let mut missing = Vec::new();
    let binary = envoy_binary(version);
    if !binary.is_file() {
        missing.push(format!("Envoy {version} is not installed (integration/install-envoy.sh {version})"));
    }
    for module in plugins.modules() {
        if !dist().join(&module).is_file() {
            missing.push(format!("{} is not built (make build)", dist().join(module).display()));
        }
    }
    missing
}

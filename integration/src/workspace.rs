//! Where things are in this repository.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::EnvoyVersion;

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

//! Whether what is not committed has been made.

use std::{env, io::Write, thread};

use crate::{
    EnvoyVersion, Plugins,
    workspace::{dist, envoy_binary, program},
};

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

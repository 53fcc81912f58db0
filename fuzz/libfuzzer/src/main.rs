//! The fuzz target that `CAREPLANE_FUZZ_TARGET` names, under libFuzzer.

#![no_main]

use std::env;
use std::sync::LazyLock;

use careplane_fuzz::{Target, target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = env::var("CAREPLANE_FUZZ_TARGET").unwrap_or_default();
    *target(&name).unwrap_or_else(|error| {
        eprintln!("CAREPLANE_FUZZ_TARGET: {error}");
        std::process::exit(2)
    })
});

libfuzzer_sys::fuzz_target!(init: { LazyLock::force(&TARGET); }, |data: &[u8]| (TARGET.1)(data));

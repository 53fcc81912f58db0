//! Policies in shadow, and where their records are.

use serde_json::Value;

/// Adds a logger for the records of policies in shadow. They go to the same file as those of policies that are
/// enforced.
pub fn records_of_shadow(document: &mut Value) {
    for listener in document["static_resources"]["listeners"].as_array_mut().expect("listeners") {
        let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        let loggers = manager["access_log"].as_array_mut().expect("loggers");
        let enforced = loggers.first().expect("a logger of records").to_string();
        let shadow = enforced.replace("wasm.careplane.audit", "wasm.careplane.shadow");
        loggers.push(serde_json::from_str(&shadow).expect("it was JSON before"));
    }
}

//! The committed table against the module as it is built.

use std::io::Write;

use careplane_cost::{Table, profile, proxy::Compiled, scenario, table};
use careplane_integration::workspace;

/// The module, if it is built; `make test` builds it first.
fn module() -> Option<std::path::PathBuf> {
    let module = workspace::dist().join("careplane.wasm");
    if module.is_file() {
        return Some(module);
    }
    let message = "SKIPPED: the cost of a request, because dist/careplane.wasm is not built (make build)";
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{message}");
    // Not eprintln!, which the test runner swallows for a test that passes.
    let _ = writeln!(std::io::stderr(), "{message}");
    None
}

#[test]
fn a_request_costs_what_the_table_says() {
    let Some(module) = module() else { return };
    let differences = Table::measure(&module).unwrap().differences(&Table::committed().unwrap());
    assert!(differences.is_empty(), "the cost of a request has changed:\n{}", differences.join("\n"));
}

#[test]
fn the_page_shows_the_table() {
    let page = std::fs::read_to_string(table::page()).unwrap();
    assert!(Table::committed().unwrap().page() == page, "{} is stale: run {}", table::page().display(), table::ACCEPT);
}

#[test]
fn the_functions_of_a_profile_sum_up_to_the_request() {
    let Some(module) = module() else { return };
    let scenarios = scenario::all().unwrap();
    let scenario = scenarios.iter().find(|scenario| scenario.name == "kept").unwrap();
    let (plain, none) = scenario.measure(&Compiled::load(&module).unwrap()).unwrap();
    let (_, profile) = scenario.measure(&profile::instrument(&module).unwrap()).unwrap();
    assert_eq!(none, None);
    assert_eq!(profile.unwrap().iter().map(|(_, part)| part.own).sum::<u64>(), plain.instructions);
}

//! The committed JSON Schema is the one that the types make.
#![cfg(feature = "schema")]

const COMMITTED: &str = include_str!("../policy.schema.json");

#[test]
fn the_committed_schema_is_current() {
    let generated = careplane_policy::schema::json_schema().unwrap();
    assert!(generated == COMMITTED, "policy.schema.json is out of date: run `make schema`");
}

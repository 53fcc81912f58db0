//! The JSON Schema of the document, generated from its types, for editors and for admission.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

use crate::document::{ClaimPath, Document, Pool, TrustedPeers};

/// The schema (draft 2020-12) as pretty JSON with a final newline: the text of `policy.schema.json`.
///
/// # Errors
/// When the schema cannot be written as JSON, which no type here can cause.
pub fn json_schema() -> Result<String, serde_json::Error> {
    let schema = schemars::schema_for!(Document);
    serde_json::to_string_pretty(&schema).map(|text| text + "\n")
}

impl JsonSchema for TrustedPeers {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "TrustedPeers".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"oneOf": [{"const": "any"}, {"type": "array", "items": {"type": "string", "pattern": "^spiffe://"}}]})
    }
}

impl JsonSchema for ClaimPath {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "ClaimPath".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]})
    }
}

impl JsonSchema for Pool {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Pool".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"oneOf": [
            {"type": "string"},
            {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "weight": {"type": "integer", "minimum": 1, "maximum": 100, "default": 1}
                },
                "required": ["name"],
                "additionalProperties": false
            }
        ]})
    }
}

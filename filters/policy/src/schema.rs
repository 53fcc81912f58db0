//! The JSON Schema of the document, generated from its types, for editors and for admission.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

use crate::document::{Claim, ClaimPath, Condition, Conditions, Document, GrantedTenants, Pool, Source, TrustedPeers};

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
        json_schema!({"oneOf": [{"const": "any"},
        {"type": "array", "items": {"type": "string", "pattern": "^spiffe://"}}]})
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

impl JsonSchema for Claim {
    fn schema_name() -> Cow<'static, str> {
        "Claim".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A claim that Envoy's jwt_authn verified, and who has to have issued it.",
            "type": "object",
            "properties": {
                "claim": ClaimPath::json_schema(generator),
                "issuer": {
                    "description": "The issuer (`iss`) that has to have made the token; any when absent.",
                    "type": "string"
                }
            },
            "required": ["claim"],
            "additionalProperties": false
        })
    }
}

impl JsonSchema for Source {
    fn schema_name() -> Cow<'static, str> {
        "Source".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let claim = generator.subschema_for::<Claim>();
        let one = |name: &str, description: &str| {
            json_schema!({
                "description": description,
                "type": "object",
                "properties": {name: {"type": "string"}},
                "required": [name],
                "additionalProperties": false
            })
        };
        json_schema!({
            "description": "One place where an identity is looked for.",
            "oneOf": [
                claim,
                one("path", "A parameter of the path template that matched."),
                one("header", "A request header, believed from trusted peers alone."),
                one("host", "The host of the request: a pattern with one `{tenant}`."),
                one("query", "A query parameter, believed from trusted peers alone.")
            ]
        })
    }
}

impl JsonSchema for Conditions {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Conditions".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<Condition>();
        json_schema!({"oneOf": [one, {"type": "array", "items": one, "minItems": 1}]})
    }
}

impl JsonSchema for GrantedTenants {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "GrantedTenants".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let claim = generator.subschema_for::<Claim>();
        let of = |kind: &str| {
            json_schema!({
                "type": "object", "properties": {kind: claim}, "required": [kind], "additionalProperties": false
            })
        };
        json_schema!({"oneOf": [{"const": "any"}, of("jurisdiction"), of("group")]})
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

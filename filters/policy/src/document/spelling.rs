//! Values of the document that can be written in two ways, or that are a word and a value.

use serde::ser::{Serialize, Serializer};
use serde_json::Value;

use super::{ClaimPath, Pool, Source, TrustedPeers};
use crate::decode::{Misfit, Read, Step, fields, word};

impl Serialize for TrustedPeers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => serializer.serialize_str("any"),
            Self::Listed(patterns) => patterns.serialize(serializer),
        }
    }
}

impl Read for TrustedPeers {
    fn read(value: &Value) -> Result<Self, Misfit> {
        const EXPECTED: &str = "the word \"any\" or a list of SPIFFE ids";
        match value {
            Value::String(word) if word == "any" => Ok(Self::Any),
            Value::String(_) => Err(Misfit::invalid_value(value, EXPECTED)),
            Value::Array(_) => Read::read(value).map(Self::Listed),
            _ => Err(Misfit::invalid_type(value, EXPECTED)),
        }
    }
}

impl Read for ClaimPath {
    fn read(value: &Value) -> Result<Self, Misfit> {
        match value {
            Value::String(name) => Ok(Self::Name(name.clone())),
            Value::Array(_) => Read::read(value).map(Self::Nested),
            _ => Err(Misfit::invalid_type(value, "the name of a claim, or a list of names that leads to a nested one")),
        }
    }
}

impl Read for Source {
    fn read(value: &Value) -> Result<Self, Misfit> {
        const KINDS: &[&str] = &["claim", "path", "header"];
        let Some((kind, named)) = value.as_object().filter(|map| map.len() == 1).and_then(|map| map.iter().next())
        else {
            // A word alone names a kind, and nothing of it.
            return Err(match word(KINDS, value) {
                Ok(_) => Misfit::invalid_type(value, "newtype variant"),
                Err(misfit) => misfit,
            });
        };
        let source = match kind.as_str() {
            "claim" => Read::read(named).map(Self::Claim),
            "path" => Read::read(named).map(Self::Path),
            "header" => Read::read(named).map(Self::Header),
            _ => Err(Misfit::unknown("variant", kind, KINDS)),
        };
        source.map_err(|misfit| misfit.inside(Step::Key(kind.clone())))
    }
}

impl Read for Pool {
    fn read(value: &Value) -> Result<Self, Misfit> {
        struct Weighted {
            name: Option<String>,
            weight: u64,
        }
        impl Default for Weighted {
            fn default() -> Self {
                Self { name: None, weight: 1 }
            }
        }
        fields! { Weighted { "name": name, "weight": weight } }
        let Weighted { name, weight } = match value {
            Value::String(name) => Weighted { name: Some(name.clone()), ..Weighted::default() },
            Value::Object(_) => Weighted::read(value)?,
            _ => return Err(Misfit::invalid_type(value, "the name of a pool, or {name, weight}")),
        };
        let name = name.ok_or_else(|| Misfit::new("missing field `name`".into()))?;
        Ok(Self { name, weight })
    }
}

//! Values of the document that can be written in two ways, or that are a word and a value.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Claim, ClaimPath, Conditions, GrantedTenants, Pool, Source, TrustedPeers};
use crate::decode::{LocatedError, Read, Step, Tree, fields};

impl Serialize for TrustedPeers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => serializer.serialize_str("any"),
            Self::Listed(patterns) => patterns.serialize(serializer),
        }
    }
}

impl Read for TrustedPeers {
    fn read(value: &Tree<'_>) -> Result<Self, LocatedError> {
        const EXPECTED: &str = "the word \"any\" or a list of SPIFFE ids";
        match value {
            Tree::String(word) if word == "any" => Ok(Self::Any),
            Tree::String(_) => Err(LocatedError::invalid_value(value, EXPECTED)),
            Tree::Array(_) => Read::read(value).map(Self::Listed),
            _ => Err(LocatedError::invalid_type(value, EXPECTED)),
        }
    }
}

impl Read for ClaimPath {
    fn read(value: &Tree<'_>) -> Result<Self, LocatedError> {
        match value {
            Tree::String(name) => Ok(Self::Name(name.to_string())),
            Tree::Array(_) => Read::read(value).map(Self::Nested),
            _ => Err(LocatedError::invalid_type(
                value,
                "the name of a claim, or a list of names that leads to a nested one",
            )),
        }
    }
}

/// The field beside `claim`.
const ISSUER: &str = "issuer";

impl Serialize for Claim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("claim", &self.path)?;
        if let Some(issuer) = &self.issuer {
            map.serialize_entry(ISSUER, issuer)?;
        }
        map.end()
    }
}

impl Read for Claim {
    fn read(value: &Tree<'_>) -> Result<Self, LocatedError> {
        #[derive(Default)]
        struct Written {
            claim: Option<ClaimPath>,
            issuer: Option<String>,
        }
        fields! { Written { "claim": claim, "issuer": issuer } }
        let Written { claim, issuer } = Written::read(value)?;
        let path = claim.ok_or_else(|| LocatedError::new("missing field `claim`".into()))?;
        Ok(Self { path, issuer })
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, named) = match self {
            Self::Claim(claim) => return claim.serialize(serializer),
            Self::Path(named) => ("path", named),
            Self::Header(named) => ("header", named),
            Self::Host(named) => ("host", named),
            Self::Query(named) => ("query", named),
        };
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(kind, named)?;
        map.end()
    }
}

impl Read for Source {
    fn read(value: &Tree<'_>) -> Result<Self, LocatedError> {
        const KINDS: &[&str] = &["claim", "path", "header", "host", "query"];
        if value.get("claim").is_some() {
            return Claim::read(value).map(Self::Claim);
        }
        let [(kind, named)] = (match value {
            Tree::Object(map) => map.as_slice(),
            _ => &[],
        }) else {
            return Err(LocatedError::invalid_type(value, "a map with just one of claim, path, header, host, query"));
        };
        let source = match &**kind {
            "path" => Read::read(named).map(Self::Path),
            "header" => Read::read(named).map(Self::Header),
            "host" => Read::read(named).map(Self::Host),
            "query" => Read::read(named).map(Self::Query),
            _ => Err(LocatedError::unknown("source", kind, KINDS)),
        };
        source.map_err(|misfit| misfit.inside(Step::Key(kind.to_string())))
    }
}

impl Read for Conditions {
    fn read(value: &Tree<'_>) -> Result<Self, LocatedError> {
        match value {
            Tree::Array(_) => Read::read(value).map(Self),
            _ => Read::read(value).map(|one| Self(vec![one])),
        }
    }
}

impl Serialize for GrantedTenants {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, claim) = match self {
            Self::Any => return serializer.serialize_str("any"),
            Self::Jurisdiction(claim) => ("jurisdiction", claim),
            Self::Group(claim) => ("group", claim),
        };
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(kind, claim)?;
        map.end()
    }
}

impl Read for GrantedTenants {
    fn read(value: &Tree<'_>) -> Result<Self, LocatedError> {
        const EXPECTED: &str = "the word \"any\", {jurisdiction: {claim: …}} or {group: {claim: …}}";
        match value {
            Tree::String(word) if word == "any" => Ok(Self::Any),
            Tree::Object(map) if map.len() == 1 => {
                let read = |kind: &str| {
                    value
                        .get(kind)
                        .map(|claim| Claim::read(claim).map_err(|misfit| misfit.inside(Step::Key(kind.into()))))
                };
                if let Some(claim) = read("jurisdiction") {
                    return claim.map(Self::Jurisdiction);
                }
                read("group").unwrap_or_else(|| Err(LocatedError::invalid_value(value, EXPECTED))).map(Self::Group)
            }
            Tree::String(_) => Err(LocatedError::invalid_value(value, EXPECTED)),
            _ => Err(LocatedError::invalid_type(value, EXPECTED)),
        }
    }
}

impl Read for Pool {
    fn read(value: &Tree<'_>) -> Result<Self, LocatedError> {
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
            Tree::String(name) => Weighted { name: Some(name.to_string()), ..Weighted::default() },
            Tree::Object(_) => Weighted::read(value)?,
            _ => return Err(LocatedError::invalid_type(value, "the name of a pool, or {name, weight}")),
        };
        let name = name.ok_or_else(|| LocatedError::new("missing field `name`".into()))?;
        Ok(Self { name, weight })
    }
}

//! What is not as it should be in a chain, with its place.

use std::fmt;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::source;

/// Where something was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Place")]
pub struct Location {
    /// The file as it was named; `-` for the standard input.
    pub source: String,
    /// From 1.
    pub line: u64,
    /// Which record of the line, from 1, where a line can hold several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<u32>,
}

/// A record: its number in the chain, and where it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordLocation {
    /// Its number.
    pub seq: u64,
    /// Where.
    pub place: Location,
}

/// What the record after a changed one says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum NextRecord {
    /// It names the hash that the changed record still carries.
    NamesIt,
    /// It names another hash: that of what was there.
    NamesAnother,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Finding {
    /// Records are missing.
    Gap {
        /// The first that is missing.
        from: u64,
        /// The last.
        to: u64,
        /// The record before; none at the beginning of the chain.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<RecordLocation>,
        /// The record behind.
        before: RecordLocation,
    },
    /// A record does not have its hash.
    Edit {
        /// The number that it says it has.
        seq: u64,
        /// Where.
        place: Location,
        /// Whether its neighbours leave it that number.
        placed: bool,
        /// A copy that was not changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        intact: Option<Location>,
        /// What the next record says of it; none without a next one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        follower: Option<NextRecord>,
    },
    /// Different records have one number, and each has its hash.
    Conflict {
        /// The number.
        seq: u64,
        /// Where they are: two or more.
        #[serde(deserialize_with = "several")]
        #[schemars(with = "Vec<Location>")]
        places: Vec<Location>,
        /// The one that the next record names.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        named: Option<Location>,
    },
    /// A record names another one before it than the one that is there.
    Break {
        /// Its number.
        seq: u64,
        /// Where.
        place: Location,
        /// The one that is there; none for the first, which has to name nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous: Option<Location>,
    },
    /// The chain goes on behind its end.
    AfterEnd {
        /// The first record behind.
        seq: u64,
        /// Where.
        place: Location,
        /// The end.
        end: RecordLocation,
    },
    /// A record without a key follows one with a key; or with another key, and one of the two was not given.
    KeyChanged {
        /// Its number.
        seq: u64,
        /// Where.
        place: Location,
        /// The id of its key; none without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// Where the record before is.
        previous: Location,
        /// The id of that one's key.
        previous_key: String,
    },
    /// A record stands before one that it comes after. Collectors deliver so when they try again.
    Reordered {
        /// Its number.
        seq: u64,
        /// Where.
        place: Location,
        /// The one of a lower number, further on in the same source.
        before: RecordLocation,
    },
}

/// Records that contradict each other have places.
fn several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Location>, D::Error> {
    let places = Vec::deserialize(deserializer)?;
    if places.len() < 2 {
        return Err(D::Error::custom(format!("a conflict has {} places: expected two or more", places.len())));
    }
    Ok(places)
}

// === impl Finding ===

impl Finding {
    /// Whether the chain does not hold because of it.
    pub fn is_fault(&self) -> bool {
        !matches!(self, Self::Reordered { .. })
    }

    /// The word for its kind.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Gap { .. } => "gap",
            Self::Edit { .. } => "edit",
            Self::Conflict { .. } => "conflict",
            Self::Break { .. } => "break",
            Self::AfterEnd { .. } => "after-end",
            Self::KeyChanged { .. } => "key-changed",
            Self::Reordered { .. } => "reordered",
        }
    }

    /// Where to look first.
    pub fn location(&self) -> &Location {
        match self {
            Self::Gap { before, .. } => &before.place,
            Self::Conflict { places, named, .. } => {
                let other = places.iter().find(|place| Some(*place) != named.as_ref());
                other.unwrap_or(&places[0])
            }
            Self::Edit { place, .. }
            | Self::Break { place, .. }
            | Self::AfterEnd { place, .. }
            | Self::KeyChanged { place, .. }
            | Self::Reordered { place, .. } => place,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { from, to, after, before } => {
                let missing =
                    if from == to { format!("record {from} is") } else { format!("records {from} to {to} are") };
                match after {
                    Some(after) => write!(f, "{missing} missing, between {} and {}", after.place, before.place),
                    None => write!(f, "{missing} missing: the first that is there is {}, {}", before.seq, before.place),
                }
            }
            Self::Edit { seq, placed, intact, follower, .. } => {
                let what = if *placed { "record" } else { "what says it is record" };
                write!(f, "{what} {seq} was changed: it does not have its hash")?;
                let next = seq.saturating_add(1);
                match (intact, follower) {
                    (Some(intact), _) => write!(f, "; an unchanged copy is {intact}"),
                    (None, Some(NextRecord::NamesIt)) => write!(f, "; record {next} names the hash that it carries"),
                    (None, Some(NextRecord::NamesAnother)) => {
                        write!(f, "; record {next} names another hash than it carries")
                    }
                    (None, None) => Ok(()),
                }
            }
            Self::Conflict { seq, places, named } => {
                write!(f, "{} different records have the number {seq}:", places.len())?;
                for (index, place) in places.iter().enumerate() {
                    write!(f, "{} {place}", if index == 0 { "" } else { "," })?;
                }
                match named {
                    Some(named) => write!(f, "; record {} follows {named}", seq.saturating_add(1)),
                    None => Ok(()),
                }
            }
            Self::Break { seq, previous: Some(previous), .. } => write!(
                f,
                "record {seq} does not follow record {}, {previous}: one of them was replaced, or all from there on",
                seq.saturating_sub(1)
            ),
            Self::Break { seq, previous: None, .. } => {
                write!(f, "record {seq} names a record before it, and the chain begins with it")
            }
            Self::AfterEnd { seq, end, .. } => {
                write!(f, "record {seq} comes behind the end of the chain, record {}, {}", end.seq, end.place)
            }
            Self::KeyChanged { seq, key: Some(key), previous, previous_key, .. } => {
                write!(
                    f,
                    "record {seq} has key {key}, and the one before it, {previous}, {previous_key}: one is not given"
                )
            }
            Self::KeyChanged { seq, key: None, previous, previous_key, .. } => {
                write!(f, "record {seq} has no key, and the one before it, {previous}, has {previous_key}")
            }
            Self::Reordered { seq, before, .. } => {
                write!(f, "record {seq} stands before record {}, {}", before.seq, before.place)
            }
        }
    }
}

// === impl Location ===

impl Location {
    pub(crate) fn new(source: &str, line: u64, record: u32) -> Self {
        Self { source: source.to_owned(), line, record: Some(record).filter(|record| *record > 0) }
    }

    fn borrowed(&self) -> source::Location<'_> {
        source::Location { source: &self.source, line: self.line, record: self.record.unwrap_or_default() }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.borrowed().fmt(f)
    }
}

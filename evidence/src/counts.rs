//! What is counted, and how two counts become one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Record;

/// Joins the counts of two parts of the input. The caller ensures that no record is in both.
pub trait Merge {
    /// Adds `other` to this.
    fn absorb(&mut self, other: Self);
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The application did what was asked: a status below 400, and the answer came to its end.
    Answered,
    /// The application would not: a status from 400 to 499.
    Declined,
    /// There was no answer, or one that speaks of a fault: a status from 500, or a gRPC status of that sense.
    Failed,
    /// A proxy refused it, so that it reached no application.
    Refused,
}

/// Requests by their ending.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// [`Ending::Answered`].
    pub answered: u64,
    /// [`Ending::Declined`].
    pub declined: u64,
    /// [`Ending::Failed`].
    pub failed: u64,
    /// [`Ending::Refused`].
    pub refused: u64,
}

/// How often, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// How often.
    pub count: u64,
    /// The earliest.
    pub first: Timestamp,
    /// The latest.
    pub last: Timestamp,
}

// === impl Ending ===

/// Envoy's response flags that say that a stream was cut off, also behind a status that said all is well: resets by
/// either side, and time that ran out.
const CUT: [&str; 11] = ["LR", "UR", "UC", "DC", "DR", "DPE", "UPE", "UT", "SI", "DT", "UMSDR"];

/// Whether semantic conventions for gRPC servers call a status an error: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED,
/// INTERNAL, UNAVAILABLE, DATA_LOSS.
pub(crate) fn is_grpc_fault(status: u64) -> bool {
    matches!(status, 2 | 4 | 12..=15)
}

impl Ending {
    /// How the request of `record` ended.
    #[must_use]
    pub fn of(record: &Record<'_>) -> Self {
        if record.decision.as_ref().is_some_and(|decision| decision.result.as_deref() == Some("denied")) {
            return Self::Refused;
        }
        let Some(outcome) = &record.outcome else { return Self::Failed };
        let is_tunnel = record.request.as_ref().is_some_and(|request| request.method == "CONNECT");
        let was_cut = outcome.flags.iter().any(|flag| CUT.contains(&&**flag));
        // No application said no: there was no way to one, or the caller left.
        let never_came = matches!(outcome.answered_by.as_deref(), Some("proxy" | "caller"));
        match (outcome.status, outcome.grpc_status.unwrap_or(0)) {
            (None | Some(500..), _) => Self::Failed,
            (Some(400..500), _) if never_came => Self::Failed,
            (Some(400..500), _) => Self::Declined,
            // After `101 Switching Protocols`, and in a tunnel, either side ends the connection when it has said all.
            (Some(101), _) => Self::Answered,
            (Some(200..300), _) if is_tunnel => Self::Answered,
            (Some(_), _) if was_cut => Self::Failed,
            (Some(_), 0) => Self::Answered,
            (Some(_), grpc) if is_grpc_fault(grpc) => Self::Failed,
            (Some(_), _) => Self::Declined,
        }
    }
}

// === impl Counts ===

impl Counts {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.answered + self.declined + self.failed + self.refused
    }
}

impl AddAssign<Ending> for Counts {
    fn add_assign(&mut self, ending: Ending) {
        *match ending {
            Ending::Answered => &mut self.answered,
            Ending::Declined => &mut self.declined,
            Ending::Failed => &mut self.failed,
            Ending::Refused => &mut self.refused,
        } += 1;
    }
}

// === impl Tally ===

impl Tally {
    /// None yet, seen at `time` first.
    #[must_use]
    pub fn starting(time: Timestamp) -> Self {
        Self { count: 0, first: time, last: time }
    }

    /// One more.
    pub fn add(&mut self, time: Timestamp) {
        self.absorb(Self { count: 1, ..Self::starting(time) });
    }
}

// === impl Merge ===

impl Merge for u64 {
    fn absorb(&mut self, other: Self) {
        *self += other;
    }
}

impl Merge for Counts {
    fn absorb(&mut self, other: Self) {
        self.answered += other.answered;
        self.declined += other.declined;
        self.failed += other.failed;
        self.refused += other.refused;
    }
}

impl Merge for Tally {
    fn absorb(&mut self, other: Self) {
        self.count += other.count;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

impl<K: Ord, V: Merge> Merge for BTreeMap<K, V> {
    fn absorb(&mut self, other: Self) {
        for (key, value) in other {
            match self.get_mut(&key) {
                Some(own) => own.absorb(value),
                None => {
                    self.insert(key, value);
                }
            }
        }
    }
}

impl<K: Ord> Merge for BTreeSet<K> {
    fn absorb(&mut self, other: Self) {
        self.extend(other);
    }
}

/// A map whose key is more than a word, as a list of rows: the members of key and value side by side.
pub mod rows {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

    #[derive(Serialize, Deserialize)]
    struct Row<K, V> {
        #[serde(flatten)]
        key: K,
        #[serde(flatten)]
        value: V,
    }

    /// # Errors
    /// When a key or a value cannot be written.
    pub fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map.iter().map(|(key, value)| Row { key, value }))
    }

    /// # Errors
    /// When a row is not of the members of a key and a value.
    pub fn deserialize<'de, K: Ord + DeserializeOwned, V: DeserializeOwned, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<K, V>, D::Error> {
        let rows = Vec::<Row<K, V>>::deserialize(deserializer)?;
        Ok(rows.into_iter().map(|row| (row.key, row.value)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_is_what_the_caller_got() {
        let ending = |decision: &str, outcome: &str| {
            let text = format!(
                r#"{{
                    "schema":"careplane.audit/v1","kind":"request","time":"2026-10-01T00:00:00.000000Z","hash":"",
                    "chain":{{"id":"c","prev":"","seq":1}},"decision":{{"result":"{decision}"}},"outcome":{outcome}
                }}"#
            );
            Ending::of(&serde_json::from_str(&text).unwrap())
        };
        assert_eq!(ending("allowed", r#"{"status":204}"#), Ending::Answered);
        assert_eq!(ending("allowed", r#"{"status":404}"#), Ending::Declined);
        assert_eq!(ending("allowed", r#"{"status":502}"#), Ending::Failed);
        assert_eq!(ending("allowed", "{}"), Ending::Failed);
        assert_eq!(ending("allowed", r#"{"status":200,"grpcStatus":14}"#), Ending::Failed);
        assert_eq!(ending("allowed", r#"{"status":200,"grpcStatus":5}"#), Ending::Declined);
        assert_eq!(ending("allowed", r#"{"status":200,"grpcStatus":0}"#), Ending::Answered);
        assert_eq!(ending("denied", r#"{"status":503}"#), Ending::Refused);
        for flag in ["DR", "DC", "UC", "UR", "LR", "SI", "DT"] {
            assert_eq!(ending("allowed", &format!(r#"{{"status":200,"flags":["{flag}"]}}"#)), Ending::Failed, "{flag}");
        }
        let tunnel = |status| format!(r#"{{"status":{status},"flags":["DC"]}},"request":{{"method":"CONNECT"}}"#);
        assert_eq!(ending("allowed", &tunnel(200)), Ending::Answered);
        assert_eq!(ending("allowed", &tunnel(503)), Ending::Failed);
        assert_eq!(ending("none", r#"{"status":404,"answeredBy":"proxy","flags":["NR"]}"#), Ending::Failed);
        assert_eq!(ending("allowed", r#"{"status":404,"answeredBy":"upstream"}"#), Ending::Declined);
    }
}

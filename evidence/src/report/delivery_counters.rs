//! The delivery counters of the proxies, read from their metrics.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::counts::Merge;

/// Records and chains as the proxies counted them since they started, added up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryCounters {
    /// Made.
    pub records: u64,
    /// Taken by the collector.
    pub acknowledged: u64,
    /// Written to the proxy's log instead.
    pub overflow: u64,
    /// Refused by the collector for good.
    pub rejected: u64,
    /// Not delivered yet.
    pub queued: u64,
    /// Taken by nothing.
    pub lost: u64,
    /// Chains that were begun.
    pub chains: u64,
    /// Of these, those of samples with a label `pod`, by that.
    pub pods: BTreeMap<String, u64>,
}

/// Why metrics cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsError {
    /// A sample whose value is no count.
    Value {
        /// From 1.
        line: usize,
        /// What stands there.
        value: String,
    },
    /// None of the samples is of careplane's audit.
    None,
}

// === impl DeliveryCounters ===

impl DeliveryCounters {
    /// Adds up the counters `careplane_audit_*` in the text exposition format of Prometheus, as Envoy's
    /// `/stats/prometheus` gives it, of one proxy or of many.
    ///
    /// # Errors
    /// When a value is not a count, or there is no `careplane_audit_records`.
    pub fn read(text: &str) -> Result<Self, MetricsError> {
        let mut counters = Self::default();
        let mut found = false;
        for (index, line) in text.lines().enumerate() {
            let Some((word, rest)) = line.strip_prefix("careplane_audit_").and_then(|rest| {
                let end = rest.find(|char: char| char == '{' || char.is_whitespace())?;
                Some(rest.split_at(end))
            }) else {
                continue;
            };
            let counter = match word {
                "records" => &mut counters.records,
                "acknowledged" => &mut counters.acknowledged,
                "overflow" => &mut counters.overflow,
                "rejected" => &mut counters.rejected,
                "queued" => &mut counters.queued,
                "lost" => &mut counters.lost,
                "chains" => &mut counters.chains,
                _ => continue,
            };
            found |= word == "records";
            // After the labels: the value, and perhaps a time. A label can hold a brace, but no value can.
            let value = rest.rsplit('}').next().unwrap_or_default().split_whitespace().next().unwrap_or_default();
            let count = whole(value).ok_or_else(|| MetricsError::Value { line: index + 1, value: value.to_owned() })?;
            *counter += count;
            if let Some(pod) = label(rest, "pod").filter(|_| word == "chains") {
                *counters.pods.entry(pod.to_owned()).or_default() += count;
            }
        }
        if found { Ok(counters) } else { Err(MetricsError::None) }
    }

    /// Records of which no account is given: made, and neither delivered, overflow, refused, waiting nor counted as
    /// lost. Below zero when more is accounted for than was made.
    #[must_use]
    pub fn unaccounted(&self) -> i128 {
        let accounted = [self.acknowledged, self.overflow, self.rejected, self.queued, self.lost];
        i128::from(self.records) - accounted.into_iter().map(i128::from).sum::<i128>()
    }
}

/// The value of a label, as it stands.
fn label<'t>(labels: &'t str, name: &str) -> Option<&'t str> {
    let wanted = format!("{name}=\"");
    let begin =
        labels.match_indices(&wanted).find(|(at, _)| labels[..*at].ends_with(['{', ',', ' ']))?.0 + wanted.len();
    labels[begin..].split('"').next()
}

/// A count; Prometheus has all values as floats.
fn whole(value: &str) -> Option<u64> {
    value.parse().ok().or_else(|| {
        let float: f64 = value.parse().ok()?;
        // Above 2^53 a float no longer tells whole numbers apart.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be a whole number")]
        (float.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&float)).then_some(float as u64)
    })
}

impl Merge for DeliveryCounters {
    fn absorb(&mut self, other: Self) {
        self.records += other.records;
        self.acknowledged += other.acknowledged;
        self.overflow += other.overflow;
        self.rejected += other.rejected;
        self.queued += other.queued;
        self.lost += other.lost;
        self.chains += other.chains;
        self.pods.absorb(other.pods);
    }
}

// === impl MetricsError ===

impl fmt::Display for MetricsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { line, value } => write!(f, "line {line}: {value:?} is not a count"),
            Self::None => f.write_str(
                "no sample of careplane_audit_records: expected the text of Envoy's /stats/prometheus, of a proxy \
                 that records",
            ),
        }
    }
}

impl std::error::Error for MetricsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_several_proxies_add_up() {
        let text = "# TYPE careplane_audit_records counter\n\
            careplane_audit_records{pod=\"a}\"} 40\n\
            careplane_audit_acknowledged{} 3.8e1 1700000000000\n\
            careplane_audit_records{pod=\"b\"} 5\n\
            careplane_audit_overflow 7\n\
            careplane_audit_chain_epoch{} 1700000000\n\
            careplane_audit_chains{namespace=\"core\",pod=\"b\"} 2\n\
            careplane_audit_chains{other_pod=\"c\"} 1\n\
            other_total 9\n";
        let counters = DeliveryCounters::read(text).unwrap();
        let pods = BTreeMap::from([("b".to_owned(), 2)]);
        assert_eq!(
            counters,
            DeliveryCounters {
                records: 45,
                acknowledged: 38,
                overflow: 7,
                chains: 3,
                pods,
                ..DeliveryCounters::default()
            }
        );
        assert_eq!(counters.unaccounted(), 0);
    }

    #[test]
    fn what_are_no_counters_is_refused_with_its_place() {
        assert_eq!(DeliveryCounters::read("up 1\n"), Err(MetricsError::None));
        let error =
            DeliveryCounters::read("careplane_audit_records{} 1\ncareplane_audit_overflow{} NaN\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2: \"NaN\" is not a count");
    }
}

//! What a report is about: a period, a regulator, a tenant.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::Record;
use crate::acts::SKEW;

/// What a report is about. A member that is absent limits nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The first instant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// The first instant after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Who inspects the tenants, in the word of the records: `CQC`, `Care Inspectorate`, `CIW`, `RQIA`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regulator: Option<String>,
    /// One tenant alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// Where a request stands to the scope of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The report is about it.
    Within,
    /// It was before or after the period.
    OtherTime,
    /// It is of another regulator or tenant.
    Other,
    /// It names no regulator or tenant, so this is unknown.
    Unattributed,
}

/// Why a `--from` or `--to` cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotATime(String);

// === impl Scope ===

impl Scope {
    /// Whether `time` is in the period.
    #[must_use]
    pub fn contains(&self, time: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= time) && self.to.is_none_or(|to| time < to)
    }

    /// Whether the request of a record, which came in at `time`, was under way in the period, as far as the clocks of
    /// two machines agree.
    pub(crate) fn touches(&self, record: &Record<'_>, time: Timestamp) -> bool {
        let begun = time.as_microsecond();
        let duration = record.outcome.as_ref().and_then(|outcome| outcome.duration_micros).unwrap_or(0);
        let ended = begun.saturating_add_unsigned(duration).saturating_add(SKEW);
        self.from.is_none_or(|from| from.as_microsecond() <= ended)
            && self.to.is_none_or(|to| begun < to.as_microsecond().saturating_add(SKEW))
    }

    /// Where a record of `time` stands.
    #[must_use]
    pub fn standing(&self, record: &Record<'_>, time: Timestamp) -> Standing {
        let tenant = record.tenant.as_ref();
        let id = tenant.and_then(|tenant| tenant.id.as_deref());
        self.standing_of(time, id, tenant.and_then(|tenant| tenant.regulator.as_deref()))
    }

    /// Where what happened at `time`, for `tenant`, stands.
    #[must_use]
    pub fn standing_of(&self, time: Timestamp, tenant: Option<&str>, regulator: Option<&str>) -> Standing {
        if !self.contains(time) {
            return Standing::OtherTime;
        }
        for (wanted, named) in [(self.tenant.as_deref(), tenant), (self.regulator.as_deref(), regulator)] {
            match (wanted, named) {
                (Some(_), None) => return Standing::Unattributed,
                (Some(wanted), Some(named)) if wanted != named => return Standing::Other,
                _ => {}
            }
        }
        Standing::Within
    }

    /// Reads a bound of the period: a date, which is its midnight UTC, or an instant. The period is half-open: `from`
    /// is in it, `to` is not, so that October is from 2026-10-01 to 2026-11-01.
    ///
    /// # Errors
    /// When it is neither.
    pub fn bound(text: &str) -> Result<Timestamp, NotATime> {
        let wrong = || NotATime(text.to_owned());
        if let Ok(instant) = text.parse() {
            return Ok(instant);
        }
        // `Date` would take the date of a time of day without an offset, and drop the time.
        let date: Date = text.parse().ok().filter(|_| text.len() == "2026-10-31".len()).ok_or_else(wrong)?;
        Ok(date.to_zoned(TimeZone::UTC).map_err(|_| wrong())?.timestamp())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits = [
            self.from.map(|from| format!("from {from}")),
            self.to.map(|to| format!("before {to}")),
            self.regulator.as_ref().map(|regulator| format!("regulator {regulator}")),
            self.tenant.as_ref().map(|tenant| format!("tenant {tenant}")),
        ];
        let limits: Vec<String> = limits.into_iter().flatten().collect();
        f.write_str(&if limits.is_empty() { "everything".to_owned() } else { limits.join(", ") })
    }
}

// === impl NotATime ===

impl fmt::Display for NotATime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is neither a date such as 2026-10-31 nor an instant such as 2026-10-31T06:00:00Z", self.0)
    }
}

impl std::error::Error for NotATime {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_its_midnight_and_an_instant_is_itself() {
        let shown = |text| Scope::bound(text).unwrap().to_string();
        assert_eq!(shown("2026-10-01"), "2026-10-01T00:00:00Z");
        assert_eq!(shown("2026-11-01"), "2026-11-01T00:00:00Z");
        assert_eq!(shown("2026-10-31T06:00:00+01:00"), "2026-10-31T05:00:00Z");
        for wrong in ["", "October", "2026-02-30", "2026-10-31T06:00:00"] {
            let error = Scope::bound(wrong).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{wrong:?} is neither a date")), "{error}");
        }
    }

    #[test]
    fn the_first_instant_of_november_is_not_in_october() {
        let october = Scope {
            from: Some(Scope::bound("2026-10-01").unwrap()),
            to: Some(Scope::bound("2026-11-01").unwrap()),
            ..Scope::default()
        };
        let contains = |time: &str| october.contains(time.parse().unwrap());
        assert!(contains("2026-10-01T00:00:00Z") && contains("2026-10-31T23:59:59.999999Z"));
        assert!(!contains("2026-09-30T23:59:59.999999Z") && !contains("2026-11-01T00:00:00Z"));
    }
}

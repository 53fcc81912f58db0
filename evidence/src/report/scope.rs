//! What a report is about: a period, a regulator, a tenant.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::Record;

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
    /// It names no regulator or tenant, so that nobody can say.
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

    /// Where a record of `time` stands.
    #[must_use]
    pub fn standing(&self, record: &Record<'_>, time: Timestamp) -> Standing {
        if !self.contains(time) {
            return Standing::OtherTime;
        }
        let tenant = record.tenant.as_ref();
        let id = tenant.and_then(|tenant| tenant.id.as_deref());
        let regulator = tenant.and_then(|tenant| tenant.regulator.as_deref());
        for (wanted, named) in [(self.tenant.as_deref(), id), (self.regulator.as_deref(), regulator)] {
            match (wanted, named) {
                (Some(_), None) => return Standing::Unattributed,
                (Some(wanted), Some(named)) if wanted != named => return Standing::Other,
                _ => {}
            }
        }
        Standing::Within
    }

    /// Reads a beginning: a date, of which the day begins at midnight UTC, or an instant.
    ///
    /// # Errors
    /// When it is neither.
    pub fn beginning(text: &str) -> Result<Timestamp, NotATime> {
        instant(text, Ok)
    }

    /// Reads an end: a date, the whole of which is in the period, or the first instant that is not.
    ///
    /// # Errors
    /// When it is neither.
    pub fn end(text: &str) -> Result<Timestamp, NotATime> {
        instant(text, Date::tomorrow)
    }
}

fn instant(text: &str, day: impl Fn(Date) -> Result<Date, jiff::Error>) -> Result<Timestamp, NotATime> {
    let wrong = || NotATime(text.to_owned());
    if let Ok(instant) = text.parse() {
        return Ok(instant);
    }
    // `Date` would take the date of a time of day without an offset, and drop the time.
    let date: Date = text.parse().ok().filter(|_| text.len() == "2026-10-31".len()).ok_or_else(wrong)?;
    let midnight = day(date).and_then(|date| date.to_zoned(TimeZone::UTC)).map_err(|_| wrong())?;
    Ok(midnight.timestamp())
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
    fn a_date_at_the_end_is_meant_whole_and_an_instant_is_not() {
        let shown = |time: Result<Timestamp, NotATime>| time.unwrap().to_string();
        assert_eq!(shown(Scope::beginning("2026-10-01")), "2026-10-01T00:00:00Z");
        assert_eq!(shown(Scope::end("2026-10-31")), "2026-11-01T00:00:00Z");
        assert_eq!(shown(Scope::end("2026-10-31T06:00:00+01:00")), "2026-10-31T05:00:00Z");
        for wrong in ["", "October", "2026-02-30", "2026-10-31T06:00:00", "9999-12-31"] {
            let error = Scope::end(wrong).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{wrong:?} is neither a date")), "{error}");
        }
    }
}

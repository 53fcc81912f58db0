//! Instants as records have them.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// An instant: microseconds since 1970, UTC. Written in RFC 3339.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Time(u64);

// === impl Time ===

impl Time {
    /// Reads RFC 3339.
    pub fn parse(text: &str) -> Option<Self> {
        Self::parse_plain(text).or_else(|| Self::parse_any(text))
    }

    /// As records have it, `2026-01-31T23:59:59.123456Z`: quickly. Leaves the ends of months, and seconds beyond 59,
    /// to those who know calendars.
    fn parse_plain(text: &str) -> Option<Self> {
        let text: &[u8; 27] = text.as_bytes().try_into().ok()?;
        let is_plain = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (26, b'Z')]
            .iter()
            .all(|(at, char)| text[*at] == *char);
        let number = |from: usize, to: usize| {
            text[from..to]
                .iter()
                .try_fold(0_u64, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0')))
        };
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let is_sure = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=28).contains(&day);
        if !is_plain || !is_sure || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        // Days of the proleptic Gregorian calendar, with years that begin in March.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
        Some(Self((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + number(20, 26)?))
    }

    fn parse_any(text: &str) -> Option<Self> {
        let since = humantime::parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
        u64::try_from(since.as_micros()).ok().map(Self)
    }

    /// Now.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// How long `self` is after `earlier`; nothing when it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    pub(super) fn micros(self) -> u64 {
        self.0
    }

    pub(super) fn from_micros(micros: u64) -> Self {
        Self(micros)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_micros(self.0)).fmt(f)
    }
}

impl From<Time> for String {
    fn from(time: Time) -> Self {
        time.to_string()
    }
}

impl From<Time> for jiff::Timestamp {
    fn from(time: Time) -> Self {
        i64::try_from(time.0).ok().and_then(|micros| Self::from_microsecond(micros).ok()).unwrap_or(Self::MAX)
    }
}

impl From<jiff::Timestamp> for Time {
    fn from(time: jiff::Timestamp) -> Self {
        Self(u64::try_from(time.as_microsecond()).unwrap_or_default())
    }
}

impl TryFrom<String> for Time {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
            .ok_or_else(|| format!("{text:?} is not a time of RFC 3339 in UTC, as 2026-01-31T23:59:59Z is"))
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quick_way_and_the_calendar_agree() {
        for day in 0..80_000_u64 {
            let time = Time((day * 86_400 + day * 7919 % 86_400) * 1_000_000 + day);
            let text = time.to_string();
            assert_eq!(Time::parse_any(&text), Some(time));
            assert!(Time::parse_plain(&text).is_none_or(|quick| quick == time), "{text}");
        }
        assert_eq!(Time::parse_plain("2026-02-28T23:59:59.999999Z"), Time::parse_any("2026-02-28T23:59:59.999999Z"));
        for wrong in [
            "2026-13-01T00:00:00.000000Z",
            "2026-02-30T00:00:00.000000Z",
            "2026-01-01T24:00:00.000000Z",
            "2026-01-01 00:00:00.000000",
        ] {
            assert_eq!(Time::parse(wrong), Time::parse_any(wrong), "{wrong}");
        }
    }
}

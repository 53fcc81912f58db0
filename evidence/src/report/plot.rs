//! Requests over time, as columns in SVG. It has no size of its own: across in percent, so that it is as wide as the
//! page and its letters stay as large as the page's; down in pixels.

use std::collections::BTreeMap;

use askama::Template;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Unit, Zoned};

use super::words::{as_u64, counted, number, ratio};
use crate::counts::{Counts, Merge};

/// Where the columns stand.
const BASE: f64 = 172.0;
/// Where the highest line is: above it there is its number.
const TOP: f64 = 18.0;
/// The most columns of a plot, about.
const COLUMNS_MAX: i64 = 100;
/// The times that are written below at most: as many as fit on a telephone.
const TICKS_MAX: usize = 4;

/// A plot.
#[derive(Template)]
#[template(path = "columns.html")]
pub(super) struct Columns {
    /// Of the elements that name and describe it.
    id: &'static str,
    title: String,
    description: String,
    height: f64,
    base: f64,
    /// Of the numbers beside the columns, in pixels.
    gutter: usize,
    lines: Vec<Line>,
    columns: Vec<Column>,
    ticks: Vec<Tick>,
}

struct Line {
    y: f64,
    label: String,
}

struct Column {
    x: String,
    width: String,
    tip: String,
    parts: Vec<Part>,
}

struct Part {
    class: &'static str,
    y: f64,
    height: f64,
}

struct Tick {
    x: String,
    anchor: &'static str,
    label: String,
}

/// A part of the columns.
pub(super) struct Series {
    /// Of its colour.
    pub class: &'static str,
    /// What it counts: a noun that takes an `s`.
    pub noun: &'static str,
    /// The count.
    pub of: fn(&Counts) -> u64,
}

/// How long a column is.
#[derive(Clone, Copy, PartialEq)]
enum Step {
    Hour,
    Day,
    Week,
    Month,
}

/// The columns of a plot: each beginning, without a hole.
pub(super) struct Timeline {
    step: Step,
    buckets: Vec<(Zoned, Counts)>,
}

// === impl Step ===

impl Step {
    fn of(from: Timestamp, to: Timestamp) -> Self {
        let hours = (to.as_second() - from.as_second()) / 3600;
        match hours {
            ..=COLUMNS_MAX => Self::Hour,
            _ if hours <= 24 * COLUMNS_MAX => Self::Day,
            _ if hours <= 7 * 24 * COLUMNS_MAX => Self::Week,
            _ => Self::Month,
        }
    }

    fn begin(self, time: &Zoned) -> Zoned {
        let day = time.date();
        let begun: DateTime = match self {
            Self::Hour => {
                return time
                    .round(jiff::ZonedRound::new().smallest(Unit::Hour).mode(jiff::RoundMode::Trunc))
                    .unwrap_or_else(|_| time.clone());
            }
            Self::Day => day.into(),
            Self::Week => day.saturating_sub(i64::from(day.weekday().to_monday_zero_offset()).days()).into(),
            Self::Month => day.first_of_month().into(),
        };
        begun.to_zoned(TimeZone::UTC).unwrap_or_else(|_| time.clone())
    }

    fn next(self, begun: &Zoned) -> Zoned {
        begun.saturating_add(match self {
            Self::Hour => 1.hour(),
            Self::Day => 1.day(),
            Self::Week => 1.week(),
            Self::Month => 1.month(),
        })
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    fn short(self, begun: &Zoned) -> String {
        begun
            .strftime(match self {
                Self::Hour => "%-d %b %H:%M",
                Self::Day | Self::Week => "%-d %b",
                Self::Month => "%b %Y",
            })
            .to_string()
    }

    fn long(self, begun: &Zoned) -> String {
        begun
            .strftime(match self {
                Self::Hour => "%A %-d %B %Y, %H:%M",
                Self::Day => "%A %-d %B %Y",
                Self::Week => "week of %-d %B %Y",
                Self::Month => "%B %Y",
            })
            .to_string()
    }
}

// === impl Timeline ===

impl Timeline {
    /// The columns for `hours`, from `from` to `to` where the report has a period, else as long as there were requests.
    /// None when there is nothing to show.
    pub(super) fn new(
        hours: &BTreeMap<Timestamp, Counts>,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Option<Self> {
        let first = from.or_else(|| hours.keys().next().copied())?;
        let last = hours.keys().next_back().copied()?;
        // A record can say the last hour that there is.
        let end = to.or_else(|| last.checked_add(1.hour()).ok()).unwrap_or(Timestamp::MAX);
        let step = Step::of(first, end);
        let mut counts: BTreeMap<Timestamp, Counts> = BTreeMap::new();
        for (hour, count) in hours {
            let begun = step.begin(&hour.to_zoned(TimeZone::UTC)).timestamp();
            counts.entry(begun).or_default().absorb(*count);
        }
        let mut buckets = Vec::new();
        let mut begun = step.begin(&first.to_zoned(TimeZone::UTC));
        while begun.timestamp() < end {
            let next = step.next(&begun);
            let count = counts.get(&begun.timestamp()).copied().unwrap_or_default();
            buckets.push((begun, count));
            // The end of time.
            if next == buckets.last()?.0 {
                break;
            }
            begun = next;
        }
        Some(Self { step, buckets })
    }

    /// What a column is: `hour`, `day`, `week`, `month`.
    pub(super) fn step(&self) -> &'static str {
        self.step.noun()
    }

    /// A plot of `series`, one upon the other.
    pub(super) fn plot(&self, id: &'static str, title: String, series: &[Series]) -> Columns {
        let total = |counts: &Counts| series.iter().map(|series| (series.of)(counts)).sum::<u64>();
        let highest = self.buckets.iter().map(|(_, counts)| total(counts)).max().unwrap_or(0);
        let step = nice_step(highest);
        let scale = step * highest.div_ceil(step).max(1);
        let y = |value: u64| BASE - ratio(value, scale) * (BASE - TOP);
        let width = 100.0 / f64::from(u32::try_from(self.buckets.len()).unwrap_or(u32::MAX));
        let x = |index: usize| width * f64::from(u32::try_from(index).unwrap_or(u32::MAX));
        let columns = self.buckets.iter().enumerate().filter(|(_, (_, counts))| total(counts) > 0);
        let columns = columns.map(|(index, (begun, counts))| {
            let mut below = 0;
            let parts = series.iter().map(|series| {
                let value = (series.of)(counts);
                below += value;
                // What is there is seen, however little it is.
                let height = if value == 0 { 0.0 } else { (y(0) - y(value)).max(1.0) };
                Part { class: series.class, y: y(below).min(BASE - 1.0), height }
            });
            let parts = parts.filter(|part| part.height > 0.0).collect();
            let told: Vec<_> = series.iter().map(|series| counted((series.of)(counts), series.noun)).collect();
            Column {
                x: format!("{:.3}%", x(index) + width * 0.1),
                width: format!("{:.3}%", width * 0.8),
                tip: format!("{}: {}", self.step.long(begun), told.join(", ")),
                parts,
            }
        });
        let most = self.buckets.iter().max_by_key(|(_, counts)| total(counts));
        Columns {
            id,
            title,
            description: most.map_or_else(String::new, |(begun, counts)| {
                format!(
                    "{}, one column each. The highest is {}: {}.",
                    counted(as_u64(self.buckets.len()), self.step.noun()),
                    self.step.long(begun),
                    number(total(counts))
                )
            }),
            height: BASE + 24.0,
            base: BASE,
            // A digit is some 7 pixels wide.
            gutter: 8 + 7 * number(scale).len().max(5),
            lines: (1..=scale / step).map(|line| Line { y: y(line * step), label: number(line * step) }).collect(),
            columns: columns.collect(),
            ticks: self.ticks(width),
        }
    }

    fn ticks(&self, width: f64) -> Vec<Tick> {
        let every = self.buckets.len().div_ceil(TICKS_MAX).max(1);
        let ticks = self.buckets.iter().enumerate().step_by(every).map(|(index, (begun, _))| Tick {
            x: format!("{:.3}%", width * f64::from(u32::try_from(index).unwrap_or(u32::MAX))),
            anchor: "start",
            label: self.step.short(begun),
        });
        ticks.collect()
    }
}

/// The distance of the lines: 1, 2 or 5 of some power of ten, so that there are two to four.
fn nice_step(highest: u64) -> u64 {
    let mut power: u64 = 1;
    loop {
        for step in [1, 2, 5].map(|step| power.saturating_mul(step)) {
            if highest.div_ceil(step) <= 4 {
                return step;
            }
        }
        power = power.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_at_round_numbers() {
        assert_eq!([0, 1, 4, 5, 9, 40, 41, 12_345].map(nice_step), [1, 1, 1, 2, 5, 10, 20, 5_000]);
        assert!(nice_step(u64::MAX) > u64::MAX / 5);
    }

    #[test]
    fn time_has_no_holes() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let one = Counts { answered: 1, ..Counts::default() };
        let hours = BTreeMap::from([(time("2026-10-03T05:00:00Z"), one), (time("2026-10-03T06:00:00Z"), one)]);
        let timeline = |from: &str, to: &str| Timeline::new(&hours, Some(time(from)), Some(time(to))).unwrap();
        let month = timeline("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z");
        assert_eq!((month.step(), month.buckets.len(), month.buckets[2].1.answered), ("day", 31, 2));
        let day = timeline("2026-10-03T00:00:00Z", "2026-10-04T00:00:00Z");
        assert_eq!((day.step(), day.buckets.len(), day.buckets[5].1.answered), ("hour", 24, 1));
        assert_eq!(timeline("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z").step(), "week");
        assert_eq!(timeline("2020-01-01T00:00:00Z", "2027-01-01T00:00:00Z").buckets.len(), 84);
        let alone = Timeline::new(&hours, None, None).unwrap();
        assert_eq!((alone.step(), alone.buckets.len()), ("hour", 2));
        assert!(Timeline::new(&BTreeMap::new(), None, None).is_none());
        let last = BTreeMap::from([(time("9999-12-30T22:00:00Z"), one)]);
        assert_eq!(Timeline::new(&last, None, None).unwrap().buckets.len(), 1);
    }
}

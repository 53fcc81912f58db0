//! What the day left behind: records, spans, metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
};

use careplane_exchange::SPAN_TAGS;
use careplane_integration::otlp::Span;
use serde_json::Value;

use super::{
    observation::Observation,
    verify::{context_in, verify_records},
};
use crate::terminal::{Paint, Style, WIDTH, fill, wrap};

/// What Envoy puts before the names of a Wasm module's metrics.
pub const METRICS: &str = "wasmcustom.careplane.";

/// What there is to sum up.
pub struct Summary<'a> {
    /// The requests.
    pub day: Vec<&'a Observation>,
    /// All records, in the order of the file.
    pub records: &'a [Value],
    /// All spans.
    pub spans: &'a [Span],
    /// Envoy's counters and gauges that begin with [`METRICS`].
    pub metrics: &'a BTreeMap<String, u64>,
    /// What careplane warned of in Envoy's log.
    pub warnings: &'a BTreeSet<String>,
    /// The policy.
    pub policy: &'a Value,
}

impl Summary<'_> {
    /// What does not add up.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let (requests, records, exempt) = (self.day.len(), self.records.len(), self.exempt());
        if requests != records + exempt {
            problems.push(format!("{requests} requests, but {records} records and {exempt} that the policy exempts"));
        }
        if let Err(error) = verify_records(self.records) {
            problems.push(error);
        }
        let (counted, failures) = (self.metric("audit.records"), self.host_failures());
        if counted != records as u64 {
            problems.push(format!("Envoy counts {counted} records instead of {records}"));
        }
        if failures > 0 {
            problems.push(format!("{failures} host calls failed"));
        }
        let lost = self.metric("audit.overflow") + self.metric("audit.lost");
        if lost > 0 {
            problems.push(format!("{lost} records were not taken by the access log"));
        }
        problems
    }

    /// Writes the section. `example` is the request to show in full.
    pub fn write(&self, out: &mut dyn Write, example: Option<&Observation>, paint: Paint) -> io::Result<()> {
        writeln!(out, "{}", paint.paint(Style::Heading, "WHAT THE RECORDS SAY"))?;
        let kept = self.day.iter().filter(|seen| seen.kept()).count();
        let (requests, records) = (self.day.len(), self.records.len());
        let sum = format!("{requests} requests = {records} records + {} with `audit: none`", self.exempt());
        self.fact(out, "complete", &sum, paint)?;
        match verify_records(self.records) {
            Ok(chains) => {
                for chain in chains {
                    self.fact(out, "chain", &chain, paint)?;
                }
            }
            Err(error) => self.fact(out, "chain", &paint.paint(Style::Bad, format!("BROKEN: {error}")), paint)?,
        }
        let spans = format!("{} spans arrived for {kept} of {requests} requests", self.spans.len());
        self.fact(out, "traces", &spans, paint)?;
        if let Some(record) = example.and_then(Observation::record) {
            let number = record.0.pointer("/chain/seq").map(ToString::to_string).unwrap_or_default();
            writeln!(out, "\nrecord {number} in full:\n{}", record.pretty(WIDTH))?;
        }
        if let Some(span) = example.and_then(|example| example.span.as_ref()) {
            let tags = SPAN_TAGS.iter().filter_map(|tag| Some(format!("{tag} {} ·", span.attributes.get(*tag)?)));
            let tags = tags.collect::<Vec<_>>().join(" ");
            self.fact(out, "its span", tags.trim_end_matches(" ·"), paint)?;
        }

        writeln!(out, "\n{}", paint.paint(Style::Heading, format!("WHAT ENVOY COUNTED ({METRICS}*)")))?;
        self.fact(out, "requests", &self.counted("requests."), paint)?;
        self.fact(out, "denials", &self.counted("denials."), paint)?;
        let beyond = format!("{} · emergency access {}", self.counted("grants."), self.metric("emergency_access"));
        self.fact(out, "grants", &beyond, paint)?;
        let others = format!(
            "records {} · identity headers removed {} · records overflowed {}, lost {} · failed host calls {}",
            self.metric("audit.records"),
            self.metric("identity_headers_removed"),
            self.metric("audit.overflow"),
            self.metric("audit.lost"),
            self.host_failures(),
        );
        self.fact(out, "further", &others, paint)?;
        self.warnings.iter().try_for_each(|warning| self.warning(out, warning, paint))
    }

    fn fact(&self, out: &mut dyn Write, name: &str, text: &str, paint: Paint) -> io::Result<()> {
        let lines = fill(text.split_inclusive(" ·").map(str::trim), WIDTH - 12);
        writeln!(out, "{}{}", paint.paint(Style::Quiet, format!("{name:<12}")), lines.join("\n            "))
    }

    fn warning(&self, out: &mut dyn Write, text: &str, paint: Paint) -> io::Result<()> {
        let lines = wrap(text, WIDTH - 12);
        writeln!(out, "{}{}", paint.paint(Style::Refused, format!("{:<12}", "warned")), lines.join("\n            "))
    }

    /// How many requests have no record because their context says so.
    fn exempt(&self) -> usize {
        let is_exempt = |seen: &&&Observation| {
            let context = seen.context().unwrap_or_default();
            seen.record.is_none() && context_in(self.policy, &context)["audit"] == "none"
        };
        self.day.iter().filter(is_exempt).count()
    }

    fn metric(&self, name: &str) -> u64 {
        self.metrics.get(&format!("{METRICS}{name}")).copied().unwrap_or_default()
    }

    fn host_failures(&self) -> u64 {
        self.below("host_call_failures").map(|(_, count)| count).sum()
    }

    /// The metrics whose names begin with `prefix`, without it.
    fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
        let strip =
            move |(name, count): (&'a String, &u64)| Some((name.strip_prefix(METRICS)?.strip_prefix(prefix)?, *count));
        self.metrics.iter().filter_map(strip)
    }

    fn counted(&self, prefix: &str) -> String {
        let counts: Vec<String> = self.below(prefix).map(|(name, count)| format!("{name} {count}")).collect();
        counts.join(" · ")
    }
}

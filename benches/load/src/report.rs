//! What a comparison says: rows, targets, a page.

use std::{fmt::Write, fs};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{
    comparison::{MAIN, Measured, Sample, Series},
    contender::{self, BUNDLE, EMPTY, EXT_PROC, FOUR, LUA, LUA_EVIDENCE, ROUTER},
    machine::Machine,
    stats::Summary,
};

/// Everything about one run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Where and with what.
    pub machine: Machine,
    /// What made the load.
    pub generator: &'static str,
    /// Rounds of each cell.
    pub rounds: usize,
    /// Requests a second where the rate is fixed.
    pub rate: u32,
    /// The cells.
    pub cells: Vec<Table>,
    /// The targets, for the first cell.
    pub targets: Vec<Target>,
}

/// One cell.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// The traffic, in words.
    pub traffic: String,
    /// A row for each contender.
    pub rows: Vec<Row>,
}

/// One contender in one cell. Times in microseconds, memory in MB. *Added* is beside `router only` in the same round.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The contender.
    pub contender: String,
    /// What it is.
    pub about: String,
    /// CPU time of Envoy for a request.
    pub envoy: Summary,
    /// CPU time of the server beside it.
    pub server: Summary,
    /// CPU time of both, added.
    pub added: Summary,
    /// Median latency at the fixed rate.
    pub p50: Summary,
    /// The same, added.
    pub p50_added: Summary,
    /// The 99th percentile, added.
    pub p99_added: Summary,
    /// CPU at the fixed rate, in thousandths of a core.
    pub millicores: Summary,
    /// Resident memory of Envoy.
    pub memory: f64,
    /// The same, added.
    pub memory_added: f64,
    /// Resident memory of the server.
    pub server_memory: f64,
}

/// Something that is promised, as a ratio or a difference in one run.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    /// What is promised.
    pub what: String,
    /// The most that it may be.
    pub most: f64,
    /// What it is.
    pub is: f64,
    /// The unit; none for a ratio.
    pub unit: &'static str,
}

/// Writes `target/bench/<name>.md` and `.json`, and prints the page.
///
/// # Errors
/// When a file cannot be written.
pub fn write(name: &str, page: &str, figures: &impl Serialize) -> Result<()> {
    for (extension, text) in [("md", page), ("json", &(serde_json::to_string_pretty(figures)? + "\n"))] {
        let file = contender::built().join(format!("{name}.{extension}"));
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    print!("{page}");
    Ok(())
}

// === impl Report ===

impl Report {
    /// Of what was measured.
    #[must_use]
    pub fn new(machine: Machine, generator: &'static str, rate: u32, measured: &[Measured]) -> Self {
        let cells: Vec<Table> = measured.iter().map(Table::new).collect();
        let main = measured.iter().position(|measured| measured.cell == MAIN).and_then(|index| cells.get(index));
        Self {
            machine,
            generator,
            rounds: measured
                .first()
                .map_or(0, |first| first.series.iter().map(|series| series.samples.len()).max().unwrap_or(0)),
            rate,
            targets: main.map(Table::targets).unwrap_or_default(),
            cells,
        }
    }

    /// As Markdown, beside a picture of this name.
    #[must_use]
    pub fn page(&self, picture: &str) -> String {
        let mut page = "# careplane beside the alternatives\n\n".to_owned();
        page += &self.machine.paragraph();
        let _ = writeln!(
            page,
            "Load by {}. {} rounds, in each of which every contender has its turn. CPU time and latency in \
             microseconds a request, memory in MB; medians, and in parentheses the quartiles. *Added* is beside \
             `{ROUTER}` in the same round. Latency and millicores at {} requests/s.\n\n\
             ![added CPU time]({picture}.svg)",
            self.generator, self.rounds, self.rate
        );
        if !self.targets.is_empty() {
            page += "\n## Targets\n\n| target | at most | is | |\n|---|--:|--:|---|\n";
            for target in &self.targets {
                let verdict = if target.is <= target.most { "met" } else { "**missed**" };
                let _ = writeln!(
                    page,
                    "| {} | {}{} | {:.2}{} | {verdict} |",
                    target.what, target.most, target.unit, target.is, target.unit
                );
            }
        }
        for table in &self.cells {
            let _ = write!(page, "\n## {}\n\n{}", table.traffic, table.markdown());
        }
        page += "\n## Contenders\n\n";
        for row in self.cells.first().map(|table| &*table.rows).unwrap_or_default() {
            let _ = writeln!(page, "- `{}`: {}", row.contender, row.about);
        }
        page
    }
}

// === impl Table ===

impl Table {
    fn new(measured: &Measured) -> Self {
        let baseline = measured.series.iter().find(|series| series.contender.name == ROUTER);
        let rows = measured.series.iter().map(|series| Row::new(series, baseline.unwrap_or(series))).collect();
        Self { traffic: measured.cell.describe(), rows }
    }

    fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.contender == name)
    }

    fn targets(&self) -> Vec<Target> {
        let Some((router, empty, lua)) = self.three(ROUTER, EMPTY, LUA) else { return Vec::new() };
        let Some((ext_proc, bundle, four)) = self.three(EXT_PROC, BUNDLE, FOUR) else { return Vec::new() };
        let Some(evident) = self.row(LUA_EVIDENCE) else { return Vec::new() };
        let ratio = |what: &str, most, is: f64, of: f64| Target { what: what.to_owned(), most, is: is / of, unit: "" };
        vec![
            ratio(
                "added CPU time beside Lua's with the same evidence",
                0.95,
                bundle.added.median,
                evident.added.median,
            ),
            ratio("added CPU time beside Lua's that does less", 1.25, bundle.added.median, lua.added.median),
            ratio("added CPU time beside the empty module's", 6.0, bundle.added.median, empty.added.median),
            ratio("added median latency beside ext_proc's", 0.15, bundle.p50_added.median, ext_proc.p50_added.median),
            ratio("added CPU time of four plugins beside the bundle's", 2.2, four.added.median, bundle.added.median),
            Target {
                what: "memory over Envoy without Wasm".to_owned(),
                most: 30.0,
                is: bundle.memory - router.memory,
                unit: " MB",
            },
            Target {
                what: "CPU of the whole proxy at the fixed rate".to_owned(),
                most: 100.0,
                is: bundle.millicores.median,
                unit: "m",
            },
        ]
    }

    fn three(&self, one: &str, two: &str, three: &str) -> Option<(&Row, &Row, &Row)> {
        Some((self.row(one)?, self.row(two)?, self.row(three)?))
    }

    fn markdown(&self) -> String {
        let mut table = "| contender | CPU | added CPU | added p50 | added p99 | millicores | memory | added |\n\
                         |---|--:|--:|--:|--:|--:|--:|--:|\n"
            .to_owned();
        for row in &self.rows {
            let spread =
                |summary: &Summary| format!("{:.1} ({:.1} to {:.1})", summary.median, summary.low, summary.high);
            let (mut cpu, mut memory) = (format!("{:.1}", row.envoy.median), format!("{:.0}", row.memory));
            if row.server_memory > 0.0 {
                let _ = write!(cpu, " + {:.1}", row.server.median);
                let _ = write!(memory, " + {:.0}", row.server_memory);
            }
            let _ = writeln!(
                table,
                "| {} | {cpu} | {} | {} | {} | {:.0} | {memory} | {:+.0} |",
                row.contender,
                spread(&row.added),
                spread(&row.p50_added),
                spread(&row.p99_added),
                row.millicores.median,
                row.memory_added + row.server_memory
            );
        }
        table
    }
}

// === impl Row ===

impl Row {
    fn new(series: &Series, baseline: &Series) -> Self {
        let of = |figure: fn(&Sample) -> f64| Summary::of(&series.samples.iter().map(figure).collect::<Vec<_>>());
        let added = |figure: fn(&Sample) -> f64| {
            let rounds = series.samples.iter().zip(&baseline.samples);
            Summary::of(&rounds.map(|(sample, router)| figure(sample) - figure(router)).collect::<Vec<_>>())
        };
        Self {
            contender: series.contender.name.to_owned(),
            about: series.contender.about.to_owned(),
            envoy: of(|sample| sample.envoy),
            server: of(|sample| sample.server),
            added: added(|sample| sample.envoy + sample.server),
            p50: of(|sample| sample.p50),
            p50_added: added(|sample| sample.p50),
            p99_added: added(|sample| sample.p99),
            millicores: of(|sample| sample.millicores),
            memory: series.memory,
            memory_added: series.memory - baseline.memory,
            server_memory: series.server_memory,
        }
    }
}

//! What one record costs in each program that it passes, measured on this machine with the programs that the mesh
//! deploys.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use careplane_evidence::{
    search::{Person, Query, search},
    source::Source,
    synthetic::Synthetic,
    verify::{Keyring, Settings, Verifier},
};
use careplane_export::{Item, Resource};
use careplane_integration::{
    Client, Request,
    collector::{self, Collector},
    poll::until,
    workspace,
};
use careplane_load::process::{cpu_time, resident};
use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// Records of one request to the collector: the policy's default.
const BATCH: usize = 256;
/// As `evidence/chdb.sh` installs it.
const CHDB: &str = "chdb-26.9.0";
const WRITTEN_WITHIN: Duration = Duration::from_secs(120);

/// Microseconds of CPU and bytes are means for one record, unless the name says otherwise.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Constants {
    /// How many records were measured with.
    pub records: u64,
    /// CPU that careplane adds to a request in one Envoy, its record included; from benches/results/load.json.
    pub proxy_micros: f64,
    /// Memory that careplane adds to an Envoy with one worker, in MB; from there, too.
    pub proxy_memory: f64,
    /// The record as a line.
    pub line_bytes: f64,
    /// The line in gzip, as object storage keeps it.
    pub gzip_bytes: f64,
    /// On the way to the collector: OTLP in protobuf, in batches.
    pub otlp_bytes: f64,
    /// CPU of the Collector, which writes it to a file.
    pub collector_micros: f64,
    /// What the Collector writes: OTLP in JSON.
    pub collector_bytes: f64,
    /// Resident memory of the Collector after that, in MB for the whole program.
    pub collector_memory: f64,
    /// CPU of `careplane audit verify`.
    pub verify_micros: f64,
    /// CPU of `careplane audit search` for one person.
    pub search_micros: f64,
    /// CPU of ClickHouse to take it in.
    pub insert_micros: f64,
    /// On ClickHouse's disk.
    pub clickhouse_bytes: f64,
    /// CPU of ClickHouse for the verdicts on all chains.
    pub clickhouse_verify_micros: f64,
    /// CPU of ClickHouse to look for one person.
    pub clickhouse_search_micros: f64,
}

impl Constants {
    /// Measures with this many records, made up and chained.
    ///
    /// # Errors
    /// When a program is not installed, does not start, or does not take all records.
    pub async fn measure(records: u32) -> Result<Self> {
        let program = workspace::program(collector::PROGRAM);
        ensure!(program.is_file(), "{} is not built (make telemetry-programs, with Go)", program.display());
        let directory = tempfile::Builder::new().prefix("careplane-capacity-").tempdir()?;
        let file = directory.path().join("records.jsonl");
        let lines = write_records(&file, records)?;
        let count = lines.len() as f64;
        let mut constants = Self { records: lines.len() as u64, ..Self::default() };
        constants.of_the_proxy()?;
        constants.line_bytes = fs::metadata(&file)?.len() as f64 / count;
        constants.gzip_bytes = gzip(&lines)? as f64 / count;
        constants.of_the_collector(&lines).await?;
        constants.of_evidence(&file, count)?;
        constants.of_clickhouse(&file, count)?;
        Ok(constants)
    }

    /// From the last comparison that was kept: it wants a quiet machine and minutes.
    fn of_the_proxy(&mut self) -> Result<()> {
        let file = workspace::root().join("benches/results/load.json");
        let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let load: Value = serde_json::from_slice(&text)?;
        let rows = load["cells"][0]["rows"].as_array().context("load.json has no rows")?;
        let row = rows.iter().find(|row| row["contender"] == "careplane").context("load.json has no careplane")?;
        self.proxy_micros = row["added"]["median"].as_f64().context("load.json has no added CPU time")?;
        self.proxy_memory = row["memoryAdded"].as_f64().context("load.json has no added memory")?;
        Ok(())
    }

    async fn of_the_collector(&mut self, lines: &[String]) -> Result<()> {
        let collector = Collector::start().await?;
        let pid = collector.pid().context("the collector is not running")?;
        let attributes = [("service.name", "capacity"), ("service.instance.id", "sidecar~10.4.0.1~a-service.care")];
        let resource = Resource::new(attributes, "careplane", env!("CARGO_PKG_VERSION"));
        let client = Client::plain(collector.address());
        let began = cpu_time(pid)?;
        let mut sent = 0;
        for batch in lines.chunks(BATCH) {
            let items: Vec<Item> = batch.iter().map(|line| item(line)).collect::<Result<_>>()?;
            let body = resource.request(&items);
            sent += body.len();
            let request = Request::post("/v1/logs", body).header("content-type", "application/x-protobuf");
            let response = client.send(request).await?;
            ensure!(response.status == 200, "the collector answered {}", response.status);
        }
        // It acknowledges when a batch is in its queue; a moment later the batch is in the file.
        let written = until("the collector's file", WRITTEN_WITHIN, async || {
            let text = fs::read(collector.audit_file()).unwrap_or_default();
            let ids = text.windows(UID.len()).filter(|window| *window == UID.as_bytes()).count();
            Ok((ids >= lines.len()).then_some(text.len()))
        });
        let count = lines.len() as f64;
        self.collector_bytes = written.await? as f64 / count;
        self.collector_micros = micros(cpu_time(pid)? - began) / count;
        self.collector_memory = resident(pid)?;
        self.otlp_bytes = sent as f64 / count;
        Ok(())
    }

    fn of_evidence(&mut self, file: &Path, count: f64) -> Result<()> {
        let me = std::process::id();
        let began = cpu_time(me)?;
        let mut verifier = Verifier::new(Settings::default());
        verifier.read(&Source::file(file))?;
        let verification = verifier.finish()?;
        self.verify_micros = micros(cpu_time(me)? - began) / count;
        ensure!(!verification.chains.is_empty(), "no chains were verified");

        let began = cpu_time(me)?;
        let query = Query { people: vec![Person::Any(vec![UNUSED_PSEUDONYM.to_owned()])], ..Query::default() };
        search(&query, Keyring::default(), Timestamp::now(), &[Source::file(file)])?;
        self.search_micros = micros(cpu_time(me)? - began) / count;
        Ok(())
    }

    fn of_clickhouse(&mut self, file: &Path, count: f64) -> Result<()> {
        let chdb = workspace::root().join(".tools").join(CHDB);
        ensure!(chdb.is_dir(), "{} is not installed (evidence/chdb.sh)", chdb.display());
        let script = workspace::root().join("benches/capacity/src/clickhouse.py");
        let output =
            Command::new("python3").env("PYTHONPATH", chdb).arg(script).arg(file).arg(UNUSED_PSEUDONYM).output()?;
        ensure!(output.status.success(), "clickhouse.py: {}", String::from_utf8_lossy(&output.stderr));
        let found: Value = serde_json::from_slice(&output.stdout).context("clickhouse.py printed no JSON")?;
        let number = |name: &str| found[name].as_f64().with_context(|| format!("clickhouse.py printed no {name}"));
        self.insert_micros = number("insert")? * 1e6 / count;
        self.clickhouse_verify_micros = number("verify")? * 1e6 / count;
        self.clickhouse_search_micros = number("search")? * 1e6 / count;
        self.clickhouse_bytes = number("bytes")? / count;
        Ok(())
    }
}

/// The attribute that each log record has once.
const UID: &str = "log.record.uid";
/// A pseudonym that no record has: a search for it reads everything and finds nothing.
const UNUSED_PSEUDONYM: &str = "p-aaaaaaaa-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// The records of a week of some homes.
fn write_records(file: &Path, records: u32) -> Result<Vec<String>> {
    let from: Timestamp = "2026-01-05T00:00:00Z".parse()?;
    // Some requests have an intent too, and Sundays are quieter: a little more than is asked for.
    let what = Synthetic { seed: 1, from, days: 7, requests: records.div_ceil(6), chains: 16 };
    let mut out = BufWriter::new(File::create(file)?);
    let lines: Vec<String> = what.records().take(records as usize).collect();
    for line in &lines {
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(lines)
}

fn gzip(lines: &[String]) -> Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    for line in lines {
        encoder.write_all(line.as_bytes())?;
        encoder.write_all(b"\n")?;
    }
    Ok(encoder.finish()?.len())
}

/// A record as the filters send it.
fn item(line: &str) -> Result<Item> {
    let record: Value = serde_json::from_str(line)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let event = format!("careplane.audit.{}", text(&record["kind"]));
    let id = format!("{}/{}", text(&record["chain"]["id"]), record["chain"]["seq"]);
    let time: Timestamp = text(&record["time"]).parse()?;
    let (trace, span) = (text(&record["trace"]["id"]), text(&record["trace"]["spanId"]));
    let trace = (!trace.is_empty()).then_some((&*trace, &*span));
    Ok(Item::record(line, &event, &id, SystemTime::from(time), trace))
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

//! The page of a run.

use std::fmt::Write;

use crate::Report;

pub fn page(report: &Report<'_>) -> String {
    let Report { machine, platform, constants, day } = report;
    let mut page = "# A national platform, simulated\n\n".to_owned();
    page += &machine.paragraph();
    let _ = writeln!(
        page,
        "\n{} homes with {} residents in {} regions, {:.0} million records a day: {:.0} a second in the mean, {:.0} \
         in the busiest minute. Records are kept for {} years. [What it means](../../docs/capacity.md).\n",
        platform.homes,
        platform.residents,
        platform.regions,
        platform.records / 1e6,
        day.mean_rate,
        day.peak_rate,
        platform.years
    );
    page += "## What one record costs\n\n| program | CPU | bytes |\n|---|--:|--:|\n";
    for (what, micros, bytes) in [
        ("a proxy, for the whole request (`results/load.md`)", Some(constants.proxy_micros), None),
        ("the record as a line", None, Some(constants.line_bytes)),
        ("the line in gzip", None, Some(constants.gzip_bytes)),
        ("OTLP, to the collector", None, Some(constants.otlp_bytes)),
        (
            "the Collector, writing OTLP JSON to a file",
            Some(constants.collector_micros),
            Some(constants.collector_bytes),
        ),
        ("`careplane audit verify`", Some(constants.verify_micros), None),
        ("`careplane audit search` for one person", Some(constants.search_micros), None),
        ("ClickHouse, taking it in", Some(constants.insert_micros), Some(constants.clickhouse_bytes)),
        ("ClickHouse, verdicts on all chains", Some(constants.clickhouse_verify_micros), None),
        ("ClickHouse, looking for one person", Some(constants.clickhouse_search_micros), None),
    ] {
        let cell =
            |number: Option<f64>, unit: &str| number.map_or(String::new(), |number| format!("{number:.1}{unit}"));
        let _ = writeln!(page, "| {what} | {} | {} |", cell(micros, " µs"), cell(bytes, ""));
    }
    let _ = writeln!(
        page,
        "\nMeans over {} records. A worker with careplane takes {:.0} MB more; the Collector took {:.0} MB.\n",
        constants.records, constants.proxy_memory, constants.collector_memory
    );
    let _ = writeln!(
        page,
        "## What the platform needs\n\n\
         The largest region has {:.1} % of the work: {:.0} records a second in its busiest minute, from {:.0} \
         workers.\n\n| | largest region | all regions | |\n|---|--:|--:|---|",
        day.largest.share * 100.0,
        day.largest.peak_rate,
        day.largest.workers
    );
    for need in &day.needs {
        let _ = writeln!(page, "| {} | {} | {} | {} |", need.what, amount(need.region), amount(need.all), need.unit);
    }
    page += "\nCollectors and ClickHouse have cores for the busiest minute at 60 % of them.\n\n";
    page += "## When the collectors of the largest region go away\n\n\
             In the busiest minute. What does not fit the queues is in the proxies' logs, whole.\n\n\
             | away | records | to the proxies' logs | queues empty after | queue in which all would fit |\n\
             |--:|--:|--:|--:|--:|\n";
    for outage in &day.outages {
        let drained = outage.drained_after.map_or("over two days".to_owned(), |minutes| format!("{minutes} min"));
        let _ = writeln!(
            page,
            "| {} min | {:.0} | {:.0} | {drained} | {:.1} MB a worker |",
            outage.minutes,
            outage.came,
            outage.overflowed,
            outage.enough_queue_bytes / 1e6
        );
    }
    page
}

/// Three digits.
fn amount(number: f64) -> String {
    match number {
        number if number >= 100.0 => format!("{number:.0}"),
        number if number >= 10.0 => format!("{number:.1}"),
        number => format!("{number:.2}"),
    }
}

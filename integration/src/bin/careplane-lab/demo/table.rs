//! The day as a table: two lines for each request, what became of it and what is remarkable about it.

use super::{note::remarks, observation::Observation, step::Step};
use crate::terminal::{Paint, Style, WIDTH, columns, wrap};

const HEADS: [&str; 8] = ["TIME", "WHO, WHAT", "HTTP", "TENANT", "CONTEXT", "LEVEL", "TRACE", "POOL → UPSTREAM"];
const GAP: &str = "  ";
/// What stands where there is nothing.
const NONE: &str = "–";

const LEGEND: [&str; 2] = [
    "TRACE: whether a span arrived, and why. A tier keeps what draws less than its rate, of 100; the draw is in \
     x-request-id. Refusals are",
    "kept whatever their tier, if it was careplane that refused.   ×: gave no answer.   –: none.",
];

type Cell = (Style, String);

/// The table, ready to print.
pub fn render(day: &[(&Step, &Observation)], paint: Paint) -> String {
    let rows: Vec<[Cell; 8]> = day.iter().map(|(step, seen)| cells(step, seen)).collect();
    let mut widths = HEADS.map(columns);
    for row in &rows {
        for (width, (_, text)) in widths.iter_mut().zip(row) {
            *width = columns(text).max(*width);
        }
    }

    let heads = HEADS.map(|head| (Style::Heading, head.to_owned()));
    let mut table = line(&heads, &widths, paint);
    for ((step, seen), row) in day.iter().zip(&rows) {
        table.push_str(&line(row, &widths, paint));
        table.push_str(&second_line(step, seen, widths[0] + columns(GAP), paint));
    }
    table.push('\n');
    for line in LEGEND {
        table.push_str(&format!("{}\n", paint.paint(Style::Quiet, line)));
    }
    table
}

fn cells(step: &Step, seen: &Observation) -> [Cell; 8] {
    let plain = |text: Option<String>| (Style::Plain, text.unwrap_or_else(|| NONE.to_owned()));
    [
        (Style::Quiet, step.at.to_owned()),
        (Style::Heading, step.story.to_owned()),
        (status_style(seen), seen.response.status.to_string()),
        plain(seen.tenant()),
        plain(seen.context()),
        level(seen),
        trace(seen),
        route(seen),
    ]
}

fn status_style(seen: &Observation) -> Style {
    match seen.response.status {
        200..=399 => Style::Good,
        400..=499 => Style::Refused,
        _ => Style::Bad,
    }
}

fn level(seen: &Observation) -> Cell {
    match seen.level() {
        Some(level) if level == "critical" => (Style::Critical, level),
        level => (Style::Plain, level.unwrap_or_else(|| NONE.to_owned())),
    }
}

fn trace(seen: &Observation) -> Cell {
    let (style, kept) = if seen.kept() { (Style::Good, "kept") } else { (Style::Quiet, "no") };
    (style, seen.why().map_or_else(|| kept.to_owned(), |why| format!("{kept}: {why}")))
}

/// The pool of the tenant and the upstream it led to; × for an upstream that gave no answer.
fn route(seen: &Observation) -> Cell {
    let Some(cluster) = seen.cluster() else { return (Style::Quiet, NONE.to_owned()) };
    let pool = seen.pool().unwrap_or_else(|| NONE.to_owned());
    match seen.response.status {
        502..=504 => (Style::Bad, format!("{pool} → {cluster} ×")),
        _ => (Style::Plain, format!("{pool} → {cluster}")),
    }
}

fn line(cells: &[Cell; 8], widths: &[usize; 8], paint: Paint) -> String {
    let padded = cells.iter().zip(widths).map(|((style, text), width)| {
        let padding = " ".repeat(width.saturating_sub(columns(text)));
        paint.paint(*style, text) + &padding
    });
    format!("{}\n", padded.collect::<Vec<_>>().join(GAP).trim_end())
}

fn second_line(step: &Step, seen: &Observation, indent: usize, paint: Paint) -> String {
    let request = format!("{} {}", step.method, step.path);
    let text = [vec![request], remarks(step, seen)].concat().join(" · ");
    let lines = wrap(&text, WIDTH - indent);
    lines.iter().map(|line| format!("{}{}\n", " ".repeat(indent), paint.paint(Style::Quiet, line))).collect()
}

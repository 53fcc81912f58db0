//! Prints made-up records: `cargo run -p careplane-evidence --features synthetic --example synthetic -- [DAYS [REQUESTS
//! A DAY]]`.

use std::io::{BufWriter, Write};

use careplane_evidence::synthetic::Synthetic;

fn main() -> std::io::Result<()> {
    let mut numbers = std::env::args().skip(1).map(|number| number.parse().expect("a whole number"));
    let what = Synthetic {
        seed: 7,
        from: "2026-10-01T00:00:00Z".parse().expect("a time"),
        days: numbers.next().unwrap_or(31),
        requests: numbers.next().unwrap_or(1200),
        chains: 8,
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    for record in what.records() {
        writeln!(out, "{record}")?;
    }
    out.flush()
}

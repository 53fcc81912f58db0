//! `careplane diff`: what a new policy changes, and for which callers.

mod access;
mod grants;
mod headers;
mod homes;
mod output;
mod records;
mod routes;
pub mod sample;
mod scenarios;
mod sent;
pub mod shape;
mod tenants;
mod traces;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::explain::{Judged, Written};
use crate::{filters, out};
use output::Format;
pub use output::json_schema;
use shape::{ChangeKind, Diff};

/// Far above any mesh. Much larger numbers would become infinite, which JSON does not have.
const RATE_MAX: f64 = 1e9;

#[derive(clap::Args)]
pub struct Arguments {
    /// The policy as it is: a file, a manifest or an Envoy configuration with one inside, a kustomization, or `-`
    old: PathBuf,
    /// The policy as it would be
    new: PathBuf,
    /// The manifest to use, where there are several with a policy
    #[arg(long)]
    name: Option<String>,
    /// The filters to compare; default: those of the manifests, else all
    #[arg(long, value_parser = filters::NAMES)]
    plugin: Option<String>,
    /// Audit records made under the old policy, as `careplane audit verify` reads them: which of these requests would
    /// be decided otherwise?
    #[arg(long, value_name = "FILE|DIR")]
    records: Vec<PathBuf>,
    /// Requests a second, for the traces a day; default: as many as the records say
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// Format of the difference
    #[arg(short = 'o', long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| *rate > 0.0 && *rate <= RATE_MAX);
    rate.ok_or_else(|| format!("expected requests a second, such as 120, at most {RATE_MAX}"))
}

/// Exit code 0 when no access widens, 1 when some does; 2, by the caller, when something cannot be read.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let read = |path: &Path| -> anyhow::Result<Judged> {
        let mut written = Written::read(path, arguments.name.as_deref())?;
        written.plugin = arguments.plugin.clone().or(written.plugin);
        Judged::new(written, &path.display().to_string())
    };
    let (old, new) = (read(&arguments.old)?, read(&arguments.new)?);
    let difference = compare(&old, &new, arguments)?;
    out::print(&arguments.format.text(&difference)?)?;
    Ok(ExitCode::from(u8::from(difference.widens)))
}

fn compare(old: &Judged, new: &Judged, arguments: &Arguments) -> anyhow::Result<Diff> {
    let (templates, mut not_compared) = routes::templates(old, new);
    let (access, left_out) = access::compare(old, new, &templates);
    not_compared.extend(left_out);
    let records = match arguments.records.as_slice() {
        [] => None,
        paths => Some(records::compare(old, new, paths)?),
    };
    let traces = traces::compare(old, new, &templates, records.as_ref(), arguments.rate);
    let records = records.map(|records| records.change);
    let gains = |change: &shape::RecordChange| change.kind == ChangeKind::Gained;
    Ok(Diff {
        widens: access.iter().any(|change| change.kind == ChangeKind::Gained)
            || records.iter().flat_map(|records| &records.changes).any(gains),
        routes: routes::compare(old, new, &templates),
        tenants: tenants::compare(old, new),
        headers: headers::compare(old, new),
        access,
        grants: grants::compare(old, new),
        not_compared,
        traces,
        records,
    })
}

#[cfg(test)]
mod tests;

//! Which records are meant.

use careplane_evidence::report::Scope;
use careplane_policy::document::Jurisdiction;
use clap::builder::PossibleValuesParser;
use jiff::Timestamp;

#[derive(clap::Args)]
pub struct ScopeArguments {
    /// Requests from then on: a date, from its midnight UTC, or an instant of RFC 3339
    #[arg(long, value_name = "TIME", value_parser = Scope::bound)]
    from: Option<Timestamp>,
    /// Requests before then: a date, until its midnight UTC, or an instant. October is --from 2026-10-01 --to
    /// 2026-11-01
    #[arg(long, value_name = "TIME", value_parser = Scope::bound)]
    to: Option<Timestamp>,
    /// Tenants that this regulator inspects
    #[arg(long, value_parser = regulators())]
    regulator: Option<String>,
    /// One tenant
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
}

fn regulators() -> PossibleValuesParser {
    use Jurisdiction::{England, NorthernIreland, Scotland, Wales};
    [England, Scotland, Wales, NorthernIreland].map(Jurisdiction::regulator).into()
}

impl ScopeArguments {
    pub fn scope(&self) -> anyhow::Result<Scope> {
        if let (Some(from), Some(to)) = (self.from, self.to) {
            anyhow::ensure!(from < to, "--from {from} is not before --to {to}: the period would be empty");
        }
        Ok(Scope { from: self.from, to: self.to, regulator: self.regulator.clone(), tenant: self.tenant.clone() })
    }
}

//! `careplane schema`.

use std::process::ExitCode;

use crate::out;

#[derive(clap::Args)]
pub struct Arguments {
    /// Of what
    #[arg(value_enum, default_value_t = Of::Policy)]
    of: Of,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Of {
    /// The policy document
    Policy,
    /// What `careplane audit verify --format json` prints
    Verification,
    /// What `careplane diff -o json` prints
    Diff,
}

/// Prints a JSON Schema.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let schema = match arguments.of {
        Of::Policy => careplane_policy::schema::json_schema()?,
        Of::Verification => careplane_evidence::verify::json_schema()?,
        Of::Diff => crate::diff::json_schema()?,
    };
    out::print(&schema)?;
    Ok(ExitCode::SUCCESS)
}

//! `careplane schema`.

use std::process::ExitCode;

use crate::out;

/// Prints the JSON Schema of the policy document.
pub fn run() -> anyhow::Result<ExitCode> {
    out::print(&careplane_policy::schema::json_schema()?)?;
    Ok(ExitCode::SUCCESS)
}

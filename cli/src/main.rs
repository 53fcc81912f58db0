//! `careplane`: what an operator runs beside the filters.

mod check;
mod explain;
mod filters;
mod image;
mod input;
mod manifest;
mod out;
mod schema;
mod yaml;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "careplane", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Checks policies and the manifests around them, and prints every problem with its place
    Check(check::Arguments),
    /// Tells what the filters do with one request, and by which rule
    Explain(explain::Arguments),
    /// Builds the OCI image of a module, pushes it, and names it in the manifests
    Image(image::Arguments),
    /// Prints the JSON Schema of the policy document
    Schema,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Check(arguments) => check::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Image(arguments) => image::run(&arguments),
        Command::Schema => schema::run(),
    };
    done.unwrap_or_else(|error| {
        eprintln!("careplane: {error:#}");
        ExitCode::from(2)
    })
}

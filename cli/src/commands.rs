//! The commands.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::{audit, check, diff, directory, explain, image, init, mesh, playground, schema, shell, test};

#[derive(Parser)]
#[command(name = "careplane", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one of it, once")]
enum Command {
    /// Verifies audit records, reports on them, exports them
    Audit(audit::Arguments),
    /// Checks policies and the manifests around them, and prints every problem with its place
    Check(check::Arguments),
    /// Writes and checks the tenants that `tenants.directory` of a policy names
    Directory(directory::Arguments),
    /// Shows what the filters do with one request, and by which rule
    Explain(explain::Arguments),
    /// Shows what a new policy changes, for which requests and tenants
    Diff(diff::Arguments),
    /// Runs the tests beside a policy: requests, and what is expected of each
    Test(test::Arguments),
    /// Writes a first policy from OpenAPI documents, routes or access logs
    Init(init::Arguments),
    /// Builds the OCI image of a module, pushes it, and pins it in the manifests
    Image(image::Arguments),
    /// Writes a page on which you edit a policy and see what it does to a request
    Playground(playground::Arguments),
    /// Puts the mesh and careplane into a cluster: plan, apply, verify, undo, forward
    Mesh(mesh::Arguments),
    /// Prints the JSON Schema of the policy document, or of the output of `audit verify` or `diff`
    Schema(schema::Arguments),
    /// Prints the completions for a shell
    Completions(shell::Completions),
    /// Prints the manual page, or writes all of them
    Man(shell::Man),
}

/// Reads the command line, and runs the command. Exit code 2: it could not be run.
pub fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Directory(arguments) => directory::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Diff(arguments) => diff::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Init(arguments) => init::run(&arguments),
        Command::Image(arguments) => image::run(&arguments),
        Command::Playground(arguments) => playground::run(&arguments),
        Command::Mesh(arguments) => mesh::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Completions(arguments) => shell::completions(&arguments, Arguments::command()),
        Command::Man(arguments) => shell::man(&arguments, Arguments::command()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("careplane: {error:#}");
        ExitCode::from(2)
    })
}

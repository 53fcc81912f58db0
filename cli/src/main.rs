//! `careplane`: what an operator runs beside the filters.

use std::path::PathBuf;
use std::process::ExitCode;

use careplane_policy::Policy;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "careplane", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Checks policy documents (YAML or JSON) and prints every problem with its place
    Check {
        /// The documents
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Prints the JSON Schema of the policy document
    Schema,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Check { files } => check(&files),
        Command::Schema => match careplane_policy::schema::json_schema() {
            Ok(schema) => {
                print!("{schema}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("careplane: {error}");
                ExitCode::FAILURE
            }
        },
    }
}

/// Prints `file: place: problem` for each problem. Exit code 1 when there are some, 2 when a file cannot be read.
fn check(files: &[PathBuf]) -> ExitCode {
    let mut code = 0;
    for file in files {
        let name = file.display();
        match std::fs::read_to_string(file) {
            Err(error) => {
                eprintln!("{name}: cannot be read: {error}");
                code = 2;
            }
            Ok(text) => match Policy::from_yaml(&text) {
                Ok(policy) => {
                    println!("{name}: good ({} contexts, digest {})", policy.contexts().count(), policy.digest)
                }
                Err(problems) => {
                    for problem in problems {
                        println!("{name}: {problem}");
                    }
                    code = code.max(1);
                }
            },
        }
    }
    ExitCode::from(code)
}

//! `careplane-lab`: what a person does with the harness without writing a test.

use std::path::PathBuf;

use anyhow::Result;
use careplane_integration::compose;
use clap::{Parser, Subcommand};

/// Runs careplane in a real Envoy on this machine.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes keys, certificates and tokens for docker-compose.yaml
    ComposeFiles {
        /// Where to; the composition expects them in .run/compose
        #[arg(long, value_name = "DIRECTORY")]
        to: Option<PathBuf>,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::ComposeFiles { to } => {
            let directory = to.unwrap_or_else(compose::directory);
            compose::write(&directory)?;
            println!("wrote {}", directory.display());
            Ok(())
        }
    }
}

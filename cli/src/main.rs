//! The program. All of it is in the library, which the playground shares.

use std::process::ExitCode;

fn main() -> ExitCode {
    careplane_cli::main()
}

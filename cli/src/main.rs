//! The program; all of it is in the library beside it, so that its parts can be tried alone.

use std::process::ExitCode;

fn main() -> ExitCode {
    medhook_cli::main()
}

//! The program `medhook`. All of its code is in the library, so that tests can call it.

use std::process::ExitCode;

fn main() -> ExitCode {
    medhook_cli::main()
}

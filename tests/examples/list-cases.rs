//! Prints the list of cases in its canonical form. `scripts/cases` runs it.

use std::io::{self, Write};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = io::stdout().lock();
    for line in medhook_tests::listing::lines(&medhook_conformance::cases()?.cases) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

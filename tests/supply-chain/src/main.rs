//! `medhook-supply-chain FOLDER CRATE..`: checks that the public API of each crate shows only the dependencies that
//! it lists. FOLDER contains rustdoc's JSON. Run by `scripts/public-types`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use medhook_supply_chain::{packages, public_types};
use serde_json::Value;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_default();
    match packages().and_then(|packages| arguments.map(|name| check(&packages, &folder, &name)).collect()) {
        Ok(verdicts) => {
            let verdicts: Vec<bool> = verdicts;
            if !verdicts.is_empty() && verdicts.iter().all(|sound| *sound) {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(problem) => {
            eprintln!("public-types: {problem}");
            ExitCode::from(2)
        }
    }
}

fn check(packages: &[Value], folder: &str, name: &str) -> Result<bool, String> {
    let package = packages.iter().find(|package| package["name"] == name).ok_or(format!("no package {name}"))?;
    let allowed = &package["metadata"]["medhook"]["public-dependencies"];
    let allowed: BTreeSet<String> =
        allowed.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();

    let file = Path::new(folder).join(format!("{}.json", name.replace('-', "_")));
    let text = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let rustdoc: Value = serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let shown = public_types::shown_by(&rustdoc);

    let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
    let (unasked, unused) = (&shown - &allowed, &allowed - &shown);
    println!("{} {name}: {}", if unasked.is_empty() && unused.is_empty() { "ok  " } else { "FAIL" }, list(&shown));
    if !unasked.is_empty() {
        println!("     shown, and not in the list of its Cargo.toml: {}", list(&unasked));
    }
    if !unused.is_empty() {
        println!("     in the list of its Cargo.toml, and not shown: {}", list(&unused));
    }
    Ok(unasked.is_empty() && unused.is_empty())
}

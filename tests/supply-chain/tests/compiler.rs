//! The newest compiler that dependencies need. `scripts/msrv` checks the floor of each feature set.

use medhook_supply_chain::packages;
use serde_json::Value;

#[test]
fn no_dependency_needs_a_newer_compiler_than_the_command_line_declares() {
    let packages = packages().unwrap();
    assert!(packages.len() > 100, "only {} packages", packages.len());
    let ours = packages.iter().find(|package| package["name"] == "medhook-cli").and_then(version).unwrap();
    let newer: Vec<_> = packages.iter().filter(|package| version(package) > Some(ours)).collect();
    assert!(newer.is_empty(), "{newer:#?}");
    assert!(packages.iter().any(|package| !package["source"].is_null() && version(package) == Some(ours)), "too new");
}

fn version(package: &Value) -> Option<(u32, u32)> {
    let mut parts = package["rust_version"].as_str()?.split('.').map(|part| part.parse().unwrap());
    Some((parts.next()?, parts.next()?))
}

//! Every dependency in the lock file keeps the rules of `deny.toml`, and every rule can be broken.

use medhook_supply_chain::packages;
use medhook_supply_chain::rules::Rules;
use serde_json::{Value, json};

#[test]
fn every_dependency_keeps_the_rules() {
    let rules = Rules::read().unwrap();
    let packages = packages().unwrap();
    let broken: Vec<String> = packages.iter().flat_map(|package| rules.broken_by(package)).collect();
    assert!(packages.len() > 100, "only {} packages", packages.len());
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn what_breaks_a_rule_is_named() {
    let rules = Rules::read().unwrap();
    let sound = json!({
        "name": "fine", "version": "1.2.3", "license": "MIT OR Apache-2.0", "enabled": ["default"],
        "source": "registry+https://github.com/rust-lang/crates.io-index", "dependencies": [],
    });
    assert_eq!(rules.broken_by(&sound), [""; 0]);
    let with = |changes: Value| {
        let mut package = sound.clone();
        package.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        rules.broken_by(&package).join("; ")
    };
    for (changes, broken) in [
        (json!({"license": "GPL-3.0-only"}), "licence"),
        (json!({"license": null}), "licence"),
        (json!({"source": "git+https://github.com/someone/fine"}), "from git+"),
        (json!({"source": "registry+https://example.org/index"}), "from registry+"),
        (json!({"name": "openssl-sys"}), "rustls"),
        (json!({"name": "lru", "version": "0.18.1"}), "three advisories"),
        (json!({"name": "serde_json", "enabled": ["preserve_order"]}), "feature preserve_order"),
        (json!({"source": null, "dependencies": [{"name": "any", "req": "*"}]}), "in any version"),
    ] {
        assert!(with(changes).contains(broken), "{broken}");
    }
    assert_eq!(with(json!({"name": "lru", "version": "0.18.2"})), "");
}

/// What cannot be tried with the compiler at hand can at least be read.
#[test]
fn no_dependency_needs_a_newer_compiler_than_we_say() {
    let version = |package: &Value| -> Option<(u32, u32)> {
        let mut parts = package["rust_version"].as_str()?.split('.').map(|part| part.parse().unwrap());
        Some((parts.next()?, parts.next()?))
    };
    let packages = packages().unwrap();
    let ours = packages.iter().find(|package| package["name"] == "medhook").and_then(version).unwrap();
    let newer: Vec<_> = packages.iter().filter(|package| version(package) > Some(ours)).collect();
    assert!(newer.is_empty(), "{newer:#?}");
    assert!(packages.iter().any(|package| !package["source"].is_null() && version(package) == Some(ours)), "too new");
}

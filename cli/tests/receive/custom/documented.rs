//! The examples in the documentation.

use base64ct::{Base64, Encoding as _};

use crate::program::{Folder, medhook};

/// Returns the lines that `--check` prints for the examples in a text.
fn checked(text: &str) -> String {
    let examples: String =
        text.split("```toml\n").skip(1).map(|part| part.split_once("```").expect("its end").0).collect();
    let folder = Folder::new();
    let top = "listen = \"127.0.0.1:0\"\nstore = \"memory\"\n";
    folder.file("medhook.toml", &format!("{top}{examples}"));
    let mut command = medhook(&folder, &["--check"]);
    for (number, name) in (1..).zip(examples.split("env = \"").skip(1)) {
        // Different for each.
        let text = format!("{number:0>32}");
        let key = if name.starts_with("ELATION") { PUBLIC.to_owned() } else { Base64::encode_string(text.as_bytes()) };
        command.env(name.split_once('"').unwrap().0, key);
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_documented_custom_providers_are_accepted() {
    let text = include_str!("../../../../docs/receive.md");
    let (_, section) = text.split_once("\n## Custom providers\n").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("the next section");
    let lines = checked(section);
    for path in [
        "svix",
        "stripe",
        "slack",
        "whoop",
        "elation",
        "bearer",
        "basic",
        "events",
        "metriport",
        "oura",
        "drchrono",
        "polar",
    ] {
        assert!(lines.contains(&format!(" at /{path}, provider {path},")), "{path}: {lines}");
    }
}

#[test]
fn the_custom_providers_in_the_guides_are_accepted() {
    let schemes = include_str!("../../../../src/guide/schemes.md");
    let lines = checked(schemes);
    let paths = Vec::from_iter(schemes.lines().filter_map(|line| line.strip_prefix("path = \"/webhooks/")));
    assert!(paths.len() >= 16, "{paths:?}");
    for path in paths {
        let path = path.trim_end_matches('"');
        assert!(lines.contains(&format!(" at /webhooks/{path}, provider webhooks-{path},")), "{path}: {lines}");
    }
    // Its examples are in Rust, and it refers to the ones above.
    let handshakes = include_str!("../../../../src/guide/handshakes.md");
    if handshakes.contains("```toml") {
        checked(handshakes);
    }
}

/// The public key of RFC 8032, test 1.
const PUBLIC: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

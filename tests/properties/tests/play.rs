//! Runs the fuzzer's properties on known input: every fixture, slightly altered variants, and everything that was
//! found before.

use std::fs;
use std::path::Path;

use allocation_counter::measure;
use medhook_properties::{PROPERTIES, Property, most_memory, property};

#[test]
fn signature() {
    play("signature");
}

#[test]
fn scheme() {
    play("scheme");
}

#[test]
fn split() {
    play("split");
}

#[test]
fn event() {
    play("event");
}

#[test]
fn chunks() {
    play("chunks");
}

#[test]
fn pointer() {
    play("pointer");
}

#[test]
fn config() {
    play("config");
}

#[test]
fn handshake() {
    play("handshake");
}

#[test]
fn envelope() {
    play("envelope");
}

#[test]
fn secret() {
    play("secret");
}

#[test]
fn stored() {
    play("stored");
}

#[test]
fn answer() {
    play("answer");
}

#[test]
fn certificate() {
    play("certificate");
}

#[test]
fn times() {
    play("times");
}

#[test]
fn headers() {
    play("headers");
}

#[test]
fn capture() {
    play("capture");
}

#[test]
fn explained() {
    play("explained");
}

#[test]
fn page() {
    play("page");
}

#[test]
fn every_property_has_a_test_and_a_fuzz_target() {
    let names: Vec<_> = PROPERTIES.iter().map(|property| property.name).collect();
    assert_eq!(
        names,
        [
            "signature",
            "scheme",
            "split",
            "event",
            "chunks",
            "pointer",
            "config",
            "handshake",
            "envelope",
            "secret",
            "stored",
            "answer",
            "certificate",
            "times",
            "headers",
            "capture",
            "explained",
            "page"
        ]
    );
    for name in names {
        let target = format!("../fuzz/targets/{name}.rs");
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&target)).expect(&target);
        assert!(text.contains(&format!("\"{name}\"")), "{target}");
    }
}

fn play(name: &str) {
    let property = property(name);
    let seeds = (property.seeds)();
    assert!(seeds.len() > 15, "only {} seeds", seeds.len());
    for seed in &seeds {
        holds(property, seed);
        altered(seed).for_each(|altered| holds(property, &altered));
    }
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/found").join(name);
    for entry in fs::read_dir(&found).into_iter().flatten() {
        holds(property, &fs::read(entry.expect("an entry").path()).expect("a file"));
    }
}

fn holds(property: &Property, data: &[u8]) {
    let took = measure(|| (property.holds)(data)).bytes_max;
    assert!(took <= most_memory(data.len()), "{took} bytes for {}", data.len());
}

/// Returns similar inputs: cut off, doubled, and with a byte inserted that is part of JSON's grammar or not.
fn altered(seed: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let middle = seed.len() / 2;
    let cut = seed[..middle].to_vec();
    let doubled = [seed, seed].concat();
    let with = move |byte: u8| [&seed[..middle], &[byte], &seed[middle..]].concat();
    [cut, doubled].into_iter().chain([b'"', b'}', b'[', b'9', b'\n', 0, 0xff].map(with))
}

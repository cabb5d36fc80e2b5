//! `send`, `verify` and `check` at endpoints of the receiver's config file, and at custom endpoints by arguments.

use std::process::Command;

use medhook::testing::{Signing, fixtures};

use crate::program::{Folder, Instance, OTHER_SECRET, SECRET, with_secrets};

/// An endpoint of each provider, and of a custom one with each scheme. Only `other` needs a variable that is not set.
const ENDPOINTS: &str = r#"
[[endpoint]]
path = "/azodha"
provider = "azodha"
scheme = "hmac-sha256"
header = "X-Webhook-Signature"
reuse_secret = true
secrets = [{ env = "TEST_SECRET" }]
[[endpoint]]
path = "/cair"
provider = "cair"
scheme = "shared-secret"
header = "X-API-KEY"
pin_kind = "CLAIM_STATUS_CHANGE"
reuse_secret = true
secrets = [{ env = "TEST_SECRET" }]
[[endpoint]]
path = "/fasten"
provider = "fasten"
reuse_secret = true
secrets = [{ env = "TEST_SECRET" }]
test_secrets = [{ env = "TEST_OTHER_SECRET" }]
[[endpoint]]
path = "/healthsync"
provider = "healthsync"
reuse_secret = true
max_age = "3h"
secrets = [{ env = "TEST_SECRET" }]
[[endpoint]]
path = "/mediquo"
provider = "mediquo"
reuse_secret = true
secrets = [{ env = "TEST_SECRET" }]
also_header = "X-Tenant"
also_secrets = [{ env = "TEST_THIRD_SECRET" }]
[[endpoint]]
path = "/in/standard"
name = "standard"
provider = "custom"
provider_name = "acme"
scheme = "standard-webhooks"
kind_pointer = "/type"
known_kinds = ["order.made"]
reuse_secret = true
secrets = [{ env = "TEST_SECRET" }]
[[endpoint]]
path = "/in/hmac"
name = "hmac"
provider = "custom"
scheme = "hmac-sha256"
header = "X-Acme-Signature"
prefix = "sha256="
id_pointer = "/event/id"
kind_pointer = "/event/type"
time_pointer = "/event/created"
max_age = "1h"
body_limit = 4096
reuse_secret = true
secrets = [{ env = "TEST_OTHER_SECRET" }, { env = "TEST_SECRET" }]
[[endpoint]]
path = "/in/shared"
name = "shared"
provider = "custom"
scheme = "shared-secret"
header = "X-Acme-Key"
reuse_secret = true
secrets = [{ env = "TEST_SECRET" }]
"#;

const NAMES: [&str; 8] = ["azodha", "cair", "fasten", "healthsync", "mediquo", "standard", "hmac", "shared"];
const CUSTOM: [&str; 3] = ["standard", "hmac", "shared"];

/// A receiver with these endpoints, and the folder with its config file.
struct Scene {
    folder: Folder,
    receiver: Instance,
}

impl Scene {
    fn new() -> Self {
        let folder = Folder::new();
        // Port 0 is no address to send to, so the commands get one, except where the file's own is tested.
        let config = format!("listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"memory\"\n{ENDPOINTS}");
        let receiver = Instance::start(&folder, &config, &["--json"]);
        // Read only by the commands. Secrets of other endpoints need not be set.
        let other =
            "[[endpoint]]\npath = \"/other\"\nprovider = \"healthsync\"\nsecrets = [{ env = \"TEST_UNSET_SECRET\" }]\n";
        folder.file("medhook.toml", &format!("{config}{other}"));
        Scene { folder, receiver }
    }

    fn url(&self, name: &str) -> String {
        let path = if CUSTOM.contains(&name) { format!("/in/{name}") } else { format!("/{name}") };
        format!("http://{}{path}", self.receiver.address)
    }

    /// Runs a command, and returns its exit code and its output.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_medhook"));
        let ran = with_secrets(&mut command, &self.folder).args(arguments).output().unwrap();
        let text = [ran.stdout, ran.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        assert!(!text.contains(SECRET) && !text.contains(OTHER_SECRET), "{text}");
        (ran.status.code(), text)
    }
}

/// The arguments for a custom endpoint without a config file.
fn arguments(name: &str) -> Vec<&'static str> {
    let mut arguments = vec!["--secret-env", if name == "hmac" { "TEST_OTHER_SECRET" } else { "TEST_SECRET" }];
    arguments.extend(match name {
        "standard" => &["--scheme", "standard-webhooks", "--kind-pointer", "/type"][..],
        "hmac" => &[
            "--scheme",
            "hmac-sha256",
            "--header",
            "x-acme-signature",
            "--prefix",
            "sha256=",
            "--encoding",
            "either",
            "--id-pointer",
            "/event/id",
            "--kind-pointer",
            "/event/type",
            "--time-pointer",
            "/event/created",
        ],
        _ => &["--scheme", "shared-secret", "--header", "X-Acme-Key"],
    });
    arguments
}

#[test]
fn send_needs_nothing_but_the_config_file_and_the_name_of_the_endpoint() {
    let scene = Scene::new();
    for (number, name) in (1..).zip(NAMES) {
        let to = scene.url(name);
        let (code, text) = scene.run(&["send", "--config", "medhook.toml", "--endpoint", name, "--to", &to]);
        assert_eq!(code, Some(0), "{name}: {text}");
        let line = scene.receiver.lines(number).last().unwrap().clone();
        assert!(
            line.contains("\"outcome\":\"handled\"") && line.contains(&format!("\"endpoint\":\"{name}\"")),
            "{line}"
        );
        // Azodha's bodies may not name their kind.
        assert!(name == "azodha" || line.contains("\"undecodable\":false"), "{line}");
    }
    // Each run is another event, and an endpoint can be named by its path.
    let to = scene.url("hmac");
    let (code, text) =
        scene.run(&["send", "order.paid", "--config", "medhook.toml", "--endpoint", "/in/hmac", "--to", &to]);
    assert_eq!(code, Some(0), "{text}");
    let line = scene.receiver.lines(NAMES.len() + 1).last().unwrap().clone();
    assert!(line.contains("\"outcome\":\"handled\"") && line.contains("\"kind\":\"order.paid\""), "{line}");
    // The test mode's secret signs test events.
    let to = scene.url("fasten");
    let fasten = ["send", "webhook.test", "--config", "medhook.toml", "--endpoint", "fasten", "--to", &to];
    let (code, text) = scene.run(&[&fasten[..], &["--mode", "test"]].concat());
    assert_eq!(code, Some(0), "{text}");
    let line = scene.receiver.lines(NAMES.len() + 2).last().unwrap().clone();
    assert!(line.contains("\"outcome\":\"handled\"") && line.contains("TEST_OTHER_SECRET"), "{line}");
}

#[test]
fn send_uses_the_address_of_the_receiver_unless_it_is_elsewhere() {
    let folder = Folder::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = |listen: &str| format!("listen = \"{listen}\"\ndrain_delay = \"0s\"\nstore = \"memory\"\n{ENDPOINTS}");
    let receiver = Instance::start(&folder, &config(&format!("127.0.0.1:{port}")), &[]);
    let scene = Scene { folder, receiver };
    let send = ["send", "--config", "medhook.toml", "--endpoint", "standard"];
    let (code, text) = scene.run(&send);
    assert_eq!(code, Some(0), "{text}");
    for listen in ["0.0.0.0:8787", "127.0.0.1:0"] {
        scene.folder.file("medhook.toml", &config(listen));
        let (code, text) = scene.run(&send);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("pass --to URL") && text.contains(listen), "{text}");
    }
}

#[test]
fn flaws_are_rejected_at_custom_endpoints() {
    let scene = Scene::new();
    let flaws = ["--tamper", "--stale", "--unsigned", "--wrong-secret"];
    for (name, applicable) in [("standard", &flaws[..]), ("hmac", &flaws), ("shared", &flaws[2..])] {
        let to = scene.url(name);
        let by_file = ["send", "--config", "medhook.toml", "--endpoint", name, "--to", &to];
        for flaw in flaws {
            let (code, text) = scene.run(&[&by_file[..], &[flaw]].concat());
            if applicable.contains(&flaw) {
                assert!(code == Some(0) && text.contains("1 of 1 rejected"), "{name} {flaw}: {text}");
            } else {
                assert!(code == Some(2) && text.contains(flaw), "{name} {flaw}: {text}");
            }
        }
    }
}

#[test]
fn custom_endpoints_are_described_by_arguments() {
    let scene = Scene::new();
    for name in CUSTOM {
        let (to, by_arguments) = (scene.url(name), arguments(name));
        let (code, text) = scene.run(&[&["send", "custom", "--to", &to], &*by_arguments].concat());
        assert_eq!(code, Some(0), "{name}: {text}");
        let body_limit = if name == "hmac" { "4096" } else { "1048576" };
        let check = ["check", &to, "custom", "--body-limit", body_limit];
        let (code, text) = scene.run(&[&check[..], &*by_arguments].concat());
        assert_eq!(code, Some(0), "{name}: {text}");
    }
    scene.folder.file("event.json", "{\"event\":{\"created\":\"2026-01-01T00:00:00Z\"}}");
    let to = scene.url("shared");
    let body = [&["send", "custom", "--body", "event.json", "--to", &to], &*arguments("shared")].concat();
    assert_eq!(scene.run(&body).0, Some(0));
}

#[test]
fn check_plays_the_cases_of_the_scheme() {
    let scene = Scene::new();
    for (name, at_least, played) in [
        ("standard", 100, "acme: a fresher timestamp than the signed one: 401"),
        ("standard", 100, "acme: attempted 301 s ago: 401"),
        ("hmac", 35, "hmac: a signature without its prefix: 401"),
        ("hmac", 35, "hmac: happened longer ago than the maximum age: 401"),
        ("hmac", 35, "hmac: signed with the older of two secrets: 200"),
        ("hmac", 35, "hmac: a forged delivery with a body over the limit, and no end: "),
        ("shared", 40, "shared: another customer's shared secret: 401"),
        ("shared", 40, "shared: no shared secret: 401"),
    ] {
        let to = scene.url(name);
        let (code, text) = scene.run(&["check", &to, "--config", "medhook.toml", "--endpoint", name, "--strict"]);
        assert_eq!(code, Some(0), "{name}: {text}");
        let ok = text.lines().filter(|line| line.starts_with("ok ")).count();
        assert!(ok >= at_least, "{name}: {ok}: {text}");
        assert!(text.lines().any(|line| line.starts_with("ok ") && line.contains(played)), "{played}: {text}");
        assert!(text.contains("skipped  ") && text.contains("the store is down: a receiver cannot"), "{text}");
    }
    let azodha = ["check", &scene.url("azodha"), "--config", "medhook.toml", "--endpoint", "azodha", "--strict"];
    assert_eq!(scene.run(&azodha).0, Some(0));
}

#[test]
fn verify_takes_the_scheme_and_the_age_of_the_endpoint() {
    let scene = Scene::new();
    let body = br#"{"event":{"id":"1","type":"order.made","created":"2026-01-01T00:00:00Z"},"type":"order.made"}"#;
    scene.folder.file("body", str::from_utf8(body).unwrap());
    let at = |hours: i64| (1_767_225_600 + hours * 3_600).to_string();
    let hmac = Signing::of(
        medhook::HmacSha256Body::new("X-Acme-Signature").prefix("sha256=".to_owned()).encoding(medhook::Encoding::Hex),
    );
    for (name, signing, secret) in [
        ("standard", Signing::standard_webhooks(), SECRET),
        ("hmac", hmac, OTHER_SECRET),
        ("shared", Signing::shared_secret("X-Acme-Key"), SECRET),
    ] {
        let headers = signing.headers(secret, "msg_1", "1767225600", body).unwrap();
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        scene.folder.file("head", &lines);
        let files = ["verify", "--headers", "head", "--body", "body"];
        let by_file = [&files[..], &["--config", "medhook.toml", "--endpoint", name]].concat();
        let by_arguments = [&files[..], &["custom"], &*arguments(name)].concat();
        for verify in [&by_file, &by_arguments] {
            let (code, text) = scene.run(&[verify, &["--at", &at(0)][..]].concat());
            assert_eq!(code, Some(0), "{name}: {text}");
            // Only the file has a maximum age for the HMAC's events.
            let (code, text) = scene.run(&[verify, &["--at", &at(2)][..]].concat());
            let is_fresh = name == "shared" || (name == "hmac" && verify == &by_arguments);
            assert_eq!(code, Some(if is_fresh { 0 } else { 1 }), "{name}: {text}");
            assert_eq!(text.contains("stale"), !is_fresh, "{name}: {text}");
        }
        scene.folder.file("head", &lines.replace(": sha256=", ": "));
        let (code, text) = scene.run(&[&by_file[..], &["--at", &at(0)]].concat());
        assert_eq!(code, Some(i32::from(name == "hmac")), "{name}: {text}");
    }
    for name in ["azodha", "cair", "fasten", "healthsync", "mediquo"] {
        let fixture = fixtures().iter().find(|fixture| fixture.provider() == name).unwrap();
        let recorded = scene.folder.path().join("body");
        std::fs::write(&recorded, fixture.body()).unwrap();
        scene.folder.file("head", "x-other: 1\n");
        let (code, text) = scene.run(&[
            "verify",
            "--config",
            "medhook.toml",
            "--endpoint",
            name,
            "--headers",
            "head",
            "--body",
            "body",
        ]);
        assert_eq!(code, Some(1), "{name}: {text}");
        assert!(text.contains("missing_header: the header "), "{name}: {text}");
    }
}

#[test]
fn the_message_for_a_wrong_endpoint_says_what_to_pass() {
    let scene = Scene::new();
    let file = ["--config", "medhook.toml", "--endpoint"];
    let to = ["--to", "http://127.0.0.1:1/"];
    for (arguments, parts) in [
        (vec!["send", file[0], file[1], file[2], "fastn"], &["no endpoint \"fastn\"", "azodha, cair, fasten"][..]),
        (vec!["send", file[0], "missing.toml", file[2], "fasten"], &["missing.toml: cannot be read"]),
        (vec!["send", "fasten", file[0], file[1], file[2], "fasten"], &["name the provider; remove `fasten`"]),
        (vec!["send", to[0], to[1]], &["no provider given; pass one of azodha", "custom, or --config FILE"]),
        (vec!["send", "fastn", to[0], to[1]], &["unknown provider; pass one of azodha"]),
        (vec!["send", "healthsync", to[0], to[1], "--secret-env", "TEST_SECRET"], &["pass KIND", "or --body FILE"]),
        (vec!["send", file[0], file[1], file[2], "other", to[0], to[1]], &["endpoint 9 (/other)", "TEST_UNSET_SECRET"]),
        (vec!["send", "x", file[0], file[1], file[2], "shared", to[0], to[1]], &["KIND needs --kind-pointer"]),
        (vec!["send", "custom", to[0], to[1], "--secret-env", "TEST_SECRET"], &["custom requires --scheme"]),
        (vec!["send", "custom", to[0], to[1], "--scheme", "hmac-sha256"], &["--header: missing, but required"]),
        (
            vec!["send", "custom", "--scheme", "standard-webhooks", "--header", "a"],
            &["--header: does not apply to --scheme standard-webhooks"],
        ),
        (vec!["send", "custom", "--scheme", "standard-webhooks", "--id-pointer", "id"], &["begins with `/`"]),
        (
            vec!["send", "fasten", "webhook.test", "--id-pointer", "/id"],
            &["--id-pointer does not apply to fasten, only to custom"],
        ),
        (vec!["send", "cair", "x", "--scheme", "standard-webhooks", "--header", "a"], &["does not apply to cair"]),
        (vec!["check", file[0], file[1], file[2], "fasten"], &["pass URL", "127.0.0.1:0"]),
        (vec!["verify", "--headers", "a", "--body", "b"], &["no provider given; pass one of azodha"]),
        (vec!["verify", "--headers", "a", "--body", "b", file[0], file[1]], &["--endpoint"]),
    ] {
        let (code, text) = scene.run(&arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{arguments:?}: {text}");
    }
    let (_, text) = scene.run(&["send", "fasten", "--config", "medhook.toml"]);
    assert!(text.contains("--to <URL> <PROVIDER> --body <FILE>\n"), "KIND is not needed with --body: {text}");
}

//! `medhook check`, run as a user runs it: it passes correct endpoints and reports the fault of each faulty one.

use std::sync::{Arc, Mutex};

use http_body_util::BodyExt;
use medhook::registry::SchemeChoice;
use medhook::testing::Signing;
use medhook::{Encoding, Freshness, SignatureLayout};
use medhook_conformance::Endpoint;
use medhook_tests::families::{Family, PRIVATE, PUBLIC, families};
use medhook_tests::faulty::{self, Fault};
use medhook_tests::program::{Ran, run};
use medhook_tests::served::{Served, status, text, unused_address};

/// Good base64 of more than 16 bytes, and text.
const SECRET: &str = "Y2FuYXJ5LXRoYXQtbXVzdC1uZXZlci1iZS1zaG93bg";
const SECOND: &str = "c2Vjb25kLWNhbmFyeS1uZXZlci1iZS1zaG93bi11cA";

fn check(arguments: &[&str]) -> Ran {
    let arguments = [&["check"], arguments].concat();
    run(
        env!("CARGO_BIN_EXE_medhook"),
        &arguments,
        &[("CANARY", SECRET), ("SECOND", SECOND), ("PRIVATE", PRIVATE), ("PUBLIC", PUBLIC)],
    )
}

/// The names of the cases, by verdict.
struct Findings {
    code: Option<i32>,
    all: Vec<(String, String, String)>,
}

impl Findings {
    /// With everything there is to look at.
    fn of(served: &Served, provider: &str, more: &[&str]) -> Self {
        Self::with_secret(served, provider, "CANARY", more)
    }

    /// With everything there is to look at, and with the secret in this variable.
    fn with_secret(served: &Served, provider: &str, secret: &str, more: &[&str]) -> Self {
        let (count, fail) = (served.url("/count"), served.url("/fail-next"));
        let hooks = ["--count-url", &count, "--fail-next-url", &fail];
        Self::played(served, provider, secret, &[&hooks, more].concat())
    }

    fn without_hooks(served: &Served, provider: &str, more: &[&str]) -> Self {
        Self::played(served, provider, "CANARY", more)
    }

    fn played(served: &Served, provider: &str, secret: &str, more: &[&str]) -> Self {
        let url = served.url("/in");
        let Ran { code, stdout, stderr } = check(&[&[&url, provider, "--json", "--secret-env", secret], more].concat());
        assert_eq!(stderr, "", "{stdout}");
        let lines: Vec<serde_json::Value> = stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert_eq!(lines.len(), stdout.lines().count(), "all of it is JSON: {stdout}");
        let text = |line: &serde_json::Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let lines = lines.iter();
        let all = lines.map(|line| (text(line, "case"), text(line, "result"), text(line, "happened"))).collect();
        Findings { code, all }
    }

    fn with(&self, wanted: &str) -> Vec<&str> {
        self.all.iter().filter(|(_, verdict, _)| verdict == wanted).map(|(case, ..)| case.as_str()).collect()
    }
}

fn endpoint(provider: &str) -> Endpoint {
    let mut endpoint = Endpoint::new(provider);
    endpoint.secrets.insert("current".to_owned(), SECRET.to_owned());
    endpoint
}

#[test]
fn sound_endpoints_of_every_provider_pass() {
    let plain = |provider: &str| (endpoint(provider), Vec::<&str>::new());
    let chosen = |provider, scheme: &'static str| {
        let mut endpoint = endpoint(provider);
        endpoint.header = Some("x-own".to_owned());
        endpoint.scheme =
            Some(if scheme == "hmac-sha256" { SchemeChoice::HmacSha256 } else { SchemeChoice::SharedSecret });
        (endpoint, vec!["--header", "X-Own", "--scheme", scheme])
    };
    let mut prefixed = chosen("cair", "hmac-sha256");
    prefixed.0.prefix = Some("sha256=".to_owned());
    prefixed.0.encoding = Some(Encoding::Base64);
    prefixed.1.extend(["--prefix", "sha256=", "--encoding", "base64"]);
    let endpoints = [
        (chosen("azodha", "hmac-sha256"), 90),
        (chosen("azodha", "shared-secret"), 80),
        (chosen("cair", "hmac-sha256"), 110),
        (prefixed, 100),
        (chosen("cair", "shared-secret"), 100),
        (plain("fasten"), 150),
        (plain("healthsync"), 110),
        (plain("mediquo"), 95),
    ];
    for ((endpoint, arguments), at_least) in endpoints {
        let served = faulty::sound(&endpoint);
        let provider = endpoint.provider.as_str();
        let findings = Findings::of(&served, provider, &[&["--strict"], &*arguments].concat());
        let wrong: Vec<_> =
            findings.all.iter().filter(|(_, verdict, _)| !["ok", "skipped"].contains(&&**verdict)).collect();
        assert_eq!(findings.code, Some(0), "{provider} {arguments:?}: {wrong:#?}");
        let ok = findings.with("ok").len();
        assert!(ok >= at_least, "{provider} {arguments:?}: {ok} played");
    }
}

fn check_family(served: &Served, family: &Family, more: &[&str]) -> Findings {
    let secret = if family.has_key_pair { "PRIVATE" } else { "CANARY" };
    Findings::with_secret(served, "custom", secret, &[&family.arguments, more].concat())
}

#[test]
fn sound_endpoints_of_every_family_pass() {
    for family in families() {
        let served = faulty::sound(&family.endpoint);
        let findings = check_family(&served, &family, &["--strict"]);
        let wrong: Vec<_> =
            findings.all.iter().filter(|(_, verdict, _)| !["ok", "skipped"].contains(&&**verdict)).collect();
        assert_eq!(findings.code, Some(0), "{:?}: {wrong:#?}", family.arguments);
        let ok = findings.with("ok").len();
        assert!(ok >= 60, "{:?}: {ok} played", family.arguments);
    }
}

/// Returns what is wrong at an endpoint that also accepts what the looser endpoint accepts.
fn found_at_looser(family: &Family, looser: Endpoint) -> Vec<String> {
    let served = faulty::lenient(&[family.endpoint.clone(), looser]);
    let findings = check_family(&served, family, &[]);
    assert_eq!(findings.code, Some(1), "{:?}", family.arguments);
    findings.with("not_ok").iter().map(|case| case.replace("custom: ", "")).collect()
}

#[test]
fn catches_an_endpoint_that_checks_no_signed_time() {
    for family in families() {
        if family.endpoint.signing().unwrap().signs_time() {
            let mut looser = family.endpoint.clone();
            looser.freshness = Some(Freshness::Unchecked);
            let found = found_at_looser(&family, looser);
            let is_age = |case: &String| {
                ["ago", "ahead", "in 1970", "in milliseconds", "64-bit", "in seconds", "0 ms", "date in", "digits in"]
                    .iter()
                    .any(|word| case.contains(word))
            };
            assert!(found.len() >= 2 && found.iter().all(is_age), "{:?}: {found:#?}", family.arguments);
        }
    }
}

#[test]
fn catches_an_endpoint_that_also_accepts_a_signature_without_the_time() {
    let mut played = 0;
    for family in families() {
        let Signing::Signature(mut settings) = family.endpoint.signing().unwrap() else { continue };
        if settings.timestamp.is_none() || !matches!(settings.layout, SignatureLayout::Value { .. }) {
            continue;
        }
        (settings.timestamp, settings.id_header, settings.signed) = (None, None, "{body}".to_owned());
        settings.freshness = None;
        let mut custom = family.endpoint.custom.clone().unwrap();
        custom.signing = Signing::Signature(settings);
        let mut looser = family.endpoint.clone();
        (looser.custom, looser.freshness) = (Some(custom), None);
        assert_eq!(found_at_looser(&family, looser), ["the body signed without the timestamp"]);
        played += 1;
    }
    assert_eq!(played, 4);
}

#[test]
fn catches_an_endpoint_that_accepts_any_user_and_any_key() {
    let another = "YW5vdGhlci1jdXN0b21lcnMtc2VjcmV0LW9mLWEtZmV3";
    for family in families().into_iter().filter(|family| !family.has_key_pair) {
        let mut looser = family.endpoint.clone();
        looser.secrets = [("another".to_owned(), another.to_owned())].into();
        let found = found_at_looser(&family, looser);
        assert!(found.len() == 1 && found[0].contains("another customer's"), "{:?}: {found:#?}", family.arguments);
    }
}

#[test]
fn a_public_key_cannot_sign_the_cases() {
    for scheme in [&["standard-webhooks"][..], &["ed25519", "--header", "X-Mac"]] {
        let options = [&["http://127.0.0.1:9/in", "custom", "--secret-env", "PUBLIC", "--scheme"], scheme].concat();
        let ran = check(&options);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
        assert!(ran.stderr.contains("public key") && ran.stderr.contains("`whsk_"), "{ran:?}");
    }
}

/// The findings at a faulty endpoint. The list is complete, so that no other finding is accepted.
fn finds(fault: Fault, wanted: &[&str]) {
    let served = faulty::healthsync(SECRET, Some(fault));
    let findings = Findings::of(&served, "healthsync", &[]);
    assert_eq!(findings.with("not_ok"), wanted, "{fault:?}");
    assert_eq!(findings.code, Some(1), "{fault:?}");
}

const STALE: [&str; 7] = [
    "healthsync: happened 7,201 s ago",
    "healthsync: happened 7,201 s ago, written with an offset",
    "healthsync: happened 301 s ahead",
    "healthsync: happened in 1970",
    "healthsync: happened in the year 9999",
    "healthsync: the smallest 64-bit integer as the time",
    "healthsync: a kind that is not documented, 7,201 s ago",
];

const FORGED: [&str; 12] = [
    "healthsync: signed with another customer's secret",
    "healthsync: the first bit of the body flipped in transit",
    "healthsync: a line break added in transit",
    "healthsync: a made-up signature of the right form",
    "healthsync: the first half of the signature",
    "healthsync: signed with the secret and a line break",
    "healthsync: a signature one digit too short",
    "healthsync: a signature whose last digit differs",
    "healthsync: a signature with a character that is not a digit",
    "healthsync: a prefix without a signature",
    "healthsync: a bit in the middle of the body flipped in transit",
    "healthsync: a signature in base64",
];

#[test]
fn an_endpoint_written_by_hand_without_a_fault_passes() {
    let served = faulty::healthsync(SECRET, None);
    let findings = Findings::of(&served, "healthsync", &[]);
    assert_eq!(findings.code, Some(0), "{:?}", findings.with("not_ok"));
    // It is laxer than medhook about what only the sender can write.
    assert_eq!(
        findings.with("remark"),
        [
            "healthsync: the content encoding `identity` twice",
            // It takes equal bytes for the same event.
            "healthsync: a delivery without an id was handled",
            "healthsync: a documented kind without a time",
            "healthsync: a documented kind with an empty time",
            "healthsync: a documented kind with an invalid time",
            "healthsync: a documented kind with an object for a time",
        ]
    );
    assert_eq!(Findings::of(&served, "healthsync", &["--strict"]).code, Some(1));
}

#[test]
fn catches_an_endpoint_that_checks_nothing() {
    let served = faulty::healthsync(SECRET, Some(Fault::Unchecked));
    let findings = Findings::of(&served, "healthsync", &[]);
    assert_eq!(findings.code, Some(1));
    let caught = findings.with("not_ok");
    for case in FORGED.iter().chain(&STALE).chain(&["healthsync: no signature", "healthsync: an empty signature"]) {
        assert!(caught.contains(case), "{case}");
    }
    // All of what is genuine is accepted.
    assert!(!findings.with("ok").is_empty() && !caught.contains(&"healthsync: the same delivery was handled"));
}

#[test]
fn catches_an_endpoint_that_only_looks_for_a_signature() {
    finds(Fault::AnySignature, &FORGED);
}

#[test]
fn catches_an_endpoint_that_checks_what_it_has_written_again() {
    finds(
        Fault::WrittenAgain,
        &[
            "healthsync: document.uploaded.pretty",
            "healthsync: a body of 1 MiB, the default limit",
            "healthsync: an id that is empty",
            "healthsync: an id that is null",
            "healthsync: a line break added in transit",
            "healthsync: a delivery without an id was handled",
        ],
    );
}

#[test]
fn catches_an_endpoint_that_compares_beginnings() {
    let prefix = ["healthsync: the first half of the signature", "healthsync: a prefix without a signature"];
    finds(Fault::BeginningCompared, &prefix);
}

#[test]
fn catches_an_endpoint_that_checks_no_age() {
    finds(Fault::AnyAge, &STALE);
}

#[test]
fn catches_an_endpoint_that_remembers_before_it_handles() {
    finds(Fault::RememberedFirst, &["healthsync: handling fails, and the delivery comes again"]);

    // Without the hooks, the fault cannot be seen, and the case is skipped.
    let served = faulty::healthsync(SECRET, Some(Fault::RememberedFirst));
    let findings = Findings::without_hooks(&served, "healthsync", &[]);
    assert_eq!(findings.code, Some(0));
    let skipped = ("healthsync: handling fails, and the delivery comes again", "skipped");
    let found =
        findings.all.iter().find(|(case, verdict, _)| (&**case, &**verdict) == skipped).expect("it is reported");
    assert!(found.2.contains("--fail-next-url"), "{found:?}");
}

#[test]
fn catches_an_endpoint_that_asks_and_then_remembers() {
    finds(Fault::AskedThenRemembered, &["healthsync: the same delivery is being handled"]);
}

#[test]
fn reports_an_endpoint_that_rejects_duplicates() {
    let again = [
        "healthsync: the same delivery was handled",
        "healthsync: the same delivery is being handled",
        "healthsync: a delivery without an id was handled",
    ];
    finds(Fault::DuplicateRefused, &again);
    finds(Fault::NothingRemembered, &again[..2]);

    // The first can be seen by its answers alone.
    let served = faulty::healthsync(SECRET, Some(Fault::DuplicateRefused));
    assert_eq!(Findings::without_hooks(&served, "healthsync", &[]).with("not_ok"), again);
}

#[test]
fn catches_an_endpoint_that_believes_an_unsigned_header() {
    finds(Fault::KindFromHeader, &["healthsync: an `X-HealthSync-Event` of an undocumented kind"]);
}

#[test]
fn reports_an_endpoint_that_rejects_unknown_kinds() {
    finds(
        Fault::UnknownRefused,
        &[
            "healthsync: test-event",
            "healthsync: undocumented",
            "healthsync: a kind that is not documented",
            "healthsync: a kind in another case",
            "healthsync: a kind with a line break and a terminal's colors",
            "healthsync: a kind that is not ASCII",
            "healthsync: a kind that is a number",
            "healthsync: a kind that is not documented, without a time",
        ],
    );
    finds(Fault::DriftRefused, &["healthsync: document.uploaded.drifted"]);
}

#[test]
fn catches_an_endpoint_that_takes_bodies_of_any_length() {
    finds(Fault::Unlimited, &["healthsync: a forged delivery with a body over the limit, and no end"]);
    // A limit that is another than the one told is none.
    let served = faulty::healthsync(SECRET, None);
    let findings = Findings::of(&served, "healthsync", &["--body-limit", "100000"]);
    assert_eq!(findings.with("not_ok"), ["healthsync: a forged delivery with a body over the limit, and no end"]);
}

#[test]
fn catches_an_endpoint_that_handles_before_it_checks() {
    let served = faulty::healthsync(SECRET, Some(Fault::HandledFirst));
    let findings = Findings::of(&served, "healthsync", &[]);
    let caught = findings.with("not_ok");
    assert_eq!(findings.code, Some(1));
    for case in FORGED.iter().chain(&["healthsync: no signature"]) {
        assert!(caught.contains(case), "{case}");
    }
    let found = findings.all.iter().find(|(case, ..)| case == FORGED[0]).expect("it is reported");
    assert_eq!(found.2, "401, handled once");
}

#[test]
fn an_endpoint_that_breaks_cannot_be_told() {
    let served = faulty::healthsync(SECRET, Some(Fault::Breaks));
    let findings = Findings::of(&served, "healthsync", &[]);
    assert_eq!(findings.code, Some(2));
    assert_eq!(findings.with("not_ok"), [""; 0]);
    let broken = [
        "healthsync: the first bit of the body flipped in transit",
        "healthsync: a bit in the middle of the body flipped in transit",
    ];
    assert_eq!(findings.with("unclear"), broken);
}

#[test]
fn after_a_rejected_plain_delivery_nothing_else_is_played() {
    let served = faulty::healthsync("another-secret", None);
    let findings = Findings::of(&served, "healthsync", &[]);
    assert_eq!(findings.code, Some(1));
    assert_eq!(findings.with("not_ok"), ["healthsync: document.uploaded"]);
    assert_eq!(findings.with("skipped"), ["everything else"]);

    // It is also not ok where the delivery is accepted and thrown away.
    let served = Served::start(Arc::new(|request| {
        let is_count = request.uri().path() == "/count";
        Box::pin(async move { if is_count { text(200, "7") } else { status(200) } })
    }));
    let findings = Findings::of(&served, "healthsync", &[]);
    assert_eq!(findings.with("not_ok"), ["healthsync: document.uploaded"]);
}

#[test]
fn everything_it_sends_is_marked_and_new_each_time() {
    for provider in ["fasten", "healthsync"] {
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let seen = bodies.clone();
        let served = Served::start(Arc::new(move |request| {
            let seen = seen.clone();
            Box::pin(async move {
                let id =
                    request.headers().get("webhook-id").map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
                if let Ok(body) = request.into_body().collect().await {
                    seen.lock().unwrap().push((id, body.to_bytes()));
                }
                status(200)
            })
        }));
        let findings = Findings::without_hooks(&served, provider, &[]);
        assert!(findings.all.len() > 100);
        let bodies = bodies.lock().unwrap();
        assert!(bodies.len() > 100);
        for (message, body) in &*bodies {
            let json: Option<serde_json::Value> = serde_json::from_slice(body).ok();
            let id = json.as_ref().and_then(|json| json.pointer("/id"));
            for id in [id.and_then(|id| id.as_str()), message.as_deref()].into_iter().flatten() {
                assert!(id.is_empty() || id.starts_with("medhook-check-"), "{provider}: {id:?}");
            }
            assert!(!id.is_some_and(serde_json::Value::is_number), "{provider}");
        }
    }
}

#[test]
fn both_secrets_and_the_test_mode_are_played_where_they_are_there() {
    let mut fasten = endpoint("fasten");
    let findings = Findings::of(&faulty::sound(&fasten), "fasten", &[]);
    fasten.secrets.insert("old".to_owned(), SECOND.to_owned());
    let served = faulty::sound(&fasten);
    let both = Findings::of(&served, "fasten", &["--secret-env", "SECOND"]);
    assert_eq!(both.code, Some(0), "{:?}", both.with("not_ok"));
    assert!(both.with("ok").len() > findings.with("ok").len());

    let mut fasten = endpoint("fasten");
    fasten.test_secrets.insert("test".to_owned(), SECOND.to_owned());
    let served = faulty::sound(&fasten);
    let both = Findings::of(&served, "fasten", &["--test-secret-env", "SECOND"]);
    assert_eq!(both.code, Some(0), "{:?}", both.with("not_ok"));
    assert!(both.with("ok").len() > findings.with("ok").len());
}

#[test]
fn a_secret_that_no_case_uses_is_rejected() {
    let (one, test) = (["--secret-env", "CANARY"], ["--test-secret-env", "SECOND"]);
    for (more, option) in
        [([one, one, one].concat(), "--secret-env"), ([one, test, test].concat(), "--test-secret-env")]
    {
        let ran = check(&[&["http://127.0.0.1:9/in", "fasten"], more.as_slice()].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
        assert!(ran.stderr.starts_with(&format!("medhook: {option}, ")), "{ran:?}");
        assert!(ran.stderr.contains("more than") && ran.stderr.lines().count() == 1, "{ran:?}");
    }
}

#[test]
fn beyond_this_machine_it_has_to_be_said_whose_it_is() {
    for (url, count) in [
        ("http://medhook.invalid/in", "http://127.0.0.1:9/count"),
        ("http://127.0.0.1:9/in", "http://medhook.invalid/count"),
    ] {
        let ran = check(&[url, "fasten", "--secret-env", "CANARY", "--count-url", count]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{url}");
        assert!(ran.stderr.contains("--i-operate-this-endpoint") && ran.stderr.lines().count() == 1, "{}", ran.stderr);
    }
}

#[test]
fn an_unclear_result_exits_with_2() {
    let (unused, _held) = unused_address();
    let nowhere = format!("http://{unused}/in");
    let ran = check(&[&nowhere, "healthsync", "--secret-env", "CANARY"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stdout.contains("no connection"), "{ran:?}");

    let twice = check(&[&nowhere, "healthsync", "--secret-env", "CANARY", "--secret-env", "CANARY"]);
    assert_eq!(twice.code, Some(2), "{twice:?}");
    assert!(!twice.stderr.contains("cases.toml") && twice.stderr.contains("secret"), "{twice:?}");

    let served = faulty::healthsync(SECRET, None);
    let (url, none) = (served.url("/in"), served.url("/none"));
    let ran = check(&[&url, "healthsync", "--secret-env", "CANARY", "--count-url", &none]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert_eq!(ran.stderr, "medhook: cannot read the number of handled events: the answer is 404\n");
}

#[test]
fn the_last_line_of_json_has_the_verdict_in_snake_case() {
    let (unused, _held) = unused_address();
    let nowhere = format!("http://{unused}/in");
    let served = [faulty::healthsync(SECRET, None), faulty::healthsync(SECRET, Some(Fault::AnyAge))];
    let urls = [served[0].url("/in"), served[1].url("/in"), nowhere];
    for (url, verdict) in urls.iter().zip(["as_expected", "not_as_expected", "cannot_tell"]) {
        let ran = check(&[url, "healthsync", "--json", "--secret-env", "CANARY"]);
        let last: serde_json::Value = serde_json::from_str(ran.stdout.lines().last().expect("a line")).expect("JSON");
        assert_eq!(last["verdict"], verdict, "{ran:?}");
    }
}

#[test]
fn in_a_pipe_there_is_a_line_for_each_case_and_why_it_matters() {
    let served = faulty::healthsync(SECRET, Some(Fault::AnyAge));
    let url = served.url("/in");
    let ran = check(&[&url, "healthsync", "--secret-env", "CANARY"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), ""));
    assert!(ran.stdout.contains("NOT OK   healthsync: happened 7,201 s ago: 200\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("An attacker who captured a delivery could replay it"), "{}", ran.stdout);
    assert!(ran.stdout.contains("ok       healthsync: document.uploaded: 200\n"), "{}", ran.stdout);
    assert!(!ran.stdout.contains('\x1b'), "{}", ran.stdout);
}

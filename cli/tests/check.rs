//! `medhook check`, run as a user runs it: it is believed because it passes sound endpoints and catches each faulty one.

use medhook::testing::{Endpoint, Scheme, Written};
use medhook_tests::faulty::{self, Fault};
use medhook_tests::program::{Ran, run};
use medhook_tests::served::{Served, status};

/// Good base64 of more than 16 bytes, and text.
const SECRET: &str = "Y2FuYXJ5LXRoYXQtbXVzdC1uZXZlci1iZS1zaG93bg";
const SECOND: &str = "c2Vjb25kLWNhbmFyeS1uZXZlci1iZS1zaG93bi11cA";

fn check(arguments: &[&str]) -> Ran {
    let arguments = [&["check"], arguments].concat();
    run(env!("CARGO_BIN_EXE_medhook"), &arguments, &[("CANARY", SECRET), ("SECOND", SECOND)])
}

/// What was found, by judgement.
struct Findings {
    code: Option<i32>,
    all: Vec<(String, String, String)>,
}

impl Findings {
    /// With everything there is to look at.
    fn of(served: &Served, provider: &str, more: &[&str]) -> Self {
        let (count, fail) = (served.url("/count"), served.url("/fail-next"));
        Self::without_hooks(served, provider, &[&["--count-url", &count, "--fail-next-url", &fail], more].concat())
    }

    fn without_hooks(served: &Served, provider: &str, more: &[&str]) -> Self {
        let url = served.url("/in");
        let Ran { code, stdout, stderr } =
            check(&[&[&url, provider, "--json", "--secret-env", "CANARY"], more].concat());
        assert_eq!(stderr, "", "{stdout}");
        let lines = stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        let text = |line: &serde_json::Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let all = lines.map(|line| (text(&line, "case"), text(&line, "judgement"), text(&line, "happened"))).collect();
        Findings { code, all }
    }

    fn judged(&self, judgement: &str) -> Vec<&str> {
        self.all.iter().filter(|(_, judged, _)| judged == judgement).map(|(case, ..)| case.as_str()).collect()
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
        endpoint.scheme = Some(if scheme == "hmac-256" { Scheme::HmacSha256 } else { Scheme::SharedSecret });
        (endpoint, vec!["--header", "X-Own", "--scheme", scheme])
    };
    let mut prefixed = chosen("cair", "hmac-256");
    prefixed.0.prefix = Some("sha256=".to_owned());
    prefixed.0.encoding = Some(Written::Base64);
    prefixed.1.extend(["--prefix", "sha256=", "--encoding", "base64"]);
    let endpoints = [
        (chosen("azodha", "hmac-256"), 100),
        (chosen("azodha", "api-secret"), 10),
        (chosen("cair", "hmac-256"), 100),
        (prefixed, 80),
        (chosen("cair", "api-secret"), 8),
        (plain("fasten"), 130),
        (plain("healthsync"), 100),
        (plain("mediquo"), 80),
    ];
    for ((endpoint, arguments), at_least) in endpoints {
        let served = faulty::sound(&endpoint);
        let provider = endpoint.provider.as_str();
        let findings = Findings::of(&served, provider, &[&["--strict"], &*arguments].concat());
        let wrong: Vec<_> =
            findings.all.iter().filter(|(_, judged, _)| !["ok", "skipped"].contains(&&**judged)).collect();
        assert_eq!(findings.code, Some(0), "{provider} {arguments:?}: {wrong:#?}");
        let ok = findings.judged("ok").len();
        assert!(ok >= at_least, "{provider} {arguments:?}: {ok} played");
    }
}

#[test]
fn see() {
    for fault in [
        None,
        Some(Fault::Unchecked),
        Some(Fault::AnySignature),
        Some(Fault::WrittenAgain),
        Some(Fault::BeginningCompared),
        Some(Fault::AnyAge),
        Some(Fault::RememberedFirst),
        Some(Fault::AskedThenRemembered),
        Some(Fault::DuplicateRefused),
        Some(Fault::NothingRemembered),
        Some(Fault::KindFromHeader),
        Some(Fault::UnknownRefused),
        Some(Fault::DriftRefused),
        Some(Fault::Unlimited),
        Some(Fault::HandledFirst),
        Some(Fault::Breaks),
    ] {
        let served = faulty::healthsync(SECRET, fault);
        let findings = Findings::of(&served, "healthsync", &[]);
        println!("=== {fault:?} {:?} ok {}", findings.code, findings.judged("ok").len());
        for (case, judged, happened) in &findings.all {
            if judged != "ok" && judged != "skipped" && !judged.is_empty() {
                println!("   {judged}: {case}: {happened}");
            }
        }
    }
    let _ = status(200);
}

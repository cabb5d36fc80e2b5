//! Mistakes of secrets, alone and together with one of the body or of what is signed before it.

use super::{NOW, Recording, SECRET, base64, every_entry_is_tested, hex};

const KEY: &[u8] = b"canary-that-must-never-be-shown1";

/// A secret that is text, in letters of both cases.
const TEXT: &str = "Canary/That+Must=Never-Be-Shown";

/// Codes, with the text of a secret and the key that the mistake makes of it.
fn keys() -> Vec<(&'static str, String, Vec<u8>)> {
    let text = |code, secret: &str, key: &str| (code, secret.to_owned(), key.as_bytes().to_vec());
    vec![
        ("secret_read_as_base64", SECRET.to_owned(), KEY.to_vec()),
        text("secret_read_as_base64", &base64(TEXT.as_bytes()), TEXT),
        text("secret_read_without_whsec", SECRET, &SECRET[6..]),
        text("secret_read_with_whsec", TEXT, &format!("whsec_{TEXT}")),
        ("secret_read_as_base64url", "_-_-_-_-_-_-_-_-".to_owned(), url_bytes()),
        ("secret_read_as_hex", hex(KEY), KEY.to_vec()),
        text("secret_read_encoded_as_base64", TEXT, &base64(TEXT.as_bytes())),
        text("secret_read_with_line_break", TEXT, &format!("{TEXT}\n")),
        text("secret_read_with_crlf", TEXT, &format!("{TEXT}\r\n")),
        text("secret_read_with_space", TEXT, &format!(" {TEXT}")),
        text("secret_read_with_quotes", TEXT, &format!("\"{TEXT}\"")),
        text("secret_read_with_byte_order_mark", TEXT, &format!("\u{feff}{TEXT}")),
        text("signed_without_secret", TEXT, ""),
        text("signed_without_secret", TEXT, "undefined"),
        text("secret_given_in_quotes", &format!("\"{TEXT}\""), TEXT),
        text("secret_given_in_quotes", &format!("\u{201c}{TEXT}\u{201d}"), TEXT),
        text("secret_given_in_quotes", &format!("\\\"{TEXT}\\\","), TEXT),
        text("secret_given_in_brackets", &format!("<{TEXT}>"), TEXT),
        text("secret_given_in_json", &format!("{{\"secret\":\"{TEXT}\"}}"), TEXT),
        text("secret_given_with_separator", &format!("{TEXT};"), TEXT),
        text("secret_given_with_percent_sign", &format!("{TEXT}%"), TEXT),
        text("secret_given_with_comment", &format!("{TEXT} # production"), TEXT),
        text("secret_given_after_word", &format!("Bearer {TEXT}"), TEXT),
        text("secret_given_twice", &TEXT.repeat(2), TEXT),
        text("secret_given_with_surplus_character", &format!("-{TEXT}"), TEXT),
        text("secret_given_with_surplus_character", &format!("{TEXT}\u{e9}"), TEXT),
        text("secret_given_with_space", &format!("{} {}", &TEXT[..9], &TEXT[9..]), TEXT),
        text("secret_given_as_assignment", &format!("set CANARY={TEXT}"), TEXT),
        text("secret_given_as_assignment", &format!("CANARY={TEXT}"), TEXT),
        text("secret_given_as_assignment", &format!("export CANARY=\"{TEXT}\""), TEXT),
        text("secret_given_with_escapes", &format!("{TEXT}\\n"), TEXT),
        text("secret_percent_encoded", &TEXT.replace('/', "%2F").replace('+', "%2B").replace('=', "%3d"), TEXT),
        text("secret_encoded_twice", &base64(base64(TEXT.as_bytes()).as_bytes()), TEXT),
        text("secret_in_other_case", &TEXT.to_uppercase(), &TEXT.to_lowercase()),
    ]
}

/// The bytes of `_-_-_-_-_-_-_-_-` in base64url: the digits 63 and 62 in turn.
fn url_bytes() -> Vec<u8> {
    let digits: [u32; 4] = [63, 62, 63, 62];
    let number = digits.iter().fold(0, |number, digit| number << 6 | digit);
    number.to_be_bytes()[1..].repeat(4)
}

fn signed(secret: &str, key: &[u8], bytes: &[u8]) -> Recording {
    let mut recording = Recording::of("healthsync", "document.uploaded").signed_by(key, bytes);
    recording.given = secret.to_owned();
    recording
}

#[test]
fn every_mistake_of_a_secret_is_found() {
    let body = Recording::of("healthsync", "document.uploaded").body;
    for (code, secret, key) in keys() {
        assert_eq!(signed(&secret, &key, &body).is_explained_by(&[code]), "invalid", "{code}");
    }
    let mut tested: Vec<_> = keys().into_iter().map(|(code, ..)| code).collect();
    // In tests of their own: mistakes of Standard Webhooks, and texts that no environment variable or receiver accepts.
    tested.extend(["secret_read_as_text", "secret_read_as_text_without_whsec"]);
    tested.extend(["secret_given_with_invisible_characters", "secret_given_with_other_lines", "secret_given_in_hex"]);
    every_entry_is_tested(include_str!("../../src/verify/causes/secrets.rs"), &tested);
}

/// Changes what was recorded, and returns it with the code of the change.
type Change = fn(&[u8]) -> (&'static str, Vec<u8>);

#[test]
fn every_mistake_of_a_secret_is_found_together_with_one_of_the_body() {
    let body = Recording::of("healthsync", "document.uploaded").body;
    let changes: [Change; 3] = [
        |body| ("trailing_line_break_added", [body, b"\n"].concat()),
        |body| ("body_in_base64", base64(body).into_bytes()),
        |body| {
            let text = str::from_utf8(body).unwrap();
            ("body_in_event", serde_json::json!({ "headers": {}, "body": text }).to_string().into_bytes())
        },
    ];
    for (code, secret, key) in keys() {
        for change in changes {
            let mut recording = signed(&secret, &key, &body);
            let (change, body) = change(&recording.body);
            recording.body = body;
            recording.is_explained_by(&[code, change]);
        }
    }
}

#[test]
fn every_mistake_of_a_secret_of_standard_webhooks_is_found() {
    let unused = Recording::of("fasten", "webhook.test");
    let of = |given: &str, key: &[u8]| {
        let body = unused.body.clone();
        let mut recording = Recording::of("fasten", "webhook.test").signed_by(key, &body);
        recording.given = given.to_owned();
        recording
    };
    for (code, given, key) in [
        ("secret_read_as_text", SECRET.to_owned(), SECRET.as_bytes()),
        ("secret_read_as_text_without_whsec", SECRET.to_owned(), &SECRET.as_bytes()[6..]),
        ("secret_read_with_whsec", SECRET[6..].to_owned(), SECRET.as_bytes()),
        ("signed_without_secret", SECRET.to_owned(), b""),
        // A receiver cannot use these secrets.
        ("secret_given_in_quotes", format!("'{SECRET}'"), KEY),
        ("secret_given_with_space", format!("{SECRET} "), KEY),
        ("secret_given_with_space", format!("{}\n {}", &SECRET[..12], &SECRET[12..]), KEY),
        ("secret_given_twice", format!("whsec_{SECRET}"), KEY),
        ("secret_given_in_hex", hex(SECRET.as_bytes()), KEY),
        ("secret_given_with_surplus_character", format!("{SECRET}-"), KEY),
        ("secret_given_with_other_lines", format!("# secrets\nCANARY={SECRET}\n"), KEY),
        ("secret_given_as_assignment", format!("export CANARY={SECRET}"), KEY),
        ("secret_encoded_twice", base64(SECRET.as_bytes()), KEY),
        ("secret_encoded_twice", format!("whsec_{}", base64(&SECRET.as_bytes()[6..])), KEY),
        ("secret_given_with_escapes", format!("{SECRET}\\n"), KEY),
        ("secret_percent_encoded", SECRET.replace('_', "%5F"), KEY),
        ("secret_read_as_base64url", "whsec__-_-_-_-_-_-_-_-".to_owned(), &url_bytes()),
    ] {
        assert_eq!(of(&given, key).is_explained_by(&[code]), "invalid", "{code}");
    }
    // Together with a mistake of what is signed before the body.
    let mut recording = Recording::of("fasten", "webhook.test");
    let tag = medhook::sign::mac(SECRET.as_bytes(), &[NOW.as_bytes(), b".", &recording.body]);
    recording.value(|_| format!("v1,{}", base64(&tag)));
    recording.is_explained_by(&["secret_read_as_text", "id_not_signed"]);
}

#[test]
fn an_unusable_secret_without_a_known_mistake_is_a_possible_cause() {
    let mut recording = Recording::of("fasten", "webhook.test");
    recording.given = "not base64 at all!".to_owned();
    recording.has_possible_cause(
        "secret_not_accepted",
        "no receiver starts with this secret: secret CANARY: not base64; a Standard Webhooks secret is base64",
    );
}

#[test]
fn a_reference_that_was_not_replaced_is_a_possible_cause() {
    for (provider, kind) in [("healthsync", "document.uploaded"), ("mediquo", "patient_message_received")] {
        for given in ["${HEALTHSYNC_SECRET}", "$HEALTHSYNC_SECRET", "{{ .Values.secret_value }}", "$(cat canary)"] {
            let mut recording = Recording::of(provider, kind);
            recording.given = given.to_owned();
            recording.has_possible_cause("secret_suspicious", "secret CANARY holds an unexpanded variable");
            let stdout = recording.examine(&[]).stdout;
            assert!(!stdout.contains("no known cause"), "{stdout}");
            assert!(stdout.contains("that were tried"), "{stdout}");
            assert!(provider != "mediquo" || !stdout.contains("body"), "{stdout}");
        }
    }
}

#[test]
fn every_mistake_of_a_shared_secret_is_found() {
    let of = |header: &str, value: &str, given: &str| {
        let mut recording = Recording::of("mediquo", "patient_message_received");
        recording.headers[0] = (header.to_owned(), value.to_owned());
        recording.given = given.to_owned();
        recording
    };
    let name = "x-webhook-signature";
    let basic = format!("Basic {}", base64(format!("user:{TEXT}").as_bytes()));
    let encoded = TEXT.replace('/', "%2F");
    for (codes, header, value, given) in [
        (&["secret_in_other_header"][..], "x-api-key", TEXT, TEXT),
        (&["secret_in_quotes"], name, &format!("\"{TEXT}\""), TEXT),
        (&["secret_after_word"], name, &format!("Bearer {TEXT}"), TEXT),
        (&["secret_joined"], name, &format!("{TEXT}, {TEXT}"), TEXT),
        (&["secret_joined"], name, &format!("{TEXT};"), TEXT),
        (&["secret_in_hex"], name, &hex(TEXT.as_bytes()), TEXT),
        (&["secret_given_with_space"], name, TEXT, &format!("{TEXT} ")),
        (&["secret_in_base64"], name, &base64(TEXT.as_bytes()), TEXT),
        (&["secret_after_user_name"], name, &basic, TEXT),
        (&["secret_in_percent_encoding"], name, &encoded, TEXT),
        (&["secret_in_other_case"], name, &TEXT.replace("Canary", "cANARY"), TEXT),
        (&["secret_given_in_quotes"], name, TEXT, &format!("'{TEXT}'")),
        (&["secret_given_as_assignment"], name, TEXT, &format!("CANARY={TEXT}")),
        (&["secret_encoded_twice"], name, TEXT, &base64(TEXT.as_bytes())),
        (&["secret_given_in_quotes", "secret_after_word"], name, &format!("Bearer {TEXT}"), &format!("'{TEXT}'")),
        (&["secret_in_other_header", "secret_after_word"], "authorization", &format!("Bearer {TEXT}"), TEXT),
    ] {
        let recording = of(header, value, given);
        let signature = if header == name { "invalid" } else { "unchecked" };
        assert_eq!(recording.is_explained_by(codes), signature, "{codes:?}");
    }
    let tag = medhook::sign::mac(TEXT.as_bytes(), &[&of(name, "", TEXT).body]);
    of(name, &hex(&tag), TEXT).is_explained_by(&["hmac_instead_of_secret"]);
}

/// Whether the given secret or the arrived one is damaged is unknown.
#[test]
fn a_shared_secret_that_differs_by_one_character_is_a_possible_cause() {
    for given in [&TEXT[1..], &TEXT[..TEXT.len() - 1], &format!("{TEXT}x")] {
        let mut recording = Recording::of("mediquo", "patient_message_received");
        recording.headers[0].1 = TEXT.to_owned();
        recording.given = given.to_owned();
        assert_eq!(recording.is_explained_by(&[]), "invalid", "{given}");
        if TEXT.starts_with(&given[..8]) {
            recording.has_possible_cause("secret_cut_off", "one of them is truncated");
            assert!(!recording.examine(&[]).stdout.contains("no known cause"));
        }
    }
}

#[test]
fn a_value_that_a_log_hid_is_a_possible_cause() {
    for value in ["<redacted>", "[FILTERED]", "********", "REDACTED"] {
        for (provider, kind) in [("mediquo", "patient_message_received"), ("healthsync", "document.uploaded")] {
            let mut recording = Recording::of(provider, kind);
            recording.value(|_| value.to_owned());
            recording.has_possible_cause("value_masked", "holds a mask such as `***`");
        }
    }
}

#[test]
fn the_header_that_differs_is_named_if_two_are_required() {
    let mut recording = Recording::of("mediquo", "patient_message_received");
    recording.more = vec!["--also-header", "X-Second", "--also-secret-env", "OTHER"];
    let wrong = recording.header("x-second", "something else");
    wrong.has_possible_cause("one_header_differs", "the header x-second holds none of its secrets; the other");
    let stdout = wrong.examine(&[]).stdout;
    assert!(stdout.contains("not each of the headers x-webhook-signature, x-second holds one"), "{stdout}");
    assert!(stdout.contains("comparisons that were tried fits") && !stdout.contains("body"), "{stdout}");
}

//! Mistakes of the body, and of what is signed before it.

use medhook::sign::mac;
use serde_json::json;

use super::{KINDS, NOW, Recording, SECRET, base64, every_entry_is_tested, hex};

const SIGNED: &str = r#"{"b":"Zoë </a> & c","a":1.0,"n":12,"e":[1e3,{}]}"#;

/// Returns a delivery whose signature covers `signed`, but whose recorded body is another.
fn recorded(signed: impl AsRef<[u8]>, body: impl Into<Vec<u8>>) -> Recording {
    let mut recording = Recording::of("healthsync", "document.uploaded").signed_by(SECRET.as_bytes(), signed.as_ref());
    recording.body = body.into();
    recording
}

fn percent(text: &str) -> String {
    let encoded = |byte: u8| match byte {
        b' ' => "+".to_owned(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encoded).collect()
}

/// Reads each byte as a character of Latin-1.
fn latin(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn utf_16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn utf_32(text: &str) -> Vec<u8> {
    ['\u{feff}'].into_iter().chain(text.chars()).flat_map(|c| u32::from(c).to_le_bytes()).collect()
}

fn cases() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let compact = r#"{"a":1,"b":[1,2],"c":{},"d":{"e":"f, :"}}"#;
    let indented = |by: &str| {
        let text = "{\n>\"a\": 1,\n>\"b\": [\n>>1,\n>>2\n>],\n>\"c\": {},\n>\"d\": {\n>>\"e\": \"f, :\"\n>}\n}";
        text.replace('>', by)
    };
    let event =
        |body: serde_json::Value| json!({ "version": "2.0", "headers": { "host": "a" }, "body": body }).to_string();
    let nested = json!({ "log": [{ "request": { "isBase64Encoded": true, "body": base64(SIGNED.as_bytes()) } }] });
    let chunks = format!("a\r\n{}\r\n{:X};x=y\r\n{}\r\n0\r\n\r\n", &SIGNED[..10], SIGNED.len() - 10, &SIGNED[10..]);
    let entities = SIGNED.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    let text = |code, signed: &str, body: &str| (code, signed.as_bytes().to_vec(), body.as_bytes().to_vec());
    vec![
        text("trailing_line_break_added", SIGNED, &format!("{SIGNED}\n")),
        text("trailing_line_break_added", SIGNED, &format!("{SIGNED}\r\n")),
        text("trailing_line_break_lost", &format!("{SIGNED}\n"), SIGNED),
        text("trailing_crlf_lost", &format!("{SIGNED}\r\n"), SIGNED),
        text("surrounding_space_added", "a=b", "\n a=b \0"),
        text("surrounding_space_lost", &format!("\r\n{SIGNED}"), SIGNED),
        text("surrounding_space_lost", &format!("{SIGNED} "), SIGNED),
        text("body_twice", SIGNED, &SIGNED.repeat(2)),
        text("body_twice", SIGNED, &format!("{SIGNED}\n").repeat(2)),
        text("lf_became_crlf", "{\n\"a\":\n1}", "{\r\n\"a\":\r\n1}"),
        text("crlf_became_lf", "{\r\n\"a\":\r\n1}", "{\n\"a\":\n1}"),
        text("byte_order_mark_added", SIGNED, &format!("\u{feff}{SIGNED}")),
        text("byte_order_mark_added", SIGNED, &format!("\u{ef}\u{bb}\u{bf}{SIGNED}")),
        text("byte_order_mark_lost", &format!("\u{feff}{SIGNED}"), SIGNED),
        text("json_was_compact", compact, &indented("   ")),
        text("json_was_spaced", r#"{"a": 1, "b": [1, 2], "c": {}, "d": {"e": "f, :"}}"#, compact),
        text("json_was_spaced_otherwise", r#"{"a": 1,"b": [1,2],"c": {},"d": {"e": "f, :"}}"#, compact),
        text("json_was_spaced_otherwise", r#"{"a":1, "b":[1, 2], "c":{}, "d":{"e":"f, :"}}"#, compact),
        text("json_was_indented_by_2", &indented("  "), compact),
        text("json_was_indented_with_crlf", &indented("  ").replace('\n', "\r\n"), compact),
        text("json_was_indented_by_4", &indented("    "), &indented("\t")),
        text("json_was_indented_otherwise", &indented("\t"), compact),
        text("json_was_indented_otherwise", "{\n  \"a\" : 1\n}", r#"{"a":1}"#),
        text("json_escapes_changed", r#"{"a":"\u003cb\u003e \u0026"}"#, r#"{"a":"<b> &"}"#),
        text("json_escapes_changed", r#"{"a":"\u00F1\uD83D\uDE00 \u002B"}"#, r#"{"a":"ñ😀 +"}"#),
        text("json_escapes_changed", r#"{"a":"\u00f1 <\/b>"}"#, r#"{"a":"ñ </b>"}"#),
        text("json_escapes_changed", "{\"a\":\"ñ </b>\u{2028}\"}", r#"{"a":"\u00F1 <\/b>\u2028"}"#),
        text("json_numbers_changed", SIGNED, &SIGNED.replace("1.0", "1")),
        text("json_numbers_changed", r#"{"a":1e3,"b":"1.0"}"#, r#"{"a":1E3,"b":"1.0"}"#),
        text("json_numbers_changed", "[1e-05,12345678901234567000]", "[1e-5,12345678901234567000]"),
        text("json_numbers_changed", "[12.50]", "[12.5]"),
        text("json_numbers_changed", "[12345678901234567000]", "[12345678901234567891]"),
        text("json_numbers_changed", "[-0]", "[0]"),
        text("json_numbers_in_quotes", r#"{"a":1,"b":"c"}"#, r#"{"a":"1","b":"c"}"#),
        text("json_numbers_in_quotes", r#"{"a":"12345678901234567891","b":2}"#, r#"{"a":12345678901234567891,"b":2}"#),
        text(
            "json_members_reordered",
            r#"{"a": {"c":1, "d":1.0}, "b":"\u00f1"}"#,
            r#"{"b":"\u00f1", "a": {"d":1.0, "c":1}}"#,
        ),
        text("body_in_base64", SIGNED, &base64(SIGNED.as_bytes())),
        text(
            "body_in_base64",
            SIGNED,
            &format!("{}\n{}\n", &base64(SIGNED.as_bytes())[..20], &base64(SIGNED.as_bytes())[20..]),
        ),
        text("body_in_base64", SIGNED, &format!("\"{}\"", base64(SIGNED.as_bytes()))),
        text("body_in_base64", SIGNED, &format!("data:application/json;base64,{}", base64(SIGNED.as_bytes()))),
        text("body_in_json_string", SIGNED, &json!(SIGNED).to_string()),
        text("body_in_json_string", SIGNED, json!(SIGNED).to_string().trim_matches('"')),
        text("body_in_event", SIGNED, &event(json!(SIGNED))),
        text("body_in_event", SIGNED, &event(json!(base64(SIGNED.as_bytes())))),
        text("body_in_event", SIGNED, &nested.to_string()),
        text("body_in_event", SIGNED, &format!("{{\"id\": 1, \"payload\": {SIGNED}}}")),
        text("body_in_event", SIGNED, &format!("[{SIGNED}]")),
        text("body_in_form", SIGNED, &format!("id=1&payload={}", percent(SIGNED))),
        text("body_in_form", SIGNED, &format!("{}=", percent(SIGNED))),
        text("body_percent_encoded", SIGNED, &percent(SIGNED)),
        text("form_spaces_changed", "a=b%20c&d=%2B", "a=b+c&d=%2B"),
        text("body_in_hex", SIGNED, &hex(SIGNED.as_bytes())),
        text("body_in_hex", SIGNED, &format!("\\x{}\n", hex(SIGNED.as_bytes()))),
        text("body_in_hex", "{\"a\":1}", "<Buffer 7b 22 61 22 3a 31 7d>"),
        text("body_in_byte_list", SIGNED, &json!({ "type": "Buffer", "data": SIGNED.as_bytes() }).to_string()),
        text("body_in_byte_list", SIGNED, &json!(SIGNED.as_bytes()).to_string()),
        text("body_in_hex_escapes", SIGNED, &SIGNED.replace('"', "\\x22").replace('ë', "\\xC3\\xAB")),
        text("body_in_multipart", SIGNED, &format!("--X\r\nname: a\r\n\r\n{SIGNED}\r\n--X--\r\n")),
        text("body_in_markup", SIGNED, &format!("```json\n{SIGNED}\n```\n")),
        text("body_in_markup", SIGNED, &format!("--data-raw '{SIGNED}' \\")),
        text("body_in_markup", "{\n}", "> {\n> }"),
        text("quotation_marks_replaced", r#"{"a":"b"}"#, "{“a”:“b”}"),
        text("quotation_marks_replaced", SIGNED, &format!("\"{}\"", SIGNED.replace('"', "\"\""))),
        text("spaces_replaced", SIGNED, &SIGNED.replace(' ', "\u{a0}")),
        text("spaces_replaced", "{\"a\":\"b+c\"}", "{\"a\":\"b c\"}"),
        text("lines_wrapped", SIGNED, &format!("{}\r\n{}", &SIGNED[..8], &SIGNED[8..])),
        text("chunk_sizes_in_body", SIGNED, &chunks),
        text("chunk_sizes_in_body", SIGNED, &format!("{:x}\r\n{SIGNED}", SIGNED.len())),
        text("head_in_body", SIGNED, &format!("POST / HTTP/1.1\r\nhost: a\r\n\r\n{SIGNED}")),
        text("body_in_quotes", SIGNED, &format!("'{SIGNED}'\n")),
        text("body_in_quotes", "{\"a\":1}", "b'{\"a\":1}'"),
        text("html_entities_in_body", SIGNED, &entities),
        text("html_entities_in_body", SIGNED, &format!("<pre>{entities}</pre>")),
        text(
            "html_entities_in_body",
            SIGNED,
            &SIGNED.replace('ë', "&#235;").replace('&', "&amp;").replace("&amp;#", "&#"),
        ),
        text("utf_8_read_as_latin_1", SIGNED, &latin(SIGNED.as_bytes())),
        text("utf_8_read_as_latin_1", "“café”", "â€œcafÃ©â€\u{9d}"),
        ("latin_1_became_utf_8", b"{\"a\":\"Zo\xeb\"}".to_vec(), "{\"a\":\"Zoë\"}".into()),
        (
            "signed_in_other_charset",
            SIGNED.into(),
            SIGNED.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect(),
        ),
        ("body_in_utf_16", SIGNED.into(), utf_16(SIGNED)),
        ("body_in_utf_16", SIGNED.into(), [b"\xff\xfe".to_vec(), utf_16(SIGNED)].concat()),
        ("body_in_utf_32", SIGNED.into(), utf_32(SIGNED)),
        ("signed_in_utf_16", utf_16(SIGNED), SIGNED.into()),
        text("body_signed_as_json_string", &json!(SIGNED).to_string(), SIGNED),
        text("empty_body_signed", "", SIGNED),
        text("placeholder_signed", "[object Object]", SIGNED),
    ]
}

#[test]
fn every_change_of_a_body_is_found() {
    for (code, signed, body) in cases() {
        assert_eq!(recorded(signed, body).is_explained_by(&[code]), "invalid", "{code}");
    }
    let tested: Vec<_> = cases().into_iter().map(|(code, ..)| code).collect();
    every_entry_is_tested(include_str!("../../src/verify/causes/bodies.rs"), &tested);
}

#[test]
fn two_changes_of_a_body_are_found() {
    let compact = r#"{"b":"ñ","a":1.0,"c":"</b>"}"#;
    let spaced = r#"{"b": "ñ", "a": 1.0, "c": "</b>"}"#;
    let sorted = r#"{"a": 1.0, "b": "ñ", "c": "</b>"}"#;
    let escaped = r#"{"b": "\u00f1", "a": 1.0, "c": "</b>"}"#;
    let event = |body: &str| json!({ "event": { "body": body } }).to_string();
    for (codes, signed, body) in [
        (["json_was_spaced", "json_members_reordered"], sorted, compact.to_owned()),
        (["json_was_spaced", "json_escapes_changed"], escaped, compact.to_owned()),
        (["json_was_spaced", "json_numbers_changed"], spaced, compact.replace("1.0", "1")),
        (["body_in_base64", "trailing_line_break_added"], compact, base64(format!("{compact}\n").as_bytes())),
        (["body_in_event", "json_was_spaced"], spaced, event(compact)),
        (["body_in_event", "trailing_line_break_lost"], "{\"a\":\"ñ\"}\n", event("{\"a\":\"ñ\"}")),
        (["utf_8_read_as_latin_1", "json_was_spaced"], spaced, latin(compact.as_bytes())),
        (["byte_order_mark_added", "lf_became_crlf"], "{\n}", "\u{feff}{\r\n}".to_owned()),
        (["body_in_form", "json_was_spaced"], spaced, format!("payload={}", percent(compact))),
        (["body_in_base64", "body_in_base64"], compact, base64(base64(compact.as_bytes()).as_bytes())),
    ] {
        recorded(signed, body).is_explained_by(&codes);
    }
}

#[test]
fn several_changes_by_one_serializer_are_found() {
    let python = r#"{"b": "\u00f1", "a": 1.0, "c": 2}"#;
    let changes = ["json_was_spaced", "json_escapes_changed", "json_numbers_changed"];
    recorded(python, r#"{"b":"ñ","a":1,"c":2}"#).is_explained_by(&changes);
    let sorted = r#"{"a": 1.0, "b": "\u00f1", "c": 2}"#;
    let changes = ["json_was_spaced", "json_escapes_changed", "json_members_reordered"];
    recorded(sorted, r#"{"b":"ñ","a":1.0,"c":2}"#).is_explained_by(&changes);
    let mut decoded =
        recorded("", r#"{"b":"ñ","a":1.0,"c":2}"#).signed_by(b"canary-that-must-never-be-shown1", python.as_bytes());
    decoded.body = r#"{"b":"ñ","a":1.0,"c":2}"#.into();
    decoded.is_explained_by(&["json_was_spaced", "json_escapes_changed", "secret_read_as_base64"]);
}

#[test]
fn damage_that_cannot_be_undone_is_a_possible_cause() {
    let cut = recorded(SIGNED, &SIGNED.as_bytes()[..SIGNED.len() - 3]);
    cut.has_possible_cause("truncated_json", "JSON without an end");
    let with_length = cut.header("content-length", &SIGNED.len().to_string());
    with_length.has_possible_cause("truncated_body", "it was shortened, or its end is missing");
    recorded(SIGNED, "").has_possible_cause("empty_body", "the recorded body is empty");
    recorded(SIGNED, SIGNED.replace('ë', "\u{fffd}")).has_possible_cause("replacement_character", "U+FFFD");
    let rounded = recorded("{\"id\":12345678901234567891}", "{\"id\":12345678901234567000}");
    rounded.has_possible_cause("number_rounded", "may have rounded it");
    for body in ["{\"id\":1.2345678901234567e+19}", "{\"id\":1e20}"] {
        recorded(SIGNED, body).has_possible_cause("number_rounded", "has an exponent");
    }
    for damaged in ["\\ufffd", "\u{ef}\u{bf}\u{bd}"] {
        recorded(SIGNED, SIGNED.replace('ë', damaged)).has_possible_cause("replacement_character", "U+FFFD");
    }
    let in_character = SIGNED.find('ë').unwrap() + 1;
    recorded(SIGNED, &SIGNED.as_bytes()[..in_character]).has_possible_cause("truncated_json", "JSON without an end");
    recorded(SIGNED, &SIGNED[8..]).has_possible_cause("body_not_as_sent", "its beginning is missing");
    recorded(SIGNED, "{'a': None}").has_possible_cause("body_not_as_sent", "as Python or JavaScript print an object");
    let gzip = "{\"message\":\"H4sIAAAAAAAAA6tWSlSyMtQBAB9pTjkJAAAA\"}";
    recorded(SIGNED, gzip).has_possible_cause("compressed_without_header", "the base64 of data that is compressed");
    let as_text = recorded(SIGNED, "\u{1f}\u{fffd}\u{8}\0").header("content-encoding", "gzip");
    as_text.has_possible_cause("compressed_body", "the body is compressed");
    assert!(!as_text.examine(&[]).stdout.contains("decompressed after"));
    let binary = recorded(SIGNED, b"\xff\x01\x02".to_vec()).header("content-encoding", "br");
    binary.has_possible_cause("compressed_body", "the body is compressed");
}

/// Returns a delivery by Standard Webhooks whose signature covers this text.
fn standard(signed: impl Fn(&str) -> String) -> Recording {
    let mut recording = Recording::of("fasten", "webhook.test");
    let signed = signed(str::from_utf8(&recording.body).unwrap());
    let tag = mac(b"canary-that-must-never-be-shown1", &[signed.as_bytes()]);
    recording.value(|_| format!("v1,{}", base64(&tag)));
    recording
}

/// Returns a delivery by Standard Webhooks that is signed correctly, but whose id and time were replaced.
fn with_headers(id: &str, time: &str) -> Recording {
    let mut recording = Recording::of("fasten", "webhook.test");
    recording.headers[0].1 = id.to_owned();
    recording.headers[1].1 = time.to_owned();
    recording
}

#[test]
fn every_mistake_of_what_is_signed_before_the_body_is_found() {
    let svix = Recording::of("fasten", "webhook.test");
    let mut svix_headers = svix;
    svix_headers.headers.iter_mut().for_each(|(name, _)| *name = name.replace("webhook-", "svix-"));
    assert_eq!(svix_headers.is_explained_by(&["svix_id_and_time", "signature_in_other_header"]), "valid");

    let iso = |body: &str| format!("msg_1.{NOW}.{body}");
    let mut rewritten = standard(iso);
    rewritten.headers[1].1 = "2026-01-01T00:00:00Z".to_owned();
    rewritten.is_explained_by(&["time_rewritten", "timestamp_as_rfc_3339"]);

    for (code, recording) in [
        ("id_not_signed", standard(|body| format!("{NOW}.{body}"))),
        ("time_not_signed", standard(|body| format!("msg_1.{body}"))),
        ("id_and_time_swapped", standard(|body| format!("{NOW}.msg_1.{body}"))),
        ("id_or_time_joined", with_headers("msg_1,msg_1", NOW)),
        ("id_or_time_in_quotes", with_headers("'msg_1'", NOW)),
        ("other_separator_signed", standard(|body| format!("msg_1:{NOW}:{body}"))),
        ("other_separator_signed", standard(|body| format!("msg_1{NOW}{body}"))),
        ("only_body_signed", standard(str::to_owned)),
    ] {
        assert_eq!(recording.is_explained_by(&[code]), "invalid");
        let mut longer = recording;
        longer.body.push(b'\n');
        longer.is_explained_by(&[code, "trailing_line_break_added"]);
    }
    with_headers("msg_1, msg_2", NOW).is_explained_by(&["id_or_time_joined", "malformed_id"]);
    let joined = format!("{NOW}, {NOW}");
    with_headers("msg_1", &joined).is_explained_by(&["id_or_time_joined", "timestamp_unreadable"]);
    with_headers("msg_1", &format!("\"{NOW}\"")).is_explained_by(&["id_or_time_in_quotes", "timestamp_in_quotes"]);
    with_headers(NOW, "msg_1").is_explained_by(&["id_and_time_in_other_header", "timestamp_unreadable"]);
    let with_time = |before: &str| {
        let recording = Recording::of("healthsync", "document.uploaded");
        let signed = [before.as_bytes(), &recording.body].concat();
        recording.signed_by(SECRET.as_bytes(), &signed)
    };
    with_time(&format!("{NOW}.")).header("x-time", NOW).is_explained_by(&["time_signed"]);
    let standard = with_time(&format!("msg_2.{NOW}.")).header("webhook-id", "msg_2").header("webhook-timestamp", NOW);
    standard.is_explained_by(&["id_and_time_signed"]);
    let tested = [
        "svix_id_and_time",
        "time_rewritten",
        "id_not_signed",
        "time_not_signed",
        "id_and_time_swapped",
        "id_and_time_in_other_header",
        "id_or_time_joined",
        "id_or_time_in_quotes",
        "other_separator_signed",
        "only_body_signed",
        "time_signed",
        "id_and_time_signed",
    ];
    every_entry_is_tested(include_str!("../../src/verify/causes/messages.rs"), &tested);
}

#[test]
fn a_body_that_was_serialized_again_is_found() {
    for (provider, kind) in KINDS.into_iter().filter(|(provider, _)| *provider != "mediquo") {
        let recording = || Recording::of(provider, kind);
        let key = if provider == "fasten" { b"canary-that-must-never-be-shown1".to_vec() } else { SECRET.into() };
        let signed = recording().body;
        let pretty =
            serde_json::to_string_pretty(&serde_json::from_slice::<serde_json::Value>(&signed).unwrap()).unwrap();

        let mut spaced = recording().signed_by(&key, &signed);
        spaced.body = pretty.clone().into();
        if serde_json::from_slice::<serde_json::Value>(&signed).unwrap().to_string().as_bytes() == signed {
            spaced.has_cause("json_was_compact", "the signed JSON had no whitespace");
        }
        let mut compact = recording().signed_by(&key, pretty.as_bytes());
        compact.body = serde_json::from_str::<serde_json::Value>(&pretty).unwrap().to_string().into();
        compact.has_cause("json_was_indented_by_2", "the signed JSON was indented by 2");

        let mut longer = recording();
        longer.body.push(b'\n');
        longer.has_cause("trailing_line_break_added", "the body's last line break was not signed");
        let mut shorter = recording().signed_by(&key, &[&*signed, b"\r\n"].concat());
        shorter.body.clone_from(&signed);
        shorter.has_cause("trailing_crlf_lost", "a line break (CR LF) at the end of the body was signed");
    }
}

#[test]
fn changed_escapes_and_order_are_found() {
    let mut recording = Recording::of("healthsync", "document.uploaded");
    recording.body = r#"{"type":"a","id":"\u00f1","created_at":"2026-01-01T00:00:00Z"}"#.into();
    let signed = r#"{"type":"a","id":"ñ","created_at":"2026-01-01T00:00:00Z"}"#;
    recording
        .signed_by(SECRET.as_bytes(), signed.as_bytes())
        .has_cause("json_escapes_changed", "the signed JSON had different escapes");

    let mut recording = Recording::of("healthsync", "document.uploaded");
    recording.body = br#"{"b":1,"a":2}"#.into();
    recording
        .signed_by(SECRET.as_bytes(), br#"{"a":2,"b":1}"#)
        .has_cause("json_members_reordered", "its members in alphabetical order");
}

#[test]
fn two_mistakes_at_once_are_found() {
    let mut recording = Recording::of("healthsync", "document.uploaded");
    let signed = recording.body.clone();
    recording = recording.signed_by(b"canary-that-must-never-be-shown1", &signed);
    recording.body.push(b'\n');
    recording.has_cause("secret_read_as_base64", "was decoded as base64");
    recording.has_cause("trailing_line_break_added", "last line break was not signed");
}

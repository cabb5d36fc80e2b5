//! Mistakes in the keys of a custom provider: one line that names the key and says what to do.

use super::config;
use crate::program::{Folder, OTHER_SECRET, SECRET, ends};

/// Asserts that a config file with this endpoint is a mistake, with these parts in its message.
fn rejected(keys: &str, parts: &[&str]) {
    let output = ends(&Folder::new(), &config(keys), &["--check"]);
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{keys}: {text}");
    assert!(text.contains("medhook.toml: endpoint 1 (/in): "), "{keys}: {text}");
    for part in parts {
        assert!(text.contains(part), "{keys}: no {part:?} in: {text}");
    }
    assert!(![SECRET, OTHER_SECRET, "hunter2"].iter().any(|secret| text.contains(secret)), "{keys}: {text}");
}

/// Asserts that a config file with this endpoint is accepted.
fn accepted(keys: &str) {
    let output = ends(&Folder::new(), &config(keys), &["--check"]);
    assert_eq!(output.status.code(), Some(0), "{keys}: {}", String::from_utf8_lossy(&output.stderr));
}

const STANDARD: &str = "scheme = \"standard-webhooks\"\n";
const BODY: &str = "scheme = \"hmac-sha256\"\nheader = \"x-sig\"\n";
const SHARED: &str = "scheme = \"shared-secret\"\n";
const TIMES: &str = "scheme = \"timestamped-hmac\"\nheader = \"x-sig\"\n";

#[test]
fn an_option_that_does_not_apply_to_the_scheme_is_named() {
    for (scheme, key, value, problem) in [
        (STANDARD, "header", "\"x-sig\"", "does not apply to `scheme = \"standard-webhooks\"`; remove it"),
        (STANDARD, "preset", "\"terra\"", "does not apply to `scheme = \"standard-webhooks\"`"),
        (BODY, "header_prefix", "\"svix-\"", "does not apply to `scheme = \"hmac-sha256\"`"),
        (BODY, "timestamp_of", "\"event\"", "does not apply to `scheme = \"hmac-sha256\"`"),
        (BODY, "username", "\"a\"", "does not apply to `scheme = \"hmac-sha256\"`"),
        (SHARED, "encoding", "\"hex\"", "does not apply to `scheme = \"shared-secret\"`"),
        (SHARED, "secret_encoding", "\"hex\"", "does not apply to `scheme = \"shared-secret\"`"),
        (TIMES, "form", "\"bearer\"", "does not apply to `scheme = \"timestamped-hmac\"`"),
    ] {
        rejected(&format!("{scheme}{key} = {value}"), &[&format!("`{key}`: {problem}")]);
    }
    let output = ends(&Folder::new(), &config("").replace("custom", "whoop"), &["--check"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("`provider`: \"whoop\" is not one of"), "{text}");
    assert!(text.contains("other senders: provider `custom`, see the guide `schemes`"), "{text}");
    assert!(text.contains("init custom --preset whoop"), "{text}");
    let fasten = "scheme = \"hmac-sha256\"\n";
    let output = ends(&Folder::new(), &config(fasten).replace("custom", "fasten"), &["--check"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("`scheme`: does not apply to this `provider`"));
}

#[test]
fn a_mistake_in_a_scheme_says_what_to_set() {
    let digits = "timestamp_header = \"x-at\"\n";
    for (keys, parts) in [
        ("scheme = \"hmac-md5\"".to_owned(), &["`scheme`: \"hmac-md5\" is not one of \"standard-webhooks\", "][..]),
        ("scheme = \"hmac-sha512\"".to_owned(), &["`header`: missing, but required"]),
        (SHARED.to_owned(), &["`header`: missing, but required without `form`"]),
        (format!("{BODY}separator = \", \""), &["`separator`: must be one character"]),
        (format!("{BODY}separator = \"a\""), &["the separator must be a space or a punctuation mark"]),
        (format!("{BODY}prefix = \"{}\"", "a".repeat(65)), &["`prefix`: must be at most 64 bytes"]),
        (BODY.replace("x-sig", "x-sig: hunter2"), &["`header`: must be the name of a header, without a value"]),
        (
            format!("{BODY}encoding = \"base58\""),
            &["`encoding`: \"base58\" is not one of \"hex\", \"base64\", \"base64url\""],
        ),
        (
            format!("{STANDARD}header_prefix = \"svix hunter2\""),
            &["`header_prefix`: must be the beginning of the names"],
        ),
        (
            BODY.replace("hmac-sha256", "ed25519") + "secret_encoding = \"text\"",
            &["`secret_encoding`: must be base64 or hex for a public key"],
        ),
        (
            TIMES.to_owned(),
            &["`timestamp_header`: missing; set it to the header with the timestamp, or set `timestamp_e"],
        ),
        ("scheme = \"timestamped-hmac\"".to_owned(), &["`header`: missing, but required without `preset`"]),
        (format!("{TIMES}{digits}timestamp_element = \"t\""), &["`timestamp_header`: the timestamp is either in"]),
        (
            format!("{TIMES}{digits}signature_element = \"v1\""),
            &["`signature_element`: applies only with `timestamp_el"],
        ),
        (
            format!("{TIMES}timestamp_element = \"t\""),
            &["`signature_element`: missing; set it to the name of the elem"],
        ),
        (
            format!("{TIMES}timestamp_element = \"t\"\nsignature_element = \"v1\"\nprefix = \"v1=\""),
            &["`prefix`: applies only with `timestamp_header`; remove it"],
        ),
        (
            format!("{TIMES}timestamp_element = \"t\"\nsignature_element = \"v1\"\nseparator = \";\""),
            &["`separator`: applies only with", "elements are separated by commas; no other separator is supported"],
        ),
        ("preset = \"oura\"".to_owned(), &["`scheme`: missing; `preset` needs `scheme = \"timestamped-hmac\"`"]),
        (
            "handshake = { type = \"echo\", parameter = \"?c\", token_parameter = \"t\", answer = \"text\",\
             token = { env = \"TEST_OTHER_SECRET\" } }\n"
                .to_owned()
                + BODY,
            &["the parameter of the challenge must be only its name"],
        ),
        (format!("{TIMES}preset = \"terra\""), &["`header`: `preset` sets it; remove one of them"]),
        (
            "scheme = \"timestamped-hmac\"\npreset = \"whoop\"\ntimestamp_of = \"event\"".to_owned(),
            &["`timestamp_of`: `preset` sets it; remove one of them"],
        ),
        (
            "scheme = \"timestamped-hmac\"\npreset = \"nexhealth\"".to_owned(),
            &["`preset`: \"nexhealth\" is not one of"],
        ),
        (TIMES.to_owned() + "timestamp_header = \"x at\"", &["`timestamp_header`: must be the name of a header"]),
        (format!("{TIMES}{digits}id_header = \"x-id\""), &["the template of what is signed must contain `{id}`"]),
        (format!("{TIMES}{digits}id_header = \"x id\""), &["`id_header`: must be the name of a header"]),
        (
            format!("{TIMES}{digits}signed = \"{{body}}\""),
            &["the template of what is signed must contain `{timestamp}`"],
        ),
        (format!("{TIMES}{digits}hash = \"sha-1\""), &["`hash`: \"sha-1\" is not one of \"sha-256\", \"sha-512\""]),
        (format!("{SHARED}form = \"basic\""), &["`username`: missing; set it to the user name"]),
        (format!("{SHARED}header = \"a\"\nform = \"bearer\""), &["`header`: `form = \"bearer\"` uses the header Auth"]),
        (format!("{SHARED}form = \"bearer\"\nusername = \"a\""), &["`username`: applies only with `form = \"basic\"`"]),
        (format!("{SHARED}form = \"digest\""), &["`form`: \"digest\" is not one of \"bearer\", \"basic\""]),
    ] {
        rejected(&keys, parts);
    }
    accepted(&format!("{TIMES}{digits}id_header = \"x-id\"\nsigned = \"{{id}}.{{timestamp}}.{{body}}\""));
}

#[test]
fn max_age_needs_a_time_of_the_event_and_such_a_time_in_a_header_needs_max_age() {
    let age = "max_age = \"48h\"\n";
    let times = format!("{TIMES}timestamp_header = \"x-at\"\n");
    for scheme in [STANDARD, &times] {
        let event = format!("{scheme}timestamp_of = \"event\"\n");
        rejected(&event, &["`max_age`: missing; with `timestamp_of = \"event\"` set it to the longest time"]);
        accepted(&format!("{event}{age}"));
        let attempt =
            &["`max_age`: the signed time is that of the attempt, which must be within 300 s; remove it, or set"];
        rejected(&format!("{scheme}{age}"), attempt);
        accepted(&format!("{scheme}{age}time_pointer = \"/at\""));
    }
    let preset = |name: &str| format!("scheme = \"timestamped-hmac\"\npreset = \"{name}\"\n{age}");
    accepted(&preset("whoop"));
    rejected(&preset("terra"), &["`max_age`: the signed time is that of the attempt"]);
    rejected(&format!("{BODY}{age}"), &["`max_age`: the events have no signed time; remove it, or set `time_pointer`"]);
    accepted(&format!("{BODY}{age}cloud_events = \"structured\""));
    rejected(&format!("{BODY}{age}cloud_events = \"binary-unsigned\""), &["`max_age`: the events have no signed time"]);
}

#[test]
fn the_check_prints_the_warnings_of_the_startup() {
    let warnings = |keys: &str, secret: &str, entry: &str| {
        let config = config(keys).replace("{ env = \"TEST_SECRET\" }", entry);
        let folder = Folder::new();
        folder.file("secret", secret);
        let output = ends(&folder, &config, &["--check"]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stderr).unwrap()
    };
    let file = format!("{{ file = \"{}\" }}", "secret");
    let literal = "{ file = \"secret\", literal = true }";
    let long = "0123456789abcdef";
    assert_eq!(warnings(BODY, long, &file), "");
    let short = warnings(BODY, "0123456789abcde", &file);
    assert!(short.contains("warning: receiver in: secret secret is shorter than 16 bytes"), "{short}");
    let bearer = warnings(BODY, "Bearer 0123456789abcdef", &file);
    assert!(bearer.contains("`secrets[0]`: secret secret begins with `Bearer` or `Basic`"), "{bearer}");
    assert!(!bearer.contains(long), "{bearer}");
    let header = |name: &str| format!("{SHARED}header = \"{name}\"");
    let authorization = warnings(&header("authorization"), long, &file);
    assert!(
        authorization.contains("set `form = \"bearer\"` or `\"basic\"` if the sender sends one"),
        "{authorization}"
    );
    assert_eq!(warnings(&header("x-token"), long, &file), "");
    assert_eq!(warnings(&format!("{SHARED}form = \"bearer\""), long, &file), "");
    assert_eq!(warnings(&header("Authorization"), long, literal), "");
}

#[test]
fn a_key_of_the_endpoint_after_the_handshake_is_named() {
    let secrets = "secrets = [{ env = \"TEST_SECRET\" }]\n";
    let after = |keys: &str, moved: &str| {
        let (before, table) = (config(keys).replace(moved, ""), "[endpoint.handshake]\ntype = \"head\"\n");
        ends(&Folder::new(), &format!("{before}\n{table}{moved}"), &["--check"])
    };
    for (keys, moved, key) in
        [(BODY, secrets, "secrets"), (BODY, "header = \"x-sig\"\n", "header"), (BODY, "path = \"/in\"\n", "path")]
    {
        let output = after(keys, moved);
        let text = String::from_utf8(output.stderr).unwrap();
        let problem = format!("`handshake`: `{key}` is a key of the endpoint; move it before `[endpoint.handshake]`");
        assert!(output.status.code() == Some(2) && text.contains(&problem), "{text}");
    }
    assert_eq!(after(BODY, "").status.code(), Some(0));
    rejected(&format!("{BODY}handshake = [{{ type = \"head\", name = \"a\" }}]"), &["`name` is a key of the endpoint"]);
}

#[test]
fn a_mistake_in_a_handshake_names_its_key() {
    let echo = "type = \"echo\", parameter = \"c\", token_parameter = \"t\", token = { env = \"TEST_OTHER_SECRET\" }";
    let text = "answer = \"text\"";
    let unset = echo.replace("OTHER", "UNSET");
    for (handshake, parts) in [
        ("\"head\"".to_owned(), &["`handshake`: must be a table such as { type = \"head\" }, or a list of them"][..]),
        ("{ type = \"get\" }".to_owned(), &["`handshake`: `type`: \"get\" is not one of \"ping-pong\", \"echo\", "]),
        ("{}".to_owned(), &["`handshake`: `type`: missing"]),
        ("{ kind = \"head\" }".to_owned(), &["`handshake`: unknown key `kind`"]),
        ("{ type = \"head\", value = \"a\" }".to_owned(), &["`handshake`: `value`: does not apply to this `type`"]),
        ("[{ type = \"ping-pong\" }]".to_owned(), &["`handshake[0]`: `ping_pointer`: missing"]),
        (
            "{ type = \"ping-pong\", ping_pointer = \"ping\", pong_key = \"pong\" }".to_owned(),
            &["`ping_pointer`: must be a JSON pointer"],
        ),
        ("{ type = \"ping-pong\", ping_pointer = \"/ping\" }".to_owned(), &["`handshake`: `pong_key`: missing"]),
        (format!("{{ {echo} }}"), &["`handshake`: `answer`: missing"]),
        (format!("{{ {echo}, answer = \"json\" }}"), &["`handshake`: `answer_key`: missing, but required with"]),
        (format!("{{ {echo}, {text}, answer_key = \"a\" }}"), &["`answer_key`: applies only with `answer = \"json\"`"]),
        (
            format!("{{ {echo}, {text}, token_header = \"a\" }}"),
            &["`token_header`: the token has one place; remove it"],
        ),
        (
            format!("{{ {echo}, {text} }}").replace("token_parameter = \"t\", ", ""),
            &["`token_parameter`: missing; set it or `token_header`"],
        ),
        (
            format!("{{ {unset}, {text} }}"),
            &["`handshake`: `token`: `env`: the environment variable TEST_UNSET_SECRET"],
        ),
        (
            format!("{{ {}, {text} }}", echo.replace("env = \"TEST_OTHER_SECRET\"", "")),
            &["`handshake`: `token`: must have either `env` or `file`"],
        ),
        (
            format!("{{ {}, {text} }}", echo.replace("{ env = \"TEST_OTHER_SECRET\" }", "\"hunter2\"")),
            &["`handshake`: `token`: must be a list of tables"],
        ),
        (
            format!("{{ {}, {text} }}", echo.replace("OTHER_", "")),
            &["`handshake`: `token`: the same secret as medhook.toml: endpoint 1 (/in): `secrets[0]`"],
        ),
        (format!("[{{ {echo}, {text} }}, {{ {echo}, {text} }}]"), &["`handshake`: two handshakes answer GET requests"]),
        (
            format!("[{{ {echo}, {text} }}, {{ type = \"hmac\", parameter = \"a\", answer_key = \"b\" }}]"),
            &["two handshakes answer the same requests; keep one of them"],
        ),
        ("{ type = \"hmac\", answer_key = \"b\" }".to_owned(), &["`handshake`: `parameter`: missing"]),
        ("{ type = \"hmac\", parameter = \"b\" }".to_owned(), &["`handshake`: `answer_key`: missing"]),
        ("{ type = \"unsigned-ping\", value = \"PING\" }".to_owned(), &["`handshake`: `header`: missing"]),
        (
            "{ type = \"unsigned-ping\", header = \"x a\" }".to_owned(),
            &["`handshake`: `header`: must be the name of a"],
        ),
        ("{ type = \"unsigned-ping\", header = \"x-a\" }".to_owned(), &["`handshake`: `value`: missing"]),
    ] {
        rejected(&format!("{BODY}handshake = {handshake}"), parts);
    }
    accepted(&format!("{BODY}handshake = [{{ {echo}, {text} }}, {{ type = \"head\" }}]"));
}

#[test]
fn a_secret_that_signs_challenges_is_not_shared() {
    let hmac = "handshake = { type = \"hmac\", parameter = \"a\", answer_key = \"b\" }\n";
    accepted(&format!("{BODY}{hmac}"));
    rejected(
        &format!("{BODY}{hmac}reuse_secret = true"),
        &["`reuse_secret`: a handshake of type \"hmac\" signs what any client sends", "remove `reuse_secret`"],
    );
    // Redox sends one token in the handshake and in deliveries.
    let echo = "handshake = { type = \"echo\", parameter = \"challenge\", token_parameter = \"verification-token\", \
                token = { env = \"TEST_SECRET\" }, answer = \"text\" }\nreuse_secret = true";
    accepted(&format!("scheme = \"shared-secret\"\nheader = \"verification-token\"\n{echo}"));
}

#[test]
fn a_part_of_an_event_is_read_from_one_place() {
    let structured = "cloud_events = \"structured\"\n";
    for (keys, parts) in [
        (
            "cloud_events = \"batch\"".to_owned(),
            &["`cloud_events`: \"batch\" is not one of \"structured\", \"binary-"][..],
        ),
        (format!("{structured}id_pointer = \"/id\""), &["`id_pointer`: `cloud_events` reads this part of an event"]),
        (format!("{structured}unsigned_kind_header = \"a\""), &["`unsigned_kind_header`: `cloud_events` reads this"]),
        ("unsigned_id_header = \"x id\"".to_owned(), &["`unsigned_id_header`: must be the name of a header"]),
    ] {
        rejected(&format!("{BODY}{keys}"), parts);
    }
    accepted(&format!("{BODY}cloud_events = \"binary-unsigned\"\ntime_pointer = \"/at\""));
}

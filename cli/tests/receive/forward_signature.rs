//! The code in docs/receive-forwarding.md with which applications verify forwarded events, in Python and JavaScript.
//!
//! `.ci/run` requires Python. Otherwise, as in a minimal Debian, code whose program is not installed is skipped.

use std::process::{Command, Stdio};

use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use crate::application::Application;
use crate::program::{Folder, Instance, OTHER_SECRET, THIRD_SECRET};
use crate::sender::{ENDPOINT, Sender, delivery};

/// Returns the first block of code in this language.
fn documented(language: &str) -> &'static str {
    let text = include_str!("../../../docs/receive-forwarding.md");
    let (_, rest) = text.split_once(&format!("```{language}\n")).expect("a block of code");
    rest.split_once("```").expect("its end").0
}

/// Calls the code for each request of a JSON file. Prints `true` or `false` for each.
const PYTHON: &str = r#"
import json, sys
for secret, headers, body in json.load(open("requests.json")):
    try:
        print(json.dumps(bool(verified(secret, headers, body.encode()))))
    except ValueError:
        print("false")
"#;

const NODE: &str = r#"
import { readFileSync } from "node:fs";
for (const [secret, pairs, body] of JSON.parse(readFileSync("requests.json"))) {
  const headers = {}; // as node:http does
  for (const [name, value] of pairs) headers[name] = name in headers ? `${headers[name]}, ${value}` : value;
  console.log(isGenuine(secret, headers, Buffer.from(body)));
}
"#;

/// Runs a program in the folder. Returns its lines.
fn run(folder: &Folder, program: &str, file: &str) -> Vec<String> {
    let output = Command::new(program).arg(file).current_dir(folder.path()).stderr(Stdio::inherit()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_code_accepts_a_forwarded_event_and_nothing_that_differs_from_it() {
    let application = Application::answering(200).await;
    let folder = Folder::new();
    let config = format!(
        "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"memory\"\n{ENDPOINT}forward = \"{}\"\n\
         forward_secret = {{ env = \"TEST_THIRD_SECRET\" }}\n",
        application.url()
    );
    let instance = Instance::start(&folder, &config, &[]);
    assert_eq!(Sender::new().send(instance.address, &delivery("evt-1")).await, Ok(200));
    let got = application.calls().remove(0).request;

    let mut cases: Vec<(&str, bool, Value)> = Vec::new();
    let body = str::from_utf8(got.body()).unwrap();
    let mut case = |name, genuine, secret: &str, change: &dyn Fn(&mut HeaderMap), body: &str| {
        let mut headers = got.headers().clone();
        change(&mut headers);
        let pairs: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().to_owned()))
            .collect();
        cases.push((name, genuine, json!([secret, pairs, body])));
    };
    let value = HeaderValue::from_static;
    case("as received", true, THIRD_SECRET, &|_| {}, body);
    case("with the prefix", true, &format!("whsec_{THIRD_SECRET}"), &|_| {}, body);
    case("header of a proxy", true, THIRD_SECRET, &|headers| _ = headers.insert("x-request-id", value("1")), body);
    case("another secret", false, OTHER_SECRET, &|_| {}, body);
    case("another body", false, THIRD_SECRET, &|_| {}, &format!("{body} "));
    case("changed", false, THIRD_SECRET, &|headers| _ = headers.insert("medhook-kind", value("a")), body);
    case("added", false, THIRD_SECRET, &|headers| _ = headers.insert("medhook-replay", value("true")), body);
    case("removed", false, THIRD_SECRET, &|headers| _ = headers.remove("medhook-kind"), body);
    case("repeated", false, THIRD_SECRET, &|headers| _ = headers.append("medhook-kind", value("a")), body);
    case("not signed", false, THIRD_SECRET, &|headers| _ = headers.remove("medhook-signature"), body);
    case("another time", false, THIRD_SECRET, &|headers| _ = headers.insert("webhook-timestamp", value("1")), body);
    let requests: Vec<_> = cases.iter().map(|(.., request)| request).collect();
    folder.file("requests.json", &serde_json::to_string(&requests).unwrap());

    folder.file("verify.py", &format!("{}{PYTHON}", documented("python")));
    folder.file("verify.mjs", &format!("{}{NODE}", documented("js")));
    for (program, file) in [("python3", "verify.py"), ("node", "verify.mjs")] {
        if !Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success()) {
            let is_required = program == "python3" && std::env::var_os("MEDHOOK_TEST_PYTHON").is_some();
            assert!(!is_required, "{program} is not installed");
            println!("SKIPPED: {program} is not installed");
            continue;
        }
        let lines = run(&folder, program, file);
        assert_eq!(lines.len(), cases.len(), "{program}: {lines:?}");
        for (line, (name, genuine, _)) in lines.iter().zip(&cases) {
            assert_eq!(*line, genuine.to_string(), "{program}: {name}");
        }
    }
}

//! Secrets, certificates and the token of the page, which are replaced while the receiver runs.

use std::os::unix::fs::PermissionsExt;

use super::events::{Handling, event, status, until};
use super::stage::{Stage, Which};
use crate::metrics::{operations, scrape};
use crate::program::{OTHER_SECRET, SECRET};
use crate::sender::Sender;

pub(super) const PROVIDER: [&str; 2] = ["secret-add", "secret-replace"];
pub(super) const CERTIFICATE: [&str; 2] = ["certificate", "certificate-served"];
pub(super) const TOKEN: [&str; 1] = ["token"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_secret_of_a_provider_is_replaced() {
    let handling = Handling::start(200).await;
    let Some(mut stage) = Stage::new(Which::Sqlite, &PROVIDER, handling.application.url()).await else { return };
    stage.start();
    let (sender, address) = (Sender::new(), stage.instance().address);
    let status = async |number: usize, secret: &str| status(&sender, address, &event(number, secret)).await;
    assert_eq!((status(1, SECRET).await, status(2, OTHER_SECRET).await), (200, 401));
    let ran = stage.run_with("secret-add", OTHER_SECRET);
    assert_eq!(ran.code, 0, "{ran:?}");
    stage.instance().signal("-HUP");
    until("the new secret is accepted", async || status(2, OTHER_SECRET).await == 200).await;
    assert_eq!(status(3, SECRET).await, 200, "the old one is accepted meanwhile");
    stage.succeeds("secret-replace");
    stage.instance().signal("-HUP");
    until("the old secret is rejected", async || status(4, SECRET).await == 401).await;
    assert_eq!(status(5, OTHER_SECRET).await, 200);
    let mode = stage.path("secrets/mediquo").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    stage.stop();
}

/// Writes a certificate that expires in this many days, and its key.
fn issue(stage: &Stage, folder: &str, days: i64) {
    let mut params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.not_after = params.not_before;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let until = jiff_date(i64::try_from(now).unwrap() + days * 24 * 3600);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    stage.folder.file(&format!("{folder}/fullchain.pem"), &certificate.pem());
    stage.folder.file(&format!("{folder}/privkey.pem"), &key.serialize_pem());
}

/// Returns the year, the month and the day of a Unix time.
fn jiff_date(seconds: i64) -> (i32, u8, u8) {
    let output = std::process::Command::new("date").args(["-u", "-d", &format!("@{seconds}"), "+%Y %-m %-d"]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let parts: Vec<i32> = text.split_whitespace().map(|part| part.parse().unwrap()).collect();
    (parts[0], u8::try_from(parts[1]).unwrap(), u8::try_from(parts[2]).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_served_and_the_check_notices_other_ones() {
    let handling = Handling::start(200).await;
    let Some(mut stage) = Stage::new(Which::Sqlite, &CERTIFICATE, handling.application.url()).await else { return };
    issue(&stage, "secrets", 100);
    let secrets = stage.path("secrets").display().to_string();
    stage.top = format!("tls = {{ cert = \"{secrets}/fullchain.pem\", key = \"{secrets}/privkey.pem\" }}");
    assert_ne!(stage.run("certificate-served").code, 0, "nothing is served yet");
    stage.start();
    stage.succeeds("certificate-served");
    for (days, code) in [(200, 0), (3, 1)] {
        issue(&stage, "new", days);
        let before = stage.read("secrets/fullchain.pem");
        stage.succeeds("certificate");
        assert_ne!(stage.read("secrets/fullchain.pem"), before);
        stage.instance().signal("-HUP");
        // Until it is in use, the served certificate is not that of the file.
        let new = "test \"$(openssl s_client -connect \"$public\" < /dev/null 2> /dev/null |
            openssl x509 -noout -serial)\" = \"$(openssl x509 -in new/fullchain.pem -noout -serial)\"";
        until("the new certificate is served", async || stage.shell(new, "").code == 0).await;
        let ran = stage.run("certificate-served");
        assert_eq!(ran.code, code, "{days} days: {ran:?}");
    }
    // A certificate without its key is not used, and the check fails although it is valid for long.
    issue(&stage, "new", 300);
    std::fs::copy(stage.path("new/fullchain.pem"), stage.path("secrets/fullchain.pem")).unwrap();
    let ran = stage.run("certificate-served");
    assert!(ran.code == 1 && !ran.out.contains("will expire"), "{ran:?}");
    stage.instance().signal("-HUP");
    let metrics = async |line: &str| scrape(operations(stage.instance())).lines().any(|served| served == line);
    until("the metric counts it", async || metrics("medhook_reload_failing 1").await).await;
    stage.succeeds("certificate");
    stage.instance().signal("-HUP");
    until("it is corrected", async || metrics("medhook_reload_failing 0").await).await;
    stage.stop();
}

/// Logs in with the token of a file, and prints the status of the answer.
const LOGIN: &str = "curl -sS -o /dev/null -w '%{http_code}' -c cookies --data-urlencode \"token=$(cat \"$file\")\" \
                     --data next=/ \"$operations/login\"";
const PAGE: &str = "curl -sS -o /dev/null -w '%{http_code}' -b cookies \"$operations/\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_the_page_is_replaced_and_ends_the_sessions() {
    let handling = Handling::start(200).await;
    let Some(mut stage) = Stage::new(Which::Sqlite, &TOKEN, handling.application.url()).await else { return };
    stage.start();
    std::fs::copy(stage.path("secrets/page-token"), stage.path("old-token")).unwrap();
    let login = |stage: &Stage, file: &str| stage.shell(&format!("file={file}; {LOGIN}"), "").out;
    assert_eq!(login(&stage, "old-token"), "303");
    assert_eq!(stage.shell(PAGE, "").out, "200");
    stage.succeeds("token");
    let new = stage.read("secrets/page-token");
    assert!(new.len() == 45 && new != stage.read("old-token"), "32 bytes in base64");
    stage.instance().signal("-HUP");
    until("the session ends", async || stage.shell(PAGE, "").out == "303").await;
    let status = login(&stage, "old-token");
    assert!(status == "401" || status == "403", "{status}");
    assert_eq!(login(&stage, "\"$secrets/page-token\""), "303");
    assert_eq!(stage.shell(PAGE, "").out, "200");
    stage.stop();
}

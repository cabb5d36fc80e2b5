//! The lines that `medhook receive` writes about an endpoint without genuine deliveries.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use medhook::{Bytes, MemoryStore, Received, RequestHead, testing};
use tokio::time::sleep;

use super::config::{Config, Overrides};
use super::printer::Printer;
use super::system::warnings_to;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// An output whose content can be read.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the lines so far, without their times. Blocks its thread, because paused time advances while a task waits.
fn lines(log: &Printer, output: &Output) -> Vec<String> {
    assert!(log.try_write("end\n".to_owned()));
    while !output.0.lock().unwrap().ends_with(b"end\n") {
        std::thread::sleep(Duration::from_millis(1));
    }
    let text = String::from_utf8(std::mem::take(&mut *output.0.lock().unwrap())).unwrap();
    let lines = text.lines().filter(|line| *line != "end");
    lines.map(|line| line.split_once(' ').unwrap().1.trim_start().to_owned()).collect()
}

/// The endpoint of a config file, with the log of the program, but without its server, so that time can be paused.
#[tokio::test(start_paused = true)]
async fn a_silence_is_logged_when_it_begins_each_time_it_is_repeated_and_when_it_ends() {
    let output = Output::default();
    let log = Printer::to("test output", output.clone()).unwrap();
    // `tracing` caches for the whole process whether a line is wanted; this subscriber wants every line.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
    let _logging = tracing::subscriber::set_default(warnings_to(log.clone()));
    super::metrics::record_none();
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "a-secret-of-some-length").unwrap();
    let config = format!(
        "[[endpoint]]\npath = \"/lab\"\nprovider = \"custom\"\nscheme = \"hmac-sha256\"\nheader = \"x-signature\"\n\
         id_pointer = \"/id\"\nexpect_every = \"24h\"\nsecrets = [{{ file = {secret:?} }}]\n"
    );
    let config = Config::read("medhook.toml", config.as_bytes(), Overrides::default()).unwrap();
    let endpoint = config.endpoints.into_iter().next().unwrap().ready(Arc::new(MemoryStore::new(10)), None).unwrap();
    assert!(endpoint.to_string().ends_with(", expects a delivery every 24h"), "{endpoint}");
    let scheme = medhook::HmacSha256Body::new("x-signature");
    let sample = testing::custom(scheme, r#"{"id":"canary"}"#).secret("a-secret-of-some-length");
    let genuine = sample.request("/lab");
    let mut forged = genuine.clone();
    *forged.body_mut() = Bytes::from_static(br#"{"id":"forged"}"#);
    let send = async |request: &http::Request<Bytes>| {
        let body = futures_util::stream::iter([Ok::<_, io::Error>(request.body().clone())]);
        let received = endpoint.receiver.receive(&RequestHead::new("POST", "/lab", request.headers()), body).await;
        let Ok(Received::Delivery(delivery)) = received else { return false };
        endpoint.receiver.admit(delivery).unwrap().run(async { 200 }, |status| *status == 200).await.is_ok()
    };

    sleep(DAY + Duration::from_millis(1)).await;
    let silent = "WARN medhook::silence: no genuine webhook delivery for 24h (none since the start; none rejected \
                  since); requests may not reach this receiver: check at the provider whether the webhook is enabled and \
                  what was sent, then DNS, the TLS certificate and the proxy of its URL endpoint=\"lab\" provider=\"lab\" \
                  silent_seconds=86400 rejected=0";
    assert_eq!(lines(&log, &output), [silent]);

    for _ in 0..3 {
        assert!(!send(&forged).await);
    }
    assert_eq!(lines(&log, &output).len(), 1, "the line about rejections");
    sleep(DAY).await;
    let [counted, repeated] = &lines(&log, &output)[..] else { panic!("two lines") };
    let begin = "WARN medhook::rejections: webhook deliveries rejected; if the provider sent them";
    assert!(counted.starts_with(begin), "{counted}");
    let end = "endpoint=\"lab\" provider=\"lab\" reason=\"signature_mismatch\" count=2";
    assert!(counted.ends_with(end), "{counted}");
    let begin = "WARN medhook::silence: no genuine webhook delivery for 48h (none since the start; 3 rejected since, \
                 mostly signature_mismatch); find out at the provider";
    assert!(repeated.starts_with(begin), "{repeated}");
    let end = "endpoint=\"lab\" provider=\"lab\" silent_seconds=172800 rejected=3 mostly=\"signature_mismatch\"";
    assert!(repeated.ends_with(end), "{repeated}");

    assert!(send(&genuine).await);
    let ended = "INFO medhook::silence: genuine webhook deliveries arrive again after 48h; check what was missed \
                 endpoint=\"lab\" provider=\"lab\" silent_seconds=172800";
    assert_eq!(lines(&log, &output), [ended], "no line at INFO about the delivery itself");
}

//! Custom providers: every key of their schemes, handshakes and events.

mod commands;
mod documented;
mod events;
mod handshakes;
mod mistakes;
mod schemes;

use std::time::{SystemTime, UNIX_EPOCH};

use http::Request;
use medhook::Bytes;
use medhook::testing::Signing;
use medhook_tests::families::PUBLIC;
use serde_json::Value;

use crate::program::{Folder, Instance};

const PATH: &str = "/in";

/// A receiver with one endpoint of a custom provider.
struct Running {
    instance: Instance,
    folder: Folder,
}

/// Returns a config file with this endpoint.
fn config(keys: &str) -> String {
    format!(
        "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"memory\"\n[[endpoint]]\npath = \"{PATH}\"\n\
         provider = \"custom\"\nsecrets = [{{ env = \"TEST_SECRET\" }}]\n{keys}\n"
    )
}

impl Running {
    fn with(keys: &str) -> Self {
        let folder = Folder::new();
        let instance = Instance::start(&folder, &config(keys), &["--json"]);
        Running { instance, folder }
    }

    /// Starts a receiver whose secret is a public key.
    fn with_public_key(keys: &str) -> Self {
        let folder = Folder::new();
        folder.file("public", PUBLIC);
        let config = config(keys).replace("env = \"TEST_SECRET\"", "file = \"public\"");
        let instance = Instance::start(&folder, &config, &["--json"]);
        Running { instance, folder }
    }

    /// Returns the `outcome`, `reason` and `kind` of a line of the report.
    fn outcome(&self, number: usize) -> String {
        let line: Value = serde_json::from_str(&self.instance.lines(number)[number - 1]).unwrap();
        let word = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
        format!("{} {} {}", word("outcome"), word("reason"), word("kind"))
    }
}

/// Returns a delivery that this scheme signs with a time this many milliseconds ago.
fn signed_at(signing: &Signing, secret: &str, millis_ago: u128, body: &str) -> Request<Bytes> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let timestamp = signing.timestamp_text(i64::try_from((now - millis_ago) / 1000).unwrap());
    let headers = signing.headers(secret, "msg_1", &timestamp, body.as_bytes()).unwrap();
    let mut request = Request::post(PATH);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(Bytes::from(body.to_owned())).unwrap()
}

fn signed(signing: &Signing, secret: &str, body: &str) -> Request<Bytes> {
    signed_at(signing, secret, 0, body)
}

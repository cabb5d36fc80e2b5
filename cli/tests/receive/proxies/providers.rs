//! Deliveries of every provider verify behind a proxy.

use std::process::Command;

use super::running::{Proxy, with_each};
use crate::program::{Folder, Instance, with_secrets};

/// A name, its keys, and a documented kind. The header of the last one has underscores, which nginx drops by default.
const ENDPOINTS: [(&str, &str); 6] = [
    ("fasten", ""),
    ("healthsync", ""),
    ("mediquo", ""),
    ("azodha", "scheme = \"hmac-sha256\"\nheader = \"X-Webhook-Signature\"\n"),
    ("cair", "scheme = \"shared-secret\"\nheader = \"X-API-KEY\"\n"),
    (
        "custom",
        "provider_name = \"acme\"\nscheme = \"hmac-sha256\"\nheader = \"X_Acme_Signature\"\nprefix = \"sha256=\"\n",
    ),
];

#[test]
fn deliveries_of_every_provider_verify() {
    let mut config = "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"memory\"\n".to_owned();
    for (provider, keys) in ENDPOINTS {
        config += &format!(
            "[[endpoint]]\npath = \"/webhooks/{provider}\"\nname = \"{provider}\"\nprovider = \"{provider}\"\n\
             reuse_secret = true\nsecrets = [{{ env = \"TEST_SECRET\" }}]\n{keys}"
        );
    }
    with_each(|kind| {
        let folder = Folder::new();
        let instance = Instance::start(&folder, &config, &["--json"]);
        let proxy = Proxy::start(kind, instance.address);
        for (number, (provider, _)) in ENDPOINTS.into_iter().enumerate() {
            let to = format!("https://localhost:{}/webhooks/{provider}", proxy.address.port());
            let mut send = Command::new(env!("CARGO_BIN_EXE_medhook"));
            with_secrets(&mut send, &folder).env("SSL_CERT_FILE", proxy.folder.path().join("cert.pem"));
            send.args(["send", "--config", "medhook.toml", "--endpoint", provider, "--to", &to]);
            let output = send.output().unwrap();
            assert!(output.status.success(), "{kind:?} {provider}: {}", String::from_utf8_lossy(&output.stdout));
            let lines = instance.lines(number + 1);
            let line: serde_json::Value = serde_json::from_str(&lines[number]).unwrap();
            assert_eq!(
                (&line["endpoint"], &line["outcome"]),
                (&provider.into(), &"handled".into()),
                "{kind:?}: {line}"
            );
        }
    });
}

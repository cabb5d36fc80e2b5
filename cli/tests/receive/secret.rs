//! Secrets that `medhook secret new` made.

use std::process::Command;

use crate::program::{Folder, Instance};

#[test]
fn a_new_secret_verifies_deliveries_and_causes_no_warning() {
    for (provider, kind) in [("fasten", "webhook.test"), ("healthsync", "document.uploaded")] {
        let folder = Folder::new();
        let medhook = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_medhook"));
            command.current_dir(folder.path());
            command
        };
        let made = medhook().args(["secret", "new", provider]).output().unwrap();
        assert!(made.status.success() && made.stderr.is_empty(), "{provider}");
        folder.file("new.secret", &String::from_utf8(made.stdout).unwrap());

        let config = format!(
            "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"memory\"\n[[endpoint]]\npath = \"/in\"\n\
             provider = \"{provider}\"\nsecrets = [{{ file = \"new.secret\" }}]\n"
        );
        let instance = Instance::start(&folder, &config, &[]);
        let to = format!("http://{}/in", instance.address);
        let sent = medhook().args(["send", provider, kind, "--to", &to, "--secret-file", "new.secret"]).output();
        assert!(sent.unwrap().status.success(), "{provider}");
        let stderr = instance.stderr();
        assert!(!stderr.iter().any(|line| line.contains("shorter than")), "{stderr:?}");
    }
}

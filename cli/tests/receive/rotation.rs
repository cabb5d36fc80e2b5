//! Secrets that are replaced while the receiver runs, with real files and signals.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::Request;
use medhook::{Bytes, Custom, NoDedupe, Receiver, Secret, StandardWebhooks, testing};

use crate::application::{Application, with_status};
use crate::program::{Folder, Instance, OTHER_SECRET, PATIENCE, SECRET, THIRD_SECRET};
use crate::sender::{ENDPOINT, Sender, now};

/// A mounted secret of Kubernetes: each name is a symlink to `..data/NAME`, and `..data` to the folder of a version.
struct Mount(PathBuf);

impl Mount {
    fn new(folder: &Path, names: &[&str], files: &[(&str, &str)]) -> Self {
        let mount = Mount(folder.join("mount"));
        std::fs::create_dir(&mount.0).unwrap();
        for name in names {
            symlink(format!("..data/{name}"), mount.0.join(name)).unwrap();
        }
        mount.swap("..1", files);
        mount
    }

    /// Swaps all files at once for those of a new version.
    fn swap(&self, version: &str, files: &[(&str, &str)]) {
        std::fs::create_dir(self.0.join(version)).unwrap();
        for (name, content) in files {
            std::fs::write(self.0.join(version).join(name), content).unwrap();
        }
        symlink(version, self.0.join("..data_tmp")).unwrap();
        std::fs::rename(self.0.join("..data_tmp"), self.0.join("..data")).unwrap();
    }
}

fn delivery(secret: &str, id: &str) -> Request<Bytes> {
    testing::healthsync("document.uploaded").secret(secret).at(now()).id(id).request("/rotated")
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns the number of lines of the log with this text.
fn logged(instance: &Instance, text: &str) -> usize {
    instance.stderr().iter().filter(|line| line.contains(text)).count()
}

/// Sends SIGHUP, and waits for the line about it.
async fn hang_up(instance: &Instance) {
    let before = logged(instance, "SIGHUP: ");
    instance.signal("-HUP");
    until("the line about SIGHUP", async || logged(instance, "SIGHUP: ") > before).await;
    // Its lines are written together.
    tokio::time::sleep(Duration::from_millis(50)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_genuine_delivery_is_rejected_while_secrets_rotate() {
    let application = Application::start(|_, _| async { with_status(200) }).await;
    let folder = Folder::new();
    let names = ["current", "previous", "forward"];
    let mount = Mount::new(folder.path(), &names, &[("current", SECRET), ("forward", SECRET)]);
    let config = format!(
        "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"memory\"\n[[endpoint]]\npath = \"/rotated\"\n\
         provider = \"healthsync\"\nforward = \"{}\"\nforward_secret = {{ file = \"mount/forward\" }}\n\
         reuse_secret = true\n\
         secrets = [{{ file = \"mount/current\" }}, {{ file = \"mount/previous\", optional = true }}]\n{}",
        application.url(),
        ENDPOINT.replace("TEST_SECRET", "TEST_THIRD_SECRET")
    );
    let mut instance = Instance::start(&folder, &config, &["--json"]);
    let address = instance.address;

    // The provider: signs with the same secret until it knows that the new one is accepted.
    let signing = Arc::new(Mutex::new(SECRET));
    let (ends, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let provider: Vec<_> = (0..4)
        .map(|_| {
            let (signing, ends, sent) = (signing.clone(), ends.clone(), sent.clone());
            tokio::spawn(async move {
                let sender = Sender::new();
                while !ends.load(Ordering::SeqCst) {
                    let (secret, id) = (*signing.lock().unwrap(), sent.fetch_add(1, Ordering::SeqCst));
                    assert_eq!(sender.send(address, &delivery(secret, &format!("e{id}"))).await, Ok(200), "{id}");
                }
            })
        })
        .collect();
    let probes = AtomicU64::new(0);
    let sender = Sender::new();
    let accepts = async |secret: &str| {
        let probe = probes.fetch_add(1, Ordering::SeqCst);
        let status = sender.send(address, &delivery(secret, &format!("p{probe}"))).await.unwrap();
        assert!([200, 401].contains(&status), "{status}");
        status == 200
    };
    // Every sender has begun and finished a delivery since.
    let go_on = async || {
        let count = sent.load(Ordering::SeqCst);
        until("deliveries", async || sent.load(Ordering::SeqCst) > count + 8).await;
    };
    go_on().await;

    assert!(!accepts(OTHER_SECRET).await);
    mount.swap("..2", &[("current", OTHER_SECRET), ("previous", SECRET), ("forward", OTHER_SECRET)]);
    instance.signal("-HUP");
    until("the new secret is accepted", async || accepts(OTHER_SECRET).await).await;
    go_on().await;
    *signing.lock().unwrap() = OTHER_SECRET;
    go_on().await;
    mount.swap("..3", &[("current", OTHER_SECRET), ("forward", OTHER_SECRET)]);
    instance.signal("-HUP");
    until("the old secret is rejected", async || !accepts(SECRET).await).await;
    go_on().await;
    let replaced = "medhook::secrets: webhook secrets replaced endpoint=\"rotated\" secrets=\"current";
    assert_eq!(
        (logged(&instance, &format!("{replaced}, previous\"")), logged(&instance, &format!("{replaced}\""))),
        (1, 1)
    );

    // The application sees the new secret of `forward_secret`.
    let verifies = |secret: &str, request: &Request<Bytes>| {
        let custom = Custom::new("application", StandardWebhooks::new(), Secret::new(secret).unwrap());
        let receiver = Receiver::builder("application", custom).store(NoDedupe).build().unwrap();
        receiver.verify(request.headers(), request.body().clone()).is_ok()
    };
    let calls = application.calls();
    let (first, last) = (&calls.first().unwrap().request, &calls.last().unwrap().request);
    assert!(verifies(SECRET, first) && !verifies(OTHER_SECRET, first));
    assert!(verifies(OTHER_SECRET, last) && !verifies(SECRET, last));
    assert_eq!(
        logged(&instance, "medhook::secrets: forward_secret replaced endpoint=\"rotated\" secret=\"forward\""),
        1
    );

    // A file that cannot be used changes nothing, and is one line.
    mount.swap("..4", &[("current", ""), ("forward", OTHER_SECRET)]);
    hang_up(&instance).await;
    let problem = "medhook.toml: endpoint 1 (/rotated): `secrets[0]`: `file`: secret current: empty; ";
    // Twice if a poll has found it just before the signal, which repeats it.
    assert!([1, 2].contains(&logged(&instance, problem)), "{:?}", instance.stderr());
    assert_eq!(logged(&instance, "SIGHUP: files read again; 0 replaced, 1 not applied"), 1);
    assert!(accepts(OTHER_SECRET).await && !accepts(SECRET).await);
    // The secret of the other endpoint, and one that is only removed.
    mount.swap("..5", &[("current", THIRD_SECRET), ("forward", OTHER_SECRET)]);
    hang_up(&instance).await;
    assert!(logged(&instance, ": the same secret as medhook.toml: endpoint 2 (/healthsync): `secrets[0]`") > 0);
    mount.swap("..6", &[("forward", OTHER_SECRET)]);
    hang_up(&instance).await;
    assert!(logged(&instance, "`secrets[0]`: `file`: the file does not exist; the secrets of this endpoint stay") > 0);
    assert!(accepts(OTHER_SECRET).await && !accepts(THIRD_SECRET).await);
    // A file that is not written completely.
    let (beginning, short) = (OTHER_SECRET.get(..OTHER_SECRET.len() - 1).unwrap(), "whsec_MfKQ9r8");
    for (version, torn) in [("..6a", beginning), ("..6b", short)] {
        mount.swap(version, &[("current", torn), ("forward", OTHER_SECRET)]);
        let cut_off = "`secrets[0]`: `file`: the secret is shorter than 16 bytes or the beginning of the one in use";
        let before = logged(&instance, cut_off);
        hang_up(&instance).await;
        assert!(logged(&instance, cut_off) > before && !accepts(torn).await && accepts(OTHER_SECRET).await);
    }
    mount.swap("..7", &[("current", OTHER_SECRET), ("forward", OTHER_SECRET)]);
    let unchanged = logged(&instance, "no file of a secret or certificate has changed");
    hang_up(&instance).await;
    assert_eq!(logged(&instance, "no file of a secret or certificate has changed"), unchanged + 1);
    let variables = "SIGHUP: to change TEST_THIRD_SECRET, restart the receiver";
    assert!(logged(&instance, variables) >= 4 && logged(&instance, "medhook.toml has changed") == 0);
    folder.file("medhook.toml", &config.replace("\"/rotated\"", "\"/other\""));
    hang_up(&instance).await;
    assert_eq!(logged(&instance, "SIGHUP: medhook.toml has changed; restart the receiver to apply it"), 1);
    go_on().await;

    ends.store(true, Ordering::SeqCst);
    for sender in provider {
        sender.await.unwrap();
    }
    assert_eq!(instance.terminate().code(), Some(0));
    let output = [instance.stderr(), instance.stdout()].concat().join("\n");
    for secret in [SECRET, OTHER_SECRET, THIRD_SECRET] {
        assert!(!output.contains(secret));
    }
    let rejected = instance.stdout().iter().filter(|line| line.contains("\"outcome\":\"rejected\"")).count();
    assert!(rejected > 0, "only probes were rejected");
}

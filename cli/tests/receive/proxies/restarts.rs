//! A sender that retries loses nothing while the receiver restarts behind a proxy.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use medhook::testing;

use super::PATH;
use super::running::{Proxy, with_each};
use crate::program::{Folder, Instance, PATIENCE, SECRET};
use crate::rolling::handled_once;
use crate::sender::{ENDPOINT, now};

const EVENTS: usize = 40;

#[test]
fn every_event_is_handled_once_although_the_receiver_restarts() {
    let config = format!(
        "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"sqlite:events.db\"\n{}",
        ENDPOINT.replace("/healthsync", PATH)
    );
    with_each(|kind| {
        let folder = Folder::new();
        let mut instance = Instance::start(&folder, &config, &["--json", "--show-ids"]);
        let listen = instance.address.to_string();
        let proxy = Proxy::start(kind, instance.address);
        let acknowledged = AtomicUsize::new(0);
        let mut lines = Vec::new();
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                for number in 0..EVENTS {
                    let id = format!("evt-{number}");
                    let event = testing::healthsync("document.uploaded").secret(SECRET).at(now()).id(&id).request(PATH);
                    let began = Instant::now();
                    while proxy.send(&event, &[]).status != 200 {
                        assert!(began.elapsed() < PATIENCE, "{kind:?} {id}");
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
            });
            for after in [10, 20, 30] {
                while acknowledged.load(Ordering::SeqCst) < after && !sender.is_finished() {
                    std::thread::sleep(Duration::from_millis(2));
                }
                assert_eq!(instance.terminate().code(), Some(0), "{kind:?}: {:?}", instance.stderr());
                lines.extend(instance.stdout());
                let arguments = ["--json", "--show-ids", "--listen", &listen];
                instance = Instance::start(&folder, &config, &arguments);
            }
        });
        assert_eq!(instance.terminate().code(), Some(0), "{kind:?}");
        lines.extend(instance.stdout());
        handled_once(EVENTS, &lines);
    });
}

//! Rejected deliveries are not stored: no row, no file, and nothing of them in a file.

use http::Request;
use medhook::Bytes;
use sqlx::{Connection, SqliteConnection};

use crate::program::{Folder, Instance, OTHER_SECRET};
use crate::sender::{ENDPOINT, Sender, delivery, now};

const MARK: &str = "canary-of-a-rejected-delivery";

/// Returns a delivery with the mark in its body and in a header.
fn marked(secret: &str, at: i64) -> Request<Bytes> {
    let sample = medhook::testing::healthsync("document.uploaded").secret(secret).at(at).id(MARK);
    let mut request = sample.request("/healthsync");
    request.headers_mut().insert("x-mark", MARK.parse().unwrap());
    request
}

fn files(folder: &Folder) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap())).collect();
    files.sort();
    files
}

async fn rows(folder: &Folder) -> i64 {
    let url = format!("sqlite://{}", folder.path().join("medhook.db").display());
    let mut database = SqliteConnection::connect(&url).await.unwrap();
    let count = "SELECT (SELECT count(*) FROM medhook_events) + (SELECT count(*) FROM medhook_bodies)";
    sqlx::query_scalar(count).fetch_one(&mut database).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_deliveries_are_never_stored() {
    let folder = Folder::new();
    let config = format!("listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"sqlite:medhook.db\"\n{ENDPOINT}");
    let mut instance = Instance::start(&folder, &config, &[]);
    let sender = Sender::new();
    let names = |files: Vec<(String, Vec<u8>)>| files.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let before = names(files(&folder));

    let mut unsigned = marked(OTHER_SECRET, now());
    unsigned.headers_mut().remove("x-healthsync-signature");
    let secret = crate::program::SECRET;
    for request in
        [marked(OTHER_SECRET, now()), unsigned, marked(secret, now() - 86_400), marked(secret, now() + 86_400)]
    {
        assert_eq!(sender.send(instance.address, &request).await, Ok(401));
    }
    assert_eq!(rows(&folder).await, 0);
    assert_eq!(sender.send(instance.address, &delivery("genuine")).await, Ok(200));
    assert_eq!(rows(&folder).await, 1, "the test finds the row of a delivery that is not rejected");
    assert!(instance.terminate().success());
    let after = files(&folder);
    for (name, content) in &after {
        assert!(!content.windows(MARK.len()).any(|window| window == MARK.as_bytes()), "the mark is in {name}");
    }
    let new: Vec<_> = names(after).into_iter().filter(|name| !before.contains(name)).collect();
    assert!(new.is_empty(), "{new:?}");
}

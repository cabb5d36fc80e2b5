//! `verify` allocates nothing, whatever the size of the body and the number of secrets.

use allocation_counter::measure;
use medhook::testing::{Signing, StoppedClock};
use medhook::{
    Bytes, ClaimToken, Custom, DedupeStore, Ed25519Body, Encoding, EventKey, Fasten, HealthSync, HmacSha256Body,
    HmacSha512Body, MemoryStore, NoDedupe, Provider, Receiver, Retention, SchemeConfig, Secret, Secrets, SharedSecret,
    StandardWebhooks, TimestampUnit, TimestampedHmac,
};

const NOW: i64 = 1_767_225_600;
const SIZES: [usize; 6] = [0, 256, 1_024, 20_000, 65_537, 1_000_000];

/// Returns secrets of which only the last one signs, so every MAC is computed and compared.
fn secrets(texts: &[&str]) -> Secrets {
    let mut secrets =
        texts.iter().enumerate().map(|(n, text)| Secret::new(*text).unwrap().labeled(&n.to_string()).unwrap());
    let first = Secrets::new(secrets.next().unwrap());
    secrets.fold(first, |all, secret| all.also(secret).unwrap())
}

fn allocations(provider: impl Provider, signing: &Signing, secret: &str, size: usize) -> u64 {
    let receiver = Receiver::builder("count", provider).store(NoDedupe).clock(StoppedClock::at(NOW)).build().unwrap();
    let body = Bytes::from(vec![b'x'; size]);
    let mut headers = http::HeaderMap::new();
    for (name, value) in signing.headers(secret, "msg_1", &signing.timestamp_text(NOW), &body).unwrap() {
        headers.insert(http::HeaderName::try_from(name).unwrap(), http::HeaderValue::try_from(value).unwrap());
    }
    // The first call detects the processor's features.
    assert!(receiver.verify(&headers, body.clone()).is_ok());
    measure(|| {
        let verified = receiver.verify(&headers, body);
        assert!(verified.is_ok());
    })
    .count_total
}

#[test]
fn verifying_allocates_nothing() {
    let base64 = [
        "MDEyMzQ1Njc4OWFiY2RlZjA=",
        "MDEyMzQ1Njc4OWFiY2RlZjE=",
        "MDEyMzQ1Njc4OWFiY2RlZjI=",
        "MDEyMzQ1Njc4OWFiY2RlZjM=",
    ];
    let text = ["0123456789abcdef0", "0123456789abcdef1", "0123456789abcdef2", "0123456789abcdef3"];
    let healthsync_signing =
        Signing::of(medhook::HmacSha256Body::new("x-healthsync-signature").prefix("sha256=").encoding(Encoding::Hex));
    for size in SIZES {
        for count in [1, 4] {
            let last = count - 1;
            let fasten = Fasten::live(secrets(&base64[..count]));
            let standard = allocations(fasten, &Signing::standard_webhooks(), base64[last], size);
            let healthsync = HealthSync::new(secrets(&text[..count]));
            let hmac = allocations(healthsync, &healthsync_signing, text[last], size);
            assert_eq!((standard, hmac), (0, 0), "{size} bytes, {count} secrets");
        }
    }
}

/// Except for two: hashes are in progress while the body is encoded in base64, and while signatures of a key pair are
/// checked.
#[test]
fn verifying_allocates_nothing_in_any_family_of_macs() {
    let text = ["0123456789abcdef0", "0123456789abcdef1", "0123456789abcdef2", "0123456789abcdef3"];
    let families: [(SchemeConfig, u64); 11] = [
        (HmacSha256Body::new("x-signature").separator(',').encoding(Encoding::Base64Url).into(), 0),
        (TimestampedHmac::elements("x-signature", "t", "v1").into(), 0),
        (TimestampedHmac::elements("x-signature", "t", "").encoding(Encoding::Hex).into(), 0),
        (
            TimestampedHmac::headers("x-signature", "x-timestamp").prefix("v0=").signed("v0:{timestamp}:{body}").into(),
            0,
        ),
        (
            TimestampedHmac::headers("x-signature", "x-timestamp")
                .timestamp_unit(TimestampUnit::Milliseconds)
                .signed("{id}.{timestamp}.{body}")
                .id_header("x-id")
                .into(),
            0,
        ),
        (TimestampedHmac::headers("x-signature", "x-timestamp").timestamp_unit(TimestampUnit::Rfc3339).into(), 0),
        (SharedSecret::bearer().into(), 0),
        (SharedSecret::basic("acme").into(), 0),
        (HmacSha512Body::new("x-signature").into(), 0),
        (TimestampedHmac::elements("x-signature", "t", "v1").sha512().into(), 0),
        (TimestampedHmac::headers("x-signature", "x-timestamp").signed("{timestamp}.{body_base64}").into(), 1),
    ];
    for (scheme, expected) in families {
        let signing = Signing::of(scheme.clone());
        for (size, count) in [(0, 1), (1_024, 1), (1_024, 4), (65_537, 4)] {
            let custom = Custom::new("acme", scheme.clone(), secrets(&text[..count]));
            let allocations = allocations(custom, &signing, text[count - 1], size);
            assert_eq!(allocations, expected, "{scheme:?}, {size} bytes, {count} secrets");
        }
    }
    // The bytes 0 to 31, and their public key.
    let public = Secret::new("whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=").unwrap();
    let private = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let schemes: [SchemeConfig; 2] = [Ed25519Body::new("x-signature").into(), StandardWebhooks::new().into()];
    for scheme in schemes {
        let custom = Custom::new("acme", scheme.clone(), public.clone());
        assert_eq!(allocations(custom, &Signing::of(scheme.clone()), private, 1_024), 1, "{scheme:?}");
    }
}

/// Returns the result of a store operation that is ready at once.
fn now<T>(step: medhook::StoreFuture<'_, T>) -> T {
    futures_util::FutureExt::now_or_never(step).unwrap().unwrap()
}

/// Deleted entries leave tombstones in a hash table, which may double because of them. The fullest table is then half
/// empty.
#[test]
fn an_event_in_memory_takes_at_most_134_bytes_and_104_in_large_stores() {
    const HOUR: std::time::Duration = std::time::Duration::from_secs(3600);
    for (capacity, at_most) in [(1_000, 134.0), (3_600, 134.0), (10_000, 134.0), (60_000, 134.0), (150_000, 104.0)] {
        let store = MemoryStore::new(capacity);
        let counted = measure(|| {
            for n in 0_u64..(capacity as u64 * 2 + 100_000) {
                // Keys are spread evenly, as digests are, including over all shards.
                let mut key = [0; 32];
                for (part, number) in key.chunks_exact_mut(8).zip(n * 4..) {
                    part.copy_from_slice(&mixed(number).to_le_bytes());
                }
                let (key, token) = (EventKey::from_bytes(key), ClaimToken::from_bytes([1; 16]));
                now(store.claim(key, token, HOUR));
                now(store.commit(key, token, Retention::new(std::time::Duration::ZERO, HOUR)));
            }
        });
        let held = store.len();
        assert!(held > capacity * 9 / 10 && held <= capacity + 21, "{held} of {capacity}");
        let each = counted.bytes_current as f64 / held as f64;
        assert!(each <= at_most, "{each} bytes for each of {held}");
    }
}

/// SplitMix64.
fn mixed(n: u64) -> u64 {
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[test]
fn the_counter_counts() {
    assert_eq!(measure(|| drop(std::hint::black_box(vec![1_u8; 100]))).count_total, 1);
}

const KEY: &str = "kSgYTfzSAoXrYAhbVL6jHyVLgUzDrzaTMKs05R4BsNM=";

/// Runs on one thread, whose allocations are counted. The store works on a thread of its own.
#[test]
fn a_body_is_in_memory_twice_until_it_is_stored_and_once_for_its_handler() {
    // The longest that is sealed and opened in the task of its request or attempt.
    const LENGTH: usize = 250 << 10;
    const PIECE: usize = 10 << 10;
    /// Covers everything but the body.
    const MORE: usize = 48 << 10;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let inbox = runtime.block_on(async {
        let store = medhook::SqliteStore::open(folder.path().join("medhook.db")).await.unwrap();
        store.inbox(medhook::Bodies::sealed(medhook::Keyring::new(Secret::new(KEY).unwrap()).unwrap())).await.unwrap()
    });
    let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new("0123456789abcdef").unwrap());
    let receiver = Receiver::builder("count", custom.id_pointer("/id")).inbox(inbox).build().unwrap();
    let piece = Bytes::from(vec![b'x'; PIECE]);
    // The first event makes the threads, the buffers and the caches.
    for (id, declared) in [("0", true), ("1", true), ("2", false)] {
        let (first, last) = (format!(r#"{{"id":"{id}","text":""#), r#""}"#);
        let rest = LENGTH - first.len() - last.len();
        let mut headers = vec![("x-key", "0123456789abcdef".to_owned())];
        if declared {
            headers.push(("content-length", LENGTH.to_string()));
        }
        let stored = measure(|| {
            runtime.block_on(async {
                let mut intake = receiver.begin(&medhook::RequestHead::new("POST", "/", &headers)).unwrap();
                intake.push(first.into()).unwrap();
                for at in (0..rest).step_by(PIECE) {
                    intake.push(piece.slice(..PIECE.min(rest - at))).unwrap();
                }
                intake.push(Bytes::from_static(last.as_bytes())).unwrap();
                let delivery = receiver.open(intake.finish().unwrap()).unwrap();
                let stored = receiver.admit(delivery).unwrap().run(async { 500 }, |status| *status == 200).await;
                assert_eq!(stored.unwrap_err().reason(), medhook::Reason::Stored);
            });
        });
        let (handled, receive) = tokio::sync::oneshot::channel();
        let handled = std::sync::Arc::new(std::sync::Mutex::new(Some(handled)));
        let worker = medhook::Worker::builder(&receiver).workers(1).handler(move |delivery: medhook::Delivery| {
            let handled = handled.lock().unwrap().take().unwrap();
            async move { handled.send(delivery.body().len()).is_ok() }
        });
        let worker = worker.unwrap();
        let attempted = measure(|| {
            runtime.block_on(async {
                let worker = tokio::spawn(worker.run());
                assert_eq!(receive.await.unwrap(), LENGTH);
                worker.abort();
                let _ = worker.await;
            });
        });
        let (stored, attempted) = (stored.bytes_max as usize, attempted.bytes_max as usize);
        println!("event {id}: at most {stored} B until it was stored, {attempted} B for its attempt");
        if id != "0" {
            // A buffer for an unknown length doubles, and is shortened when the body is complete: by a copy, as this
            // counter has it.
            let times = if declared { 2 } else { 3 };
            assert!(stored <= times * LENGTH + MORE, "event {id}: {stored} B");
            // The buffer that the body was read into is from the thread of the store.
            assert!(attempted <= MORE, "event {id}: {attempted} B");
        }
    }
}

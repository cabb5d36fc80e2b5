//! Hostile senders. Attacks within a single request are in the list of cases (`fixtures/`) and in `framing.rs`; these
//! tests cover attacks that take several requests, or time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use medhook::{
    ClaimToken, Claimed, DedupeStore, DeliveryRecord, EventKey, Fasten, Freshness, MemoryStore, NoDedupe, Outcome,
    Reason, Received, Receiver, RequestHead, Retention, Secret, Secrets, Settled, StoreFuture, testing,
};
use medhook_conformance::{Answer, Transfer, cases};
use medhook_tests::route::{Route, Watched};
use medhook_tests::sender::{Connection, Outgoing, begin, kept, send};
use tokio::sync::Semaphore;

use crate::endpoint::{SECRET, builder, forged, genuine, genuine_of, receiver, status, until};
use crate::servers;

/// Attacks that the list of cases covers. `cases.rs` plays it in every framework.
const IN_THE_LIST: &[(&str, &[&str])] = &[
    ("a length of 2^46 and a short body", &["a length of 2^46 before a short body"]),
    (
        "a body in chunks at, over and far over the limit",
        &[
            "a body in chunks, exactly at a small limit",
            "a body in chunks, one byte over a small limit",
            "a body in chunks, far over a small limit",
        ],
    ),
    (
        "a body at and over the limit",
        &[
            "a body exactly at a small limit",
            "a body one byte over a small limit",
            "a body of 1 MiB, the default limit",
            "a body one byte over 1 MiB",
        ],
    ),
    ("a sender that stops half-way", &["a body that stops in the middle"]),
    ("a sender that hangs up half-way", &["the sender hangs up in the middle of the body"]),
    (
        "33 and 80 signatures",
        &[
            "the good signature as the last of 32",
            "the good signature as the last of 33",
            "the good signature as the last of 80",
            "a list of signatures of 4,096 bytes",
            "a list of signatures of 4,097 bytes",
        ],
    ),
    ("a malformed sibling beside a good signature", &["the good signature among malformed ones"]),
    (
        "timestamps that are no plain numbers",
        &[
            "the smallest 64-bit integer as the timestamp, correctly signed",
            "a timestamp with a plus, correctly signed",
            "a timestamp with leading zeros, correctly signed",
            "a timestamp with an exponent, correctly signed",
            "an empty timestamp, correctly signed",
        ],
    ),
    ("a dot in the message id", &["a dot in the message id, correctly signed"]),
    (
        "signatures that are none",
        &[
            "a signature one character too short",
            "a signature one character too long",
            "a non-ASCII character beside the good signature",
            "a signature of another version only",
        ],
    ),
    ("`svix-id` beside another `webhook-id`", &["another `svix-id` beside the message id"]),
    (
        "repeated headers",
        &[
            "the message id twice, agreeing",
            "the message id twice, differing",
            "the timestamp twice, agreeing",
            "the timestamp twice, differing",
            "the signature twice, agreeing",
            "the signature twice, differing",
        ],
    ),
    (
        "bodies that parsers disagree about",
        &[
            "bytes that are not text",
            "a byte order mark",
            "a second document after the body",
            "a NUL after the body",
            "an id twice in the envelope",
            "a kind twice in the envelope",
            "escaped slashes in a link",
            "200 levels of nesting around the payload",
            "200 levels of nesting in a field",
            "100,000 levels of nesting",
        ],
    ),
    (
        "kinds and ids that break lines, terminals and indices",
        &[
            "a kind with a line break and a terminal's colors",
            "a kind that is not ASCII",
            "an id with a line break and a terminal's colors",
            "an id that is not ASCII",
            "an id of a megabyte",
        ],
    ),
];

#[test]
fn the_list_of_cases_covers_all_other_attacks() {
    let cases = cases().expect("the list of cases").cases;
    for (what, names) in IN_THE_LIST {
        for name in *names {
            let name = format!("fasten: {name}");
            assert!(cases.iter().any(|case| case.name == name), "{what}: no case {name:?}");
        }
    }
}

#[test]
fn an_empty_secret_is_rejected() {
    assert!(Secret::new("").is_err());
}

/// Returns whether the delivery was rejected for this reason and no handler was called.
fn rejected(watched: &Watched, reason: Reason) -> bool {
    let answer = Answer { status: reason.status().as_u16(), outcome: Some(reason.outcome()), reason: Some(reason) };
    watched.bodies().is_empty() && watched.answers() == [answer]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_arrives_byte_by_byte_has_no_more_time_than_others() {
    for (name, start) in servers::ALL {
        for transfer in [Transfer::Whole, Transfer::Chunked(1)] {
            let (route, watched) =
                Route::watched(builder().body_timeout(Duration::from_millis(300)).build().expect("a receiver"));
            let address = start(Arc::new([route]));
            // Each byte arrives in time for a timeout between bytes, and there are enough bytes for two minutes.
            let mut outgoing = Outgoing { transfer, ..genuine() };
            outgoing.body = vec![b' '; 6_000].into();
            let sent = kept("/0", &outgoing);
            let (head, body) = sent.split_at(sent.len() - outgoing.body.len());
            let mut connection = Connection::open(address).await;
            connection.send(head).await;
            let mut bytes = body.iter();
            while !connection.answers_within(Duration::from_millis(20)).await {
                let byte = *bytes.next().expect("an answer before the body is there");
                let piece = [b"1\r\n".as_slice(), &[byte], b"\r\n"].concat();
                connection.send(if transfer == Transfer::Whole { &piece[3..4] } else { &piece }).await;
            }
            assert_eq!(connection.response().await.expect("an answer").status(), 408, "{name}: {transfer:?}");
            assert!(rejected(&watched, Reason::BodyTimeout), "{name}: {transfer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_head_reaches_no_handler_and_blocks_no_other_delivery() {
    for (name, start) in servers::ALL {
        let (route, watched) = Route::watched(receiver());
        let address = start(Arc::new([route]));
        let sent = kept("/0", &genuine());
        let half = &sent[..100];
        let (mut stays, mut goes) = (Connection::open(address).await, Connection::open(address).await);
        stays.send(half).await;
        goes.send(half).await;
        goes.finish().await;
        // The server may respond with an error, but not with a success.
        let answer = goes.response().await.map(|response| response.status().as_u16());
        assert!(matches!(answer, None | Some(400 | 408)), "{name}: {answer:?}");
        assert_eq!(status(address).await, 200, "{name}");
        assert_eq!((watched.bodies().len(), watched.answers().len()), (1, 1), "{name}");
        stays.send(&sent[100..]).await;
        // The response is that of a duplicate, or the server's timeout for heads has passed.
        let answer = stays.response().await.map(|response| response.status().as_u16());
        assert!(matches!(answer, None | Some(200 | 408)), "{name}: {answer:?}");
        assert_eq!(watched.bodies().len(), 0, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mebibyte_in_chunks_of_one_byte_arrives() {
    let text = format!(r#"{{"id":"1","type":"document.uploaded","x":"{}"}}"#, "a".repeat((1 << 20) - 100));
    let request = testing::healthsync("document.uploaded").secret(SECRET).body(text).request("/");
    let chunks: Vec<u8> = request.body().iter().flat_map(|byte| [b'1', b'\r', b'\n', *byte, b'\r', b'\n']).collect();
    for (name, start) in servers::ALL {
        let (route, watched) = Route::watched(receiver_without_age());
        let address = start(Arc::new([route]));
        let mut outgoing: Outgoing = request.clone().into();
        outgoing.transfer = Transfer::Chunked(1);
        outgoing.body = chunks.clone().into();
        let mut connection = Connection::open(address).await;
        connection.send(&kept("/0", &outgoing)).await;
        connection.send(b"0\r\n\r\n").await;
        assert_eq!(connection.response().await.expect("an answer").status(), 200, "{name}");
        assert_eq!(watched.bodies(), [request.body()], "{name}");
    }
}

/// The same without a server.
#[tokio::test]
async fn a_mebibyte_in_pieces_of_one_byte_is_verified() {
    let body = vec![b' '; 1 << 20];
    let request = testing::healthsync("document.uploaded").secret(SECRET).body(body).request("/");
    let (head, body) = request.into_parts();
    let pieces = (0..body.len()).map(|at| Ok::<_, ()>(body.slice(at..=at)));
    let head = RequestHead::new("POST", "/", &head.headers);
    let received = receiver_without_age().receive(&head, futures_util::stream::iter(pieces)).await;
    let Ok(Received::Delivery(delivery)) = received else { panic!("no delivery") };
    assert_eq!(delivery.body(), &body);
}

fn receiver_without_age() -> Receiver {
    builder().freshness(Freshness::Unchecked).build().expect("a receiver")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_thousand_signatures_are_rejected() {
    let request = testing::fasten("patient.ehi_export_success").secret(FASTEN).request("/");
    let mut outgoing: Outgoing = request.into();
    for (name, value) in &mut outgoing.headers {
        if name == "webhook-signature" {
            *value = vec![value.as_str(); 8_000].join(" ");
        }
    }
    // The head has 376 KB, more than actix-web's limit of 128 KiB.
    for ((name, start), own) in servers::ALL.iter().zip([None, None, Some(431)]) {
        let (route, watched) = Route::watched(fasten("fasten", NoDedupe));
        let answer = send(start(Arc::new([route])), "/0".to_owned(), outgoing.clone()).await;
        let answer = answer.map(|response| response.status().as_u16());
        match own {
            None => {
                assert!(rejected(&watched, Reason::MalformedHeader), "{name}");
                assert_eq!(answer, Some(401), "{name}");
            }
            // A server that has not read the whole head may close the connection before the response is read.
            Some(status) => {
                assert!(answer.is_none_or(|answer| answer == status), "{name}: {answer:?}");
                assert!(watched.answers().is_empty() && watched.bodies().is_empty(), "{name}");
            }
        }
    }
}

const FASTEN: &str = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";
const FASTEN_TEST: &str = "whsec_dGVzdCBzZWNyZXQgb2YgdHdlbnR5LWZvdXI=";

fn fasten(name: &str, store: impl DedupeStore) -> Receiver {
    let secrets = |label, text| Secrets::new(Secret::new(text).expect("a secret").labeled(label).expect("a secret"));
    let fasten = Fasten::live(secrets("live", FASTEN)).and_test(secrets("test", FASTEN_TEST));
    Receiver::builder(name, fasten).store(store).build().expect("a receiver")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_id_at_two_endpoints_and_in_two_modes_is_four_events() {
    let live = testing::fasten("patient.ehi_export_success").secret(FASTEN).request("/");
    let text = String::from_utf8(live.body().to_vec()).expect("JSON").replace(r#""live""#, r#""test""#);
    assert_ne!(text.as_bytes(), live.body(), "the sample says its mode");
    let test = testing::fasten("patient.ehi_export_success").secret(FASTEN_TEST).body(text).request("/");
    for (name, start) in servers::ALL {
        let store = MemoryStore::new(100);
        let ((one, at_one), (other, at_other)) =
            (Route::watched(fasten("one", store.clone())), Route::watched(fasten("other", store)));
        let address = start(Arc::new([one, other]));
        for outcome in [Outcome::Handled, Outcome::Duplicate] {
            for (path, watched) in [("/0", &at_one), ("/1", &at_other)] {
                for request in [&live, &test] {
                    send(address, path.to_owned(), request.clone().into()).await.expect("an answer");
                }
                let outcomes: Vec<_> = watched.answers().iter().map(|answer| answer.outcome).collect();
                assert_eq!(outcomes, [Some(outcome); 2], "{name} {path}");
            }
        }
        assert_eq!((at_one.bodies().len(), at_other.bodies().len()), (2, 2), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_disconnects_within_the_body_leaves_nothing_behind() {
    for (name, start) in servers::ALL {
        let (route, watched) = Route::watched(receiver());
        let address = start(Arc::new([route]));
        let outgoing = genuine();
        let sent = kept("/0", &outgoing);
        for reset in [false, true] {
            let mut connection = Connection::open(address).await;
            connection.send(&sent[..sent.len() - 1]).await;
            connection.abandon(reset);
        }
        assert_eq!(status(address).await, 200, "{name}");
        assert_eq!(watched.bodies(), [genuine().body], "{name}: the event was never claimed");
    }
}

/// A store whose claims wait to be released.
#[derive(Debug)]
struct SlowToClaim {
    inner: MemoryStore,
    asked: AtomicUsize,
    gate: Semaphore,
}

impl DedupeStore for SlowToClaim {
    fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Claimed> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let _go = self.gate.acquire().await;
            self.inner.claim(key, token, lease).await
        })
    }
    fn renew(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Settled> {
        self.inner.renew(key, token, lease)
    }
    fn commit(&self, key: EventKey, token: ClaimToken, retention: Retention) -> StoreFuture<'_, Settled> {
        self.inner.commit(key, token, retention)
    }
    fn release(&self, key: EventKey, token: ClaimToken) -> StoreFuture<'_, Settled> {
        self.inner.release(key, token)
    }
    fn record_delivery(&self, body: EventKey, period: Duration, most: u64) -> StoreFuture<'_, DeliveryRecord> {
        self.inner.record_delivery(body, period, most)
    }
    fn record_failure(&self, body: EventKey) -> StoreFuture<'_, ()> {
        self.inner.record_failure(body)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_hangs_up_during_the_claim_does_not_stop_the_handler() {
    for (name, start) in servers::ALL {
        let store =
            Arc::new(SlowToClaim { inner: MemoryStore::new(100), asked: AtomicUsize::new(0), gate: Semaphore::new(0) });
        // With a lease of an hour, a step of the store may take its full 5 s.
        let receiver = builder().store(store.clone()).lease(Duration::from_secs(3_600)).build().expect("a receiver");
        let (route, watched) = Route::watched(receiver);
        let address = start(Arc::new([route]));
        let socket = begin(address, "/0", &genuine()).await;
        until("the event is being claimed", || store.asked.load(Ordering::SeqCst) == 1).await;
        drop(socket);
        // By the time another request is answered, the server has noticed the closed connection.
        send(address, "/0".to_owned(), forged()).await.expect("an answer");
        store.gate.add_permits(1_000);
        let mut bodies = Vec::new();
        for _ in 0..12_000 {
            bodies.extend(watched.bodies());
            if !bodies.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(bodies, [genuine().body], "{name}: handled all the same");
        let mut last = 503;
        while last == 503 {
            last = status(address).await;
        }
        assert_eq!((last, watched.bodies().len()), (200, 0), "{name}: the retry is a duplicate");
        assert_eq!(status_of_another(address).await, 200, "{name}");
    }
}

async fn status_of_another(address: std::net::SocketAddr) -> u16 {
    send(address, "/0".to_owned(), genuine_of("another")).await.expect("an answer").status().as_u16()
}

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::thread::{self, ThreadId};

use futures_util::FutureExt;
use futures_util::stream::iter;

use super::*;
use crate::provider::{Policy, sealed};
use crate::{
    CloudEvents, ConfigError, Custom, Freshness, Handshake, HmacSha256Body, MemoryStore, NoDedupe, Secret, SharedSecret,
};

const KEY: &str = "0123456789abcdef";
const HEADERS: [(&str, &str); 3] = [("x-key", KEY), ("x-id", "an id"), ("ce-type", "created")];

fn custom() -> Custom {
    Custom::new("acme", SharedSecret::new("x-key"), Secret::new(KEY).unwrap())
}

fn builder(provider: impl Provider) -> Builder {
    Receiver::builder("in", provider).store(MemoryStore::new(10))
}

/// Adds whitespace to a body, so that it is a long one.
fn long(body: &str) -> Bytes {
    format!("{body}{}", " ".repeat(LONGEST_INLINE)).into()
}

async fn received(receiver: &Receiver, body: Bytes) -> Result<Received, Rejection> {
    receiver.receive(&RequestHead::new("POST", "/", &HEADERS), iter([Ok::<_, Infallible>(body)])).await
}

/// Records the threads in which envelopes are read and completed.
#[derive(Debug)]
struct Recording(Custom, Arc<Mutex<Vec<ThreadId>>>);

impl sealed::Sealed for Recording {}

impl Provider for Recording {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn policy(&self) -> Policy {
        self.0.policy()
    }

    fn scheme(&self, seal: sealed::Seal) -> Result<sealed::SchemeWithSecrets, ConfigError> {
        self.0.scheme(seal)
    }

    fn read(&self, body: &Bytes, seal: sealed::Seal) -> Envelope {
        self.1.lock().unwrap().push(thread::current().id());
        self.0.read(body, seal)
    }

    fn complete(&self, envelope: &mut Envelope, verified: &Verified<'_>, seal: sealed::Seal) {
        self.1.lock().unwrap().push(thread::current().id());
        self.0.complete(envelope, verified, seal);
    }
}

#[tokio::test]
async fn long_bodies_are_parsed_and_hashed_outside_of_the_task_and_others_in_it() {
    let threads = Arc::new(Mutex::new(Vec::new()));
    let own = threads.clone();
    let rule = Dedupe::by(move |_, _| {
        own.lock().unwrap().push(thread::current().id());
        None
    });
    let receiver = builder(Recording(custom().kind_pointer("/kind"), threads.clone())).dedupe(rule).build().unwrap();
    let here = thread::current().id();
    let body = r#"{"kind": "a"}"#;
    for (body, stays) in [(body.into(), true), (long(body), false)] {
        let Received::Delivery(delivery) = received(&receiver, body).await.unwrap() else { panic!("a reply") };
        let ran_here: Vec<_> = threads.lock().unwrap().drain(..).map(|thread| thread == here).collect();
        assert_eq!(ran_here, [stays, true, stays]);
        assert_eq!(delivery.has_keys(), !stays);
    }
}

#[tokio::test]
async fn other_tasks_run_while_a_long_body_is_opened() {
    let (begun, begins) = std::sync::mpsc::channel();
    let begins = Mutex::new(begins);
    let rule = Dedupe::by(move |_, _| {
        // Fails if the only thread of the runtime waits here.
        begins.lock().unwrap().recv_timeout(Duration::from_secs(10)).ok()
    });
    let receiver = builder(custom()).dedupe(rule).build().unwrap();
    let other = tokio::spawn(async move { begun.send("own".to_owned()).unwrap() });
    let Received::Delivery(delivery) = received(&receiver, long("{}")).await.unwrap() else { panic!("a reply") };
    assert_eq!(delivery.id_from(), crate::IdFrom::Own);
    other.await.unwrap();
}

#[tokio::test]
async fn the_delivery_of_a_long_body_is_that_of_open() {
    let pointers = || custom().id_pointer("/id").kind_pointer("/type").time_pointer("/time").data_pointer("/data");
    let unsigned = || custom().id_pointer("/id").unsigned_id_header("x-id");
    let binary = || custom().kind_pointer("/type").cloud_events(CloudEvents::BinaryUnsigned);
    let structured = || custom().cloud_events(CloudEvents::Structured);
    for provider in [custom, pointers, unsigned, binary, structured] as [fn() -> Custom; 5] {
        for dedupe in [Dedupe::by_id, Dedupe::by_bytes, Dedupe::off] {
            for body in [
                r#"{"source": "s", "id": "1", "type": "created", "time": "2026-11-29T12:00:00Z", "data": {"a": 1}}"#,
                r#"{"id": null}"#,
                "not JSON",
            ] {
                let receiver = builder(provider()).dedupe(dedupe()).build().unwrap();
                let body = long(body);
                let opened = receiver.open(receiver.verify(&HEADERS, body.clone()).unwrap()).unwrap();
                let Received::Delivery(delivery) = received(&receiver, body).await.unwrap() else { panic!("a reply") };
                let facts = |delivery: &Delivery| {
                    let Envelope { id, unsigned_id, kind, occurred_at, data, problem, .. } =
                        delivery.envelope().clone();
                    let occurred_at = occurred_at.map(|time| time.unix());
                    let key = (delivery.id_from() != crate::IdFrom::Nothing).then(|| delivery.event_key());
                    let keys = (delivery.id_from(), key, delivery.recurring_body());
                    (id, unsigned_id, kind, occurred_at, data, problem, keys)
                };
                assert_eq!(facts(&delivery), facts(&opened));
            }
        }
    }
}

#[tokio::test]
async fn rejections_and_replies_are_the_same_for_long_bodies() {
    let fresh = Freshness::EventTime { max_age: Duration::from_secs(60), max_skew: Duration::from_secs(60) };
    let receiver = builder(custom().time_pointer("/time")).freshness(fresh).build().unwrap();
    for (body, reason) in [(r#"{"time": 1}"#, Reason::Stale), ("{}", Reason::TimeMissing)] {
        assert_eq!(received(&receiver, long(body)).await.unwrap_err().reason(), reason);
    }
    let receiver = builder(custom().handshake(Handshake::ping_pong("/ping", "pong"))).build().unwrap();
    let Received::Reply(reply) = received(&receiver, long(r#"{"ping": "abc"}"#)).await.unwrap() else {
        panic!("a delivery")
    };
    assert_eq!(reply.body, r#"{"pong":"abc"}"#);
}

#[tokio::test]
async fn unverified_long_bodies_are_not_parsed() {
    let threads = Arc::new(Mutex::new(Vec::new()));
    let signed = Custom::new("acme", HmacSha256Body::new("x-key"), Secret::new(KEY).unwrap());
    let receiver = Receiver::builder("in", Recording(signed, threads.clone())).store(NoDedupe).build().unwrap();
    assert!(received(&receiver, long("{}")).await.is_err());
    assert!(threads.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_panic_while_a_long_body_is_opened_is_one_of_the_caller() {
    let rule = Dedupe::by(|_, _| std::panic::resume_unwind(Box::new("a panic")));
    let receiver = builder(custom()).dedupe(rule).build().unwrap();
    let panic = AssertUnwindSafe(received(&receiver, long("{}"))).catch_unwind().await.unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"a panic"));
}

//! Plays the list of cases against the core alone, checks the list and its fixtures, and checks which deliveries are
//! of the same event.

mod drift;
mod events;
mod fixtures;
mod list;
mod logs;
mod misconfigured;
mod observed;
mod payloads;
mod recorder;
mod silence;
mod unsigned;
mod useful;
mod vectors;

use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use medhook::testing;
use medhook::{Bytes, Delivery, MemoryStore, Outcome, Reason, Received, Rejection, RequestHead};
use medhook_conformance::{Answer, Case, Cases, State, Transfer};
use medhook_tests::providers::{facts, read, reads_body_alike};
use medhook_tests::stage::Stage;
use tokio::time::timeout;

/// Time is paused, so a case that would wait forever times out at once.
#[tokio::test(start_paused = true)]
async fn every_case_has_the_result_in_the_list() {
    let stages: Arc<[Stage]> = Stage::all(cases()).into();
    let mut failed = Vec::new();
    for (n, stage) in stages.iter().enumerate() {
        let played = stage.play(|| {
            let stages = stages.clone();
            Box::pin(async move { deliver(&stages[n]).await })
        });
        let played = timeout(Duration::from_secs(3_600), played).await;
        if let Err(problem) = played.unwrap_or_else(|_| Err("never ends".to_owned())) {
            failed.push(format!("{}: {problem}", stage.case.name));
        }
    }
    assert_none(&failed);
}

/// Plays the cases of one whole delivery without a runtime, at two different times.
#[test]
fn every_case_of_one_delivery_has_the_same_result_without_a_runtime_at_any_time() {
    let another = medhook_conformance::cases_at(4_102_444_801).expect("the list makes sense at any time");
    for cases in [cases(), &another] {
        let mut failed = Vec::new();
        for case in cases.cases.iter().filter(|case| is_one_whole_delivery(case)) {
            match (verify(cases, case), case.expected.reason) {
                (Err(reason), Some(wanted)) if reason == wanted => {}
                (Ok(delivery), None) => failed.extend(difference(case, &delivery)),
                (Err(reason), _) => failed.push(format!("{} at {}: {reason}", case.name, cases.now)),
                (Ok(_), Some(_)) => failed.push(format!("{} at {}: accepted", case.name, cases.now)),
            }
        }
        assert_none(&failed);
    }
}

/// Delivers a case to its receiver as a framework does.
async fn deliver(stage: &Stage) {
    let case = &stage.case;
    let handled = async {
        let headers = headers(case);
        let head = RequestHead::new(&case.method, "/", &headers);
        let Received::Delivery(delivery) = stage.receiver.receive(&head, body(case)).await? else {
            panic!("{}: a reply", case.name);
        };
        let admitted = stage.receiver.admit(delivery)?;
        let delivery = admitted.delivery().clone();
        let body = delivery.body().clone();
        admitted.run(stage.handler.handle(&delivery, body), |status| (200..300).contains(status)).await
    };
    stage.note(match handled.await {
        Ok(status) => {
            let outcome = if (200..300).contains(&status) { Outcome::Handled } else { Outcome::Failed };
            Answer { status, outcome: Some(outcome), reason: None }
        }
        Err(rejection) => {
            let reason = Rejection::reason(&rejection);
            Answer { status: rejection.status().as_u16(), outcome: Some(reason.outcome()), reason: Some(reason) }
        }
    });
}

/// Returns the headers, including those of the transport.
fn headers(case: &Case) -> Vec<(String, String)> {
    let length = match case.transfer {
        Transfer::Chunked(_) => None,
        Transfer::Declares(length) => Some(length),
        _ => Some(case.body.len() as u64),
    };
    let length = length.map(|length| ("content-length".to_owned(), length.to_string()));
    case.headers.iter().cloned().chain(length).collect()
}

/// Returns the body as a stream that arrives as the case says.
fn body(case: &Case) -> BoxStream<'static, io::Result<Bytes>> {
    let half = || vec![case.body.slice(..case.body.len() / 2)];
    let (pieces, end) = match case.transfer {
        Transfer::Whole | Transfer::Declares(_) => (vec![case.body.clone()], stream::empty().boxed()),
        Transfer::Chunked(length) => {
            (case.body.chunks(length).map(|chunk| case.body.slice_ref(chunk)).collect(), stream::empty().boxed())
        }
        Transfer::HangsUp => (half(), stream::iter([Err(io::ErrorKind::UnexpectedEof.into())]).boxed()),
        Transfer::Stalls => (half(), stream::pending().boxed()),
        other => panic!("no way to send {other:?}"),
    };
    stream::iter(pieces).map(Ok).chain(end).boxed()
}

fn is_one_whole_delivery(case: &Case) -> bool {
    let whole = matches!(case.transfer, Transfer::Whole | Transfer::Chunked(_));
    whole && case.state == State::Usual && case.method == "POST"
}

/// Does everything up to the handler, without a runtime.
fn verify(cases: &Cases, case: &Case) -> Result<Delivery, Reason> {
    let builder = cases.endpoints[&case.endpoint].builder(&case.endpoint).expect("a sound endpoint");
    let builder = builder.clock(testing::StoppedClock::at(cases.now)).store(MemoryStore::new(1));
    let receiver = builder.build().expect("a sound endpoint");
    let opened = receiver.verify(&headers(case), case.body.clone()).and_then(|verified| receiver.open(verified));
    opened.map_err(|rejection| rejection.reason())
}

/// Describes how a delivery differs from the case's expectation.
fn difference(case: &Case, delivery: &Delivery) -> Option<String> {
    let (kind, variant) = (delivery.kind().map(str::to_owned), read(delivery).variant);
    let documented = kind.as_deref().and_then(|kind| facts(delivery.provider()).kind(kind));
    let wanted = match case.expected.decodes.as_deref() {
        Some("kind") => documented.map_or("", |kind| kind.variant),
        Some("unknown") => "Unknown",
        _ => "Undecodable",
    };
    let same = kind == case.expected.kind && variant == wanted && *delivery.body() == case.body;
    let same = same && reads_body_alike(delivery);
    (!same).then(|| format!("{}: a {variant} of kind {kind:?}", case.name))
}

/// Returns the list. It is read once, because signing takes time for some megabytes.
fn cases() -> &'static Cases {
    static CASES: LazyLock<Cases> = LazyLock::new(|| medhook_conformance::cases().expect("the list makes sense"));
    &CASES
}

#[track_caller]
fn assert_none(failed: &[String]) {
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

//! A provider that sends an event until it is accepted, and sometimes once more.

use std::time::Duration;

use medhook::testing::Signing;
use medhook::{Bytes, Reason, Received, RequestHead};
use tokio::time::{sleep, timeout};

use crate::handler::handle;
use crate::world::{SECRET, World};

/// The answer as the sender sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Status(u16),
    Rejected(Reason),
    HungUp,
}

pub async fn send_until_accepted(world: World, number: u64) {
    let begins = world.chance().seconds(0, 3 * 3600);
    sleep(begins).await;
    loop {
        world.store().check();
        let copies = if world.chance().in_a_hundred(15) { 3 } else { 1 };
        let attempts: Vec<_> =
            std::iter::repeat_with(|| tokio::spawn(attempt(world.clone(), number))).take(copies).collect();
        let mut accepted = false;
        for attempt in attempts {
            let answer = attempt.await.expect("a promise was broken");
            accepted |= accepts(&world, number, answer);
        }
        if accepted {
            break;
        }
        let wait = world.chance().seconds(1, 90);
        sleep(wait).await;
    }
    world.event(number, |event| event.accepted = true);
    if world.chance().in_a_hundred(20) {
        let later = world.chance().seconds(0, 1800);
        sleep(later).await;
        let answer = attempt(world.clone(), number).await;
        accepts(&world, number, answer);
    }
}

/// Returns whether the answer ends the retries. It must not, unless the event was handled.
fn accepts(world: &World, number: u64, answer: Answer) -> bool {
    let accepted = match answer {
        Answer::Status(status) => status == 200,
        Answer::Rejected(reason) => reason.status().is_success(),
        Answer::HungUp => false,
    };
    let handled = world.event(number, |event| !event.handled_by.is_empty());
    assert!(handled || !accepted, "{answer:?} for an event that was not handled");
    accepted
}

async fn attempt(world: World, number: u64) -> Answer {
    let (receiver, clock_was_off_by) = world.a_receiver();
    let body = format!(r#"{{"api_mode":"live","type":"webhook.test","id":"event-{number}","data":{{}}}}"#);
    let signed = Signing::standard_webhooks().headers(SECRET, "msg_1", &world.true_time().to_string(), body.as_bytes());
    let mut pieces = vec![Ok(Bytes::from(body))];
    let hangs_up_within_the_body = world.chance().in_a_hundred(4);
    if hangs_up_within_the_body {
        pieces.push(Err("gone"));
    }
    let headers = signed.expect("a secret");
    let received = receiver.receive(&RequestHead::new("POST", "/", &headers), futures_util::stream::iter(pieces)).await;
    let delivery = match received {
        Ok(Received::Delivery(delivery)) => delivery,
        Ok(Received::Reply(_)) => panic!("the provider has no handshake"),
        Err(rejection) => {
            let expected = match rejection.reason() {
                Reason::BodyIncomplete => hangs_up_within_the_body,
                Reason::Stale => clock_was_off_by > 300,
                Reason::InTheFuture => clock_was_off_by < -300,
                _ => false,
            };
            assert!(expected, "a genuine delivery was rejected: {}", rejection.reason());
            return Answer::Rejected(rejection.reason());
        }
    };
    let admitted = match receiver.admit(delivery) {
        Ok(admitted) => admitted,
        Err(rejection) => return ours(rejection.reason()),
    };
    let token = *admitted.delivery().claim_token().expect("let in").as_bytes();
    let handler = handle(world.clone(), number, admitted.delivery().clone());
    let task = tokio::spawn(admitted.run(handler, |status| *status == 200));
    let process = task.abort_handle();
    if world.trouble().crashes && world.chance().in_a_hundred(5) {
        world.store().excuse(token);
        let until = world.chance().seconds(0, 60);
        tokio::spawn(async move {
            sleep(until).await;
            process.abort();
        });
    }
    let patience = if world.chance().in_a_hundred(10) { Duration::from_millis(100) } else { Duration::from_secs(60) };
    match timeout(patience, task).await {
        Ok(Ok(Ok(status))) => Answer::Status(status),
        Ok(Ok(Err(rejection))) => ours(rejection.reason()),
        // The process died or the sender timed out. The handler may still run.
        Ok(Err(_)) | Err(_) => Answer::HungUp,
    }
}

/// Checks that a verified delivery is rejected only for an internal error or as a duplicate.
fn ours(reason: Reason) -> Answer {
    assert!(reason.status().is_server_error() || reason == Reason::Duplicate, "{reason} for a genuine delivery");
    Answer::Rejected(reason)
}

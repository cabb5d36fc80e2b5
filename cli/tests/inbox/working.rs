//! Commands while a worker runs, and commands that are stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use medhook::inbox::Filter;
use medhook::{Delivery, Handled, Worker};
use rustix::process::{Pid, Signal, kill_process};

use crate::program::command;
use crate::stage::{Stage, not_found, until};

#[tokio::test(flavor = "multi_thread")]
async fn replayed_events_are_handled_by_a_running_worker_and_processing_ones_are_not_changed() {
    let stage = Stage::sqlite().await;
    for number in 1..=20 {
        stage.store(number).await;
    }
    stage.handle(not_found).await;
    let (handled, stays) = (Arc::new(AtomicU32::new(0)), Arc::new(tokio::sync::Notify::new()));
    let (count, wait) = (handled.clone(), stays.clone());
    let worker = Worker::builder(&stage.receiver).workers(2).handler(move |delivery: Delivery| {
        let (count, wait) = (count.clone(), wait.clone());
        async move {
            assert!(delivery.is_replay());
            if count.fetch_add(1, Ordering::SeqCst) == 0 {
                wait.notified().await;
            }
            Handled::done()
        }
    });
    let worker = tokio::spawn(worker.unwrap().run());
    stage.inbox(&["replay", "7"]).says(0, "1 event replayed");
    until(async || handled.load(Ordering::SeqCst) == 1).await;
    stage.inbox(&["replay", "7"]).says(1, "a worker is handling it; wait for the result: 7");
    stage.inbox(&["discard", "7", "--because", "x"]).says(1, "a worker is handling it; wait for the result: 7");
    stage.inbox(&["show", "7"]).says(0, "event 7: processing").says(0, "the lease ends");
    let key = stage.inbox(&["show", "7", "--json"]).json()[0]["event_key"].as_str().unwrap().to_owned();
    let forget = ["forget", "--endpoint", "clinic", "--because", "x", "--event-key", &key];
    stage.run(&forget).says(2, "the event is in the inbox and not finished").says(2, "`medhook inbox replay 7`");
    stage.inbox(&["replay", "--status", "dead", "--rate", "1000/s"]).says(0, "19 events replayed");
    until(async || handled.load(Ordering::SeqCst) == 20).await;
    stays.notify_one();
    until(async || stage.counts().await.endpoints.iter().all(|counts| counts.waiting + counts.processing == 0)).await;
    stage.inbox(&["stats", "--fail-on-dead"]).says(0, "clinic");
    worker.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_stopped_says_how_far_it_came_and_continues() {
    let stage = Stage::sqlite().await;
    for number in 1..=3 {
        stage.store(number).await;
    }
    stage.handle(not_found).await;
    let child = command(stage.folder(), &["inbox", "replay", "--status", "dead", "--rate", "1/m"]).spawn().unwrap();
    until(async || stage.inbox.count(&Filter::new()).await.unwrap() == 2).await;
    // The signals are listened to before the first replay.
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(
        err.contains("stopped: 1 of 3 replayed before the signal; run the same command again to continue"),
        "{err}"
    );
    stage.inbox(&["replay", "--status", "dead"]).says(0, "2 events replayed");
}

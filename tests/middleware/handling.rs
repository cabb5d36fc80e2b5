//! The handling of an event between its delivery and its response.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use medhook_tests::route::Route;
use medhook_tests::sender::begin;

use crate::endpoint::{Slow, genuine, receiver, status, until};
use crate::servers;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_500_concurrent_copies_reaches_the_handler() {
    rlimit::increase_nofile_limit(4_096).expect("sockets for 500 connections at both ends");
    for (name, start) in servers::ALL {
        let slow = Slow::default();
        let address = start(slow.route());
        let copies: Vec<_> = (0..500).map(|_| tokio::spawn(status(address))).collect();
        // The first is held until all others are answered, so that all of them are concurrent.
        let mut answers = Vec::new();
        let (mut waiting, mut let_go) = (copies, false);
        while !waiting.is_empty() {
            let (answered, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|copy| copy.is_finished());
            for copy in answered {
                answers.push(copy.await.expect("an answer"));
            }
            waiting = rest;
            if waiting.len() == 1 && !let_go {
                slow.let_go();
                let_go = true;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(slow.begun(), 1, "{name}");
        assert_eq!(answers.iter().filter(|status| **status == 503).count(), 499, "{name}");
        assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_hangs_up_does_not_stop_the_handler() {
    for (name, start) in servers::ALL {
        let slow = Slow::default();
        let address = start(slow.route());
        let socket = begin(address, "/0", &genuine()).await;
        until("the handler has begun", || slow.begun() == 1).await;
        drop(socket);
        // By the time another delivery on a new connection is answered, the server has noticed the closed one.
        assert_eq!(status(address).await, 503, "{name}: still claimed");
        slow.let_go();
        until("the handler is done", || slow.done.load(Ordering::SeqCst) == 1).await;
        let mut last = 503;
        while last == 503 {
            last = status(address).await;
        }
        assert_eq!((last, slow.begun()), (200, 1), "{name}: the claim is committed, the retry a duplicate");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_panic_or_a_failure_the_retry_is_handled() {
    for (name, start) in servers::ALL {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let handle = move |_| {
            let call = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                match call {
                    0 => panic!("the handler's own"),
                    1 => 404,
                    _ => 204,
                }
            }
        };
        let address = start(Arc::new([Route::new(receiver(), handle)]));
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(status(address).await);
        }
        assert_eq!(answers, [500, 404, 204, 200], "{name}");
        assert_eq!(calls.load(Ordering::SeqCst), 3, "{name}");
    }
}

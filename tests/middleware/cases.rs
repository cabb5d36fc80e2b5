//! Plays the whole list of cases.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use medhook_conformance::{Case, Transfer, cases};
use medhook_tests::route::Route;
use medhook_tests::sender::{Outgoing, Response, send};
use medhook_tests::stage::Stage;

use crate::http2;
use crate::servers::{self, Start};

/// Plays all cases that the sender can send, and panics with a list of those that came out otherwise.
async fn play_all<F>(start: Start, send: impl Fn(SocketAddr, String, Outgoing) -> F + Copy, can: impl Fn(&Case) -> bool)
where
    F: Future<Output = Response> + Send + 'static,
{
    rlimit::increase_nofile_limit(8_192).expect("sockets for all of them, at both ends");
    let list = cases().expect("the list of cases");
    let stages: Arc<[Stage]> = Stage::all(&list).into();
    let address = start(Route::stages(&stages));

    let play = |n: usize| {
        let stage = &stages[n];
        async move {
            let sends = || send(address, format!("/{n}"), (&stage.case).into()).boxed();
            let wrong = match stage.play(sends).await {
                Ok(response) => answered(stage, response).err(),
                Err(wrong) => Some(wrong),
            };
            wrong.map(|wrong| format!("{}: {wrong}", stage.case.name))
        }
    };
    // Under load any body could be late, so cases with a short body timeout are played afterwards.
    let patient = |n: &usize| list.endpoints[&stages[*n].case.endpoint].body_timeout_ms.is_none();
    let playable = (0..stages.len()).filter(|n| can(&stages[*n].case));
    let (crowd, impatient): (Vec<_>, Vec<_>) = playable.partition(patient);
    let mut wrong = Vec::new();
    for some in [crowd, impatient] {
        wrong.extend(futures_util::future::join_all(some.into_iter().map(play)).await.into_iter().flatten());
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), stages.len(), wrong.join("\n"));
}

/// Checks the response that the sender received.
fn answered(stage: &Stage, response: Response) -> Result<(), String> {
    let expected = &stage.case.expected;
    let Some(response) = response else {
        // A sender that hung up may not get a response.
        return if stage.case.transfer == Transfer::HangsUp { Ok(()) } else { Err("no response".to_owned()) };
    };
    if response.status() != expected.status {
        return Err(format!("the sender got {}", response.status()));
    }
    if !response.body().is_empty() {
        return Err("a body in the answer".to_owned());
    }
    let has = |name| response.headers().contains_key(name);
    let retry_after = expected.reason.is_some() && expected.status == 503;
    if has("retry-after") != retry_after || has("allow") != (expected.status == 405) {
        return Err(format!("headers {:?}", response.headers()));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hyper_and_tower_answer_every_case() {
    play_all(servers::hyper, send, |_| true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axum_answers_every_case() {
    play_all(servers::axum, send, |_| true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actix_web_answers_every_case() {
    play_all(servers::actix, send, |_| true).await;
}

/// Returns false for a canceled stream, which gets no response; `http2.rs` tests those.
fn has_an_answer(case: &Case) -> bool {
    case.transfer != Transfer::HangsUp
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hyper_and_tower_answer_every_case_over_http2() {
    play_all(http2::hyper, http2::send, has_an_answer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axum_answers_every_case_over_http2() {
    play_all(servers::axum, http2::send, has_an_answer).await;
}

//! The whole list of cases.

use std::sync::Arc;

use futures_util::FutureExt;
use medhook::testing::{Transfer, cases};
use medhook_tests::route::Route;
use medhook_tests::sender::{Response, send};
use medhook_tests::stage::Stage;

use crate::servers::{self, Start};

async fn play_all(start: Start) {
    let stages: Arc<[Stage]> = Stage::all(&cases().expect("the list of cases")).into();
    let address = start(Route::stages(&stages));

    let plays = stages.iter().enumerate().map(|(n, stage)| async move {
        let sends = || send(address, format!("/{n}"), (&stage.case).into()).boxed();
        let wrong = match stage.play(sends).await {
            Ok(response) => answered(stage, response).err(),
            Err(wrong) => Some(wrong),
        };
        wrong.map(|wrong| format!("{}: {wrong}", stage.case.name))
    });
    let wrong: Vec<String> = futures_util::future::join_all(plays).await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), stages.len(), wrong.join("\n"));
}

/// What the sender must have got.
fn answered(stage: &Stage, response: Response) -> Result<(), String> {
    let expected = &stage.case.expected;
    let Some(response) = response else {
        // Who hung up may not be told any more.
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
    play_all(servers::hyper).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axum_answers_every_case() {
    play_all(servers::axum).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actix_web_answers_every_case() {
    play_all(servers::actix).await;
}

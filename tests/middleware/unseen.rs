//! A program without a log subscriber: a debug build shows on standard error that something is wrong.

use std::process::Command;

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use medhook::{Delivery, testing};
use medhook_axum::VerifyLayer;
use tower::ServiceExt;

use crate::endpoint::{SECRET, receiver};

/// The variable that selects whether a process of its own makes the [`mistakes`]; this process does not.
const PROGRAM: &str = "MEDHOOK_TEST_PROGRAM";

/// Forged deliveries, and requests to a route without the layer.
#[tokio::test]
async fn mistakes() {
    match std::env::var(PROGRAM).as_deref() {
        Ok("with a subscriber") => {
            tracing::subscriber::set_global_default(tracing_subscriber::registry()).expect("the first one");
        }
        Ok("without") => {}
        _ => return,
    }
    let handler = async |_: Delivery| ();
    let app = Router::new().route("/forgotten", post(handler));
    let app = app.route("/", post(handler).layer(VerifyLayer::new(receiver())));
    let sample = testing::healthsync("document.uploaded").secret(SECRET).body("{\"canary\":1}");
    for _ in 0..3 {
        let forged = sample.request("/").map(|_| Body::from("canary"));
        assert_eq!(app.clone().oneshot(forged).await.expect("an answer").status(), 401);
        tokio::task::yield_now().await; // the task that writes the counts of rejections begins
        let misplaced = sample.request("/forgotten").map(Body::from);
        assert_eq!(app.clone().oneshot(misplaced).await.expect("an answer").status(), 500);
    }
}

/// Runs the mistakes in a process of their own, and returns its lines about them.
fn lines(program: &str) -> Vec<String> {
    let mut command = Command::new(std::env::current_exe().expect("a test"));
    let output = command.args(["--exact", "unseen::mistakes", "--nocapture"]).env(PROGRAM, program).output();
    let output = output.expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stderr).expect("text");
    assert!(!text.contains("canary"), "{text}");
    text.lines().filter(|line| line.starts_with("medhook: ")).map(str::to_owned).collect()
}

#[test]
fn without_a_subscriber_the_first_rejection_and_a_missing_layer_are_shown_in_a_debug_build() {
    let shown = [
        "medhook: delivery rejected: signature_mismatch; endpoint healthsync; this is not in the log because no \
         `tracing` subscriber is installed, and further rejections are not shown at all; install one, for example \
         with `tracing_subscriber::fmt::init()`",
        "medhook: a handler extracts `Delivery`, but its route has no `VerifyLayer`, so every request is answered \
         500; add `.layer(VerifyLayer::new(receiver))` to the route",
    ];
    assert_eq!(lines("without"), shown.map(str::to_owned)[..if cfg!(debug_assertions) { 2 } else { 0 }]);
}

#[test]
fn with_a_subscriber_nothing_is_written_to_standard_error() {
    assert_eq!(lines("with a subscriber"), [""; 0]);
}

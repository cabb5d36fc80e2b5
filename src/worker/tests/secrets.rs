//! Workers of a receiver whose secrets are replaced.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_worker_goes_on_with_events_of_old_and_new_secrets() {
    const NEW: &str = "fedcba9876543210";
    let stage = Stage::new().await;
    let secrets = Arc::new(Mutex::new(Vec::new()));
    let seen = secrets.clone();
    let handler = move |delivery: Delivery| {
        seen.lock().unwrap().push(delivery.secret_label().to_owned());
        async { Handled::done() }
    };
    stage.store(0..1).await;
    let new = Secret::new(NEW).unwrap().labeled("2026").unwrap();
    let custom = Custom::new("acme", SharedSecret::new("x-key"), new).id_pointer("/id");
    stage.receiver.replace_secrets(custom).unwrap();
    let running = tokio::spawn(stage.worker().handler(handler).unwrap().run());
    sleep(POLL).await;

    let headers = [("x-key", NEW)];
    let delivery = stage.receiver.verify(&headers, Bytes::from_static(br#"{"id":"1"}"#)).unwrap();
    let delivery = stage.receiver.open(delivery).unwrap();
    let stored = stage.receiver.admit(delivery).unwrap().run(async {}, |()| true).await.unwrap_err();
    assert_eq!(stored.reason(), crate::Reason::Stored);
    sleep(POLL).await;
    assert_eq!(*secrets.lock().unwrap(), ["secret", "2026"]);
    stage.receiver.drain(SECOND).await;
    running.await.unwrap();
}

//! Workers with the routers of an application.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use medhook::inbox::{Filter, Status};
use medhook::{Bodies, Delivery, Fasten, Keyring, Receiver, Secret, SqliteStore, Worker, testing};
use medhook_axum::VerifyLayer;
use tower::ServiceExt;

const SECRETS: [(&str, &str); 2] =
    [("north", "whsec_dGhlIHNlY3JldCBvZiB0aGUgbm9ydGg="), ("south", "whsec_dGhlIHNlY3JldCBvZiB0aGUgc291dGg=")];

/// The tenant of the path, the endpoint of the delivery, and its id, of each attempt.
type Handled = Arc<Mutex<Vec<(String, String, String)>>>;

async fn on_fasten(State(handled): State<Handled>, Path(tenant): Path<String>, delivery: Delivery) -> StatusCode {
    let attempt = (tenant, delivery.endpoint().to_owned(), delivery.id().unwrap().to_owned());
    handled.lock().unwrap().push(attempt);
    StatusCode::OK
}

/// The router of the guide for tenants: behind the layer for requests, and without it for the workers.
#[tokio::test]
async fn the_worker_of_each_tenant_calls_the_router_with_the_path_of_the_tenant() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("medhook.db")).await.unwrap();
    let keyring = Keyring::new(Secret::new("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").unwrap()).unwrap();
    let inbox = store.inbox(Bodies::sealed(keyring)).await.unwrap();
    let receivers: HashMap<_, _> = SECRETS
        .iter()
        .map(|(tenant, secret)| {
            let fasten = Fasten::live(Secret::new(*secret).unwrap().labeled(tenant).unwrap());
            let receiver = Receiver::builder(format!("fasten-{tenant}"), fasten).inbox(inbox.clone());
            ((*tenant).to_owned(), receiver.build().unwrap())
        })
        .collect();
    let handled = Handled::default();
    let handlers: Router =
        Router::new().route("/webhooks/{tenant}/fasten", post(on_fasten)).with_state(handled.clone());
    let workers: Vec<_> = receivers
        .values()
        .map(|receiver| Worker::builder(receiver).workers(2).service::<Body, _>(handlers.clone()).unwrap())
        .map(|worker| tokio::spawn(worker.run()))
        .collect();
    let known = receivers.clone();
    let app = handlers.layer(VerifyLayer::per_tenant(move |Path(tenant): Path<String>| {
        let receiver = known.get(&tenant).cloned();
        async move { Ok::<_, Infallible>(receiver) }
    }));

    let status = async |tenant: &str, secret: &str, id: &str| {
        let sample = testing::fasten("patient.ehi_export_success").id(id).secret(secret);
        let request = sample.request(&format!("/webhooks/{tenant}/fasten?token=1")).map(Body::from);
        app.clone().oneshot(request).await.unwrap().status()
    };
    let (north, south) = (SECRETS[0].1, SECRETS[1].1);
    assert_eq!(status("north", north, "1").await, StatusCode::OK);
    assert_eq!(status("south", south, "1").await, StatusCode::OK);
    assert_eq!(status("south", south, "2").await, StatusCode::OK);
    assert_eq!(status("south", north, "3").await, StatusCode::UNAUTHORIZED);
    assert_eq!(status("west", north, "4").await, StatusCode::UNAUTHORIZED);

    let all_done = async {
        while inbox.list(&Filter::new().status(Status::Done)).await.unwrap().len() < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all_done).await.expect("all events are handled");
    for receiver in receivers.values() {
        receiver.drain(Duration::from_secs(10)).await;
    }
    for worker in workers {
        worker.await.unwrap();
    }
    let mut handled = handled.lock().unwrap().clone();
    handled.sort();
    let expected = [("north", "1"), ("south", "1"), ("south", "2")];
    assert_eq!(handled, expected.map(|(tenant, id)| (tenant.into(), format!("fasten-{tenant}"), id.into())));
}

use medhook::testing::{self, Signing};
use medhook::{Bodies, Custom, Delivery, NoDedupe, Reason, Secret, SharedSecret, SqliteStore};
use tokio::time::sleep;

use super::*;
use crate::receive::forward::ForwardAnswer;
use crate::receive::health::{Health, Needs, Phase};
use crate::receive::report::{DeliveryReport, RejectionCause, ReportedOutcome};

const SECRET: &str = "mark-secret-of-some-length";

fn provider(label: &str, secret: &str) -> Custom {
    let secret = Secret::new(secret).unwrap().labeled(label).unwrap();
    Custom::new("acme", SharedSecret::new("x-secret"), secret).id_pointer("/id").kind_pointer("/type")
}

fn receiver() -> Receiver {
    Receiver::builder("lab", provider("2026", SECRET)).store(NoDedupe).build().unwrap()
}

fn delivery(receiver: &Receiver, id: &str) -> Delivery {
    let body = serde_json::json!({ "id": id, "type": "result", "patient": "mark-in-body" }).to_string();
    let sample = testing::azodha("BookAppointment").signing(Signing::shared_secret("x-secret"));
    let request = sample.secret(SECRET).body(body).request("/lab?mark=mark-in-query");
    receiver.open(receiver.verify(request.headers(), request.body().clone()).unwrap()).unwrap()
}

fn report<'r>(result: ReportedOutcome, delivery: Option<&'r Delivery>) -> DeliveryReport<'r> {
    DeliveryReport {
        time: jiff::Timestamp::now(),
        endpoint: "lab",
        path: "/lab",
        provider: "acme",
        result,
        delivery,
        decoding: None,
        upstream: None,
    }
}

fn observed() -> Arc<Observed> {
    let health = Arc::new(Health::new(Needs { store: true, output: None }));
    Arc::new(Observed::new(health, Connections::default(), 100, "sqlite:medhook.db".to_owned()))
}

fn endpoint(observed: &Observed, receiver: &Receiver, has_inbox: bool) -> Arc<ObservedEndpoint> {
    let target = Some("http://127.0.0.1:3000/lab".to_owned());
    let facts = EndpointFacts { path: "/lab".to_owned(), target, expect_every: None, has_inbox };
    observed.endpoint(receiver.clone(), facts)
}

fn sum(observed: &Observed, number: impl Fn(&state::Point) -> u64) -> u64 {
    observed.overview().history.points.iter().map(number).sum()
}

#[tokio::test]
async fn before_the_store_is_open_the_page_has_no_endpoints() {
    let observed = observed();
    let overview = observed.overview();
    assert_eq!((overview.not_ready, &*overview.store), (Some("starting"), "sqlite:medhook.db"));
    assert!(overview.endpoints.is_empty() && overview.inbox.is_none() && overview.problems.is_empty());
    let error = observed.events(&EventsQuery::default()).await.err().unwrap();
    assert!(error.to_string().contains("the receiver is starting"), "{error}");
    observed.health.enter(Phase::Serving);
    assert_eq!(observed.overview().not_ready, None);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unverified_deliveries_is_counted_exactly_and_hides_no_verified_one() {
    let (observed, receiver) = (observed(), receiver());
    let lab = endpoint(&observed, &receiver, false);
    observed.serve(vec![lab.clone()], None);
    let delivery = delivery(&receiver, "1");
    lab.reported(&report(ReportedOutcome::Answered(http::StatusCode::OK), Some(&delivery)));
    let cause = || RejectionCause::from(Reason::SignatureMismatch);
    for _ in 0..10 {
        let status = Reason::SignatureMismatch.status();
        lab.reported(&report(ReportedOutcome::Rejected { cause: cause(), status, kind: None, secret: None }, None));
        (0..999).for_each(|_| lab.rejected());
        lab.reported(&report(ReportedOutcome::Counted(cause(), 999), None));
    }
    assert_eq!((sum(&observed, |point| point.rejected), sum(&observed, |point| point.accepted)), (10_000, 1));
    let recent = observed.recent(&RecentQuery::default());
    assert_eq!(recent.iter().map(|recent| recent.count).sum::<u64>(), 10_001);
    let verified: Vec<_> = recent.iter().filter(|recent| recent.outcome == "handled").collect();
    assert_eq!(verified.len(), 1);
    assert_eq!((verified[0].secret.as_deref(), verified[0].kind.as_deref()), (Some("2026"), Some("result")));
    let problems = observed.overview().problems;
    assert_eq!(problems.len(), PROBLEMS);
    let expected = Reason::SignatureMismatch.next_step();
    assert_eq!(
        (problems[0].reason.as_deref(), problems[0].next_step.as_deref()),
        (Some("signature_mismatch"), Some(expected))
    );
}

#[tokio::test(start_paused = true)]
async fn deliveries_are_counted_by_what_became_of_them() {
    let (observed, receiver) = (observed(), receiver());
    let lab = endpoint(&observed, &receiver, false);
    observed.serve(vec![lab.clone()], None);
    let delivery = delivery(&receiver, "1");
    for reason in [Reason::Stored, Reason::Duplicate, Reason::InFlight, Reason::Stale, Reason::StoreUnavailable] {
        let (cause, status) = (RejectionCause::from(reason), reason.status());
        lab.reported(&report(ReportedOutcome::Rejected { cause, status, kind: None, secret: None }, Some(&delivery)));
    }
    for status in [200, 404, 503] {
        let status = http::StatusCode::from_u16(status).unwrap();
        lab.reported(&report(ReportedOutcome::Answered(status), Some(&delivery)));
    }
    let counts = |point: &state::Point| [point.accepted, point.repeated, point.rejected, point.failed];
    assert_eq!(observed.overview().history.points.iter().map(counts).collect::<Vec<_>>(), [[2, 2, 1, 3]]);
}

#[tokio::test(start_paused = true)]
async fn the_application_is_failing_until_it_succeeds() {
    let (observed, receiver) = (observed(), receiver());
    let lab = endpoint(&observed, &receiver, false);
    observed.serve(vec![lab.clone()], None);
    let delivery = delivery(&receiver, "1");
    let state = || {
        let application = observed.overview().endpoints.remove(0).application.unwrap();
        (application.is_failing, application.last_answer.map(|(_, answer)| answer))
    };
    assert_eq!(state(), (false, None));
    let answered = |status: u16, answer: ForwardAnswer| {
        let result = ReportedOutcome::Answered(http::StatusCode::from_u16(status).unwrap());
        lab.reported(&DeliveryReport { upstream: Some(answer), ..report(result, Some(&delivery)) });
    };
    answered(502, ForwardAnswer::NotReached);
    assert_eq!(state(), (true, Some("not_reached".to_owned())));
    answered(200, ForwardAnswer::from(http::StatusCode::OK));
    assert_eq!(state(), (false, Some("200".to_owned())));
    let (cause, status) = (RejectionCause::from(Reason::HandlerTimeout), Reason::HandlerTimeout.status());
    lab.reported(&report(ReportedOutcome::Rejected { cause, status, kind: None, secret: None }, Some(&delivery)));
    assert_eq!(state(), (true, Some("handler_timeout".to_owned())));
}

#[tokio::test]
async fn replaced_secrets_are_shown_by_their_labels() {
    let (observed, receiver) = (observed(), receiver());
    observed.serve(vec![endpoint(&observed, &receiver, false)], None);
    let labels = || {
        let secrets = observed.overview().endpoints.remove(0).secrets;
        secrets.into_iter().map(|secret| secret.label).collect::<Vec<_>>()
    };
    assert_eq!(labels(), ["2026"]);
    receiver.replace_secrets(provider("2027", "another-secret-of-some-length")).unwrap();
    assert_eq!(labels(), ["2027"]);
}

#[tokio::test]
async fn the_inbox_is_sampled_and_its_events_are_listed_newest_first() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::builder().open(folder.path().join("medhook.db")).await.unwrap();
    let inbox = store.inbox(Bodies::plaintext()).await.unwrap();
    let build = |name: &str| Receiver::builder(name, provider("2026", SECRET)).inbox(inbox.clone()).build().unwrap();
    let (lab, gone) = (build("lab"), build("gone"));
    for (receiver, count) in [(&lab, 60), (&gone, 3)] {
        for id in 0..count {
            let stored = receiver.admit(delivery(receiver, &format!("mark-in-id-{id}"))).unwrap();
            let stored = stored.run(async { true }, |handled| *handled).await.unwrap_err();
            assert_eq!(stored.reason(), Reason::Stored);
        }
    }
    let observed = observed();
    let observed_lab = endpoint(&observed, &lab, true);
    observed.serve(vec![observed_lab], Some((inbox.clone(), "in clear".to_owned())));
    assert!(observed.overview().endpoints[0].inbox.is_none(), "not yet sampled");
    let sampling = tokio::spawn(observed.clone().sample());
    while observed.overview().inbox.unwrap().sampled.is_none() {
        sleep(Duration::from_millis(5)).await;
    }
    let overview = observed.overview();
    let counts = overview.endpoints[0].inbox.as_ref().unwrap();
    assert_eq!((counts.waiting, counts.dead), (60, 0));
    while observed.overview().history.points.last().unwrap().backlog.is_none() {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(observed.overview().history.points.last().unwrap().backlog, Some(60));
    let state = overview.inbox.unwrap();
    let others: Vec<_> = state.others.iter().map(|counts| (&*counts.endpoint, counts.waiting)).collect();
    assert_eq!((others, state.is_failing), (vec![("gone", 3)], false));

    let mut query = EventsQuery { endpoint: Some("lab".to_owned()), ..EventsQuery::default() };
    let first = observed.events(&query).await.unwrap().unwrap();
    assert!(first.page.is_sorted_by(|one, next| one.id > next.id) && first.page.len() == 50);
    assert_eq!(first.next, first.page.last().map(|entry| entry.id));
    assert_eq!(first.kinds.iter().map(|kind| kind.count).sum::<u64>(), 63);
    assert!(first.is_complete && first.endpoints == ["lab"]);
    query.before = first.next;
    let rest = observed.events(&query).await.unwrap().unwrap();
    assert_eq!((rest.page.len(), rest.next), (10, None));
    let id = rest.page[0].id;
    assert_eq!(observed.event(id).await.unwrap().unwrap().entry.id, id);
    assert!(observed.event(1_000_000).await.unwrap().is_none());

    inbox.pause("lab", &medhook::inbox::Operator::new("test", "a test").unwrap()).await.unwrap();
    assert_eq!(observed.events(&query).await.unwrap().unwrap().paused, ["lab"], "without waiting for a sample");
    assert!(observed.event(id).await.unwrap().unwrap().is_paused);
    sampling.abort();
}

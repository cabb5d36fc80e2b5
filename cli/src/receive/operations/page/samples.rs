//! States of a receiver, for tests and pictures.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use medhook::inbox::{AuditEntry, EndpointCounts, Entry, Filter, Hold, Operator, Status};
use medhook::sign::Signer;
use medhook::{Bodies, Bytes, Custom, EventKey, HmacSha256Body, Receiver, Secret, SqliteStore};

use super::super::observed::state::*;

pub(super) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_935_852)
}

pub(super) fn ago(seconds: u64) -> SystemTime {
    now() - Duration::from_secs(seconds)
}

/// A text that would be a script, leave an attribute, or turn the direction of text.
pub(super) const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=y>\u{202e}\n\u{1b}[2J&amp;";

/// Returns an event, and what an operator did with it, from a real inbox: only the library can create them.
fn stored() -> &'static (Entry, AuditEntry) {
    static STORED: OnceLock<(Entry, AuditEntry)> = OnceLock::new();
    STORED.get_or_init(|| {
        let create = || async {
            let folder = tempfile::tempdir().unwrap();
            let store = SqliteStore::open(folder.path().join("medhook.db")).await.unwrap();
            let inbox = store.inbox(Bodies::plaintext()).await.unwrap();
            let secret = Secret::new("0123456789abcdef0123456789abcdef").unwrap();
            let custom = Custom::new("acme", HmacSha256Body::new("x-acme"), secret.clone()).id_pointer("/id");
            let receiver = Receiver::builder("lab", custom).inbox(inbox.clone()).build().unwrap();
            let body = Bytes::from_static(br#"{"id":"1"}"#);
            let signed = Signer::new(HmacSha256Body::new("x-acme"), &secret).unwrap().sign("", 0, &body).unwrap();
            let delivery = receiver.open(receiver.verify(&signed, body).unwrap()).unwrap();
            receiver.admit(delivery).unwrap().run(async {}, |()| true).await.unwrap_err();
            let entry = inbox.list(&Filter::new()).await.unwrap().remove(0);
            inbox.pause("lab", &Operator::new("jdoe", "ticket 4711").unwrap()).await.unwrap();
            (entry, inbox.audit(0, 1).await.unwrap().remove(0))
        };
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // On a thread, because a test may be in a runtime.
        std::thread::spawn(move || runtime().block_on(create())).join().unwrap()
    })
}

pub(super) fn entry(id: i64, status: Status, reason: Option<&str>) -> Entry {
    let mut entry = stored().0.clone();
    (entry.id, entry.status, entry.reason) = (id, status, reason.map(str::to_owned));
    (entry.endpoint, entry.provider) = ("fasten".to_owned(), "fasten".to_owned());
    entry.kind = "patient.ehi_export_success".to_owned();
    entry.secret = "FASTEN_SECRET".to_owned();
    (entry.stored_at, entry.size, entry.attempts) = (ago(7_500), 18_220, 3);
    entry.due = match status {
        Status::Waiting => Some(now() + Duration::from_secs(95)),
        Status::Processing => Some(now() + Duration::from_secs(20)),
        _ => None,
    };
    entry.ended_at = entry.due.is_none().then(|| ago(3_700));
    entry.event_key = Some(key());
    entry
}

pub(super) fn audit(action: &str, reason: &str, seconds: u64) -> AuditEntry {
    let mut entry = stored().1.clone();
    (entry.action, entry.reason, entry.at) = (action.to_owned(), reason.to_owned(), ago(seconds));
    entry.id = i64::try_from(seconds).unwrap();
    entry
}

pub(super) fn key() -> EventKey {
    EventKey::from_bytes([0xa7; 32])
}

pub(super) fn recent(outcome: &'static str, reason: Option<&str>, seconds: u64) -> Recent {
    Recent {
        time: ago(seconds),
        endpoint: Arc::from("fasten"),
        outcome,
        reason: reason.map(str::to_owned),
        header: None,
        next_step: None,
        status: Some(200),
        kind: None,
        event_key: None,
        secret: None,
        count: 1,
        attempt: None,
        upstream: None,
    }
}

pub(super) fn attempt(outcome: &'static str, reason: Option<&str>, number: u32, seconds: u64) -> Recent {
    let due = (outcome == "retry").then(|| now() + Duration::from_secs(95));
    Recent {
        status: None,
        kind: Some("patient.ehi_export_success".to_owned()),
        event_key: Some(key()),
        secret: Some("FASTEN_SECRET".to_owned()),
        attempt: Some(RecentAttempt { id: 1234, number, is_replay: false, due }),
        upstream: reason.map(|reason| match reason {
            "unreachable" => "not_reached".to_owned(),
            reason => reason.strip_prefix("status_").unwrap_or("422").to_owned(),
        }),
        ..recent(outcome, reason, seconds)
    }
}

pub(super) fn history(points: usize, point: impl Fn(usize) -> Point) -> History {
    History { step: Duration::from_secs(60), points: (0..points).map(point).collect() }
}

fn usual(at: usize) -> Point {
    let wave = u64::try_from(at * 7 % 13 + at % 5 * 3).unwrap();
    Point {
        accepted: 4 + wave,
        repeated: wave / 9,
        rejected: u64::from(at % 17 == 3),
        failed: 0,
        latency: Some((Duration::from_millis(10), Duration::from_millis(25 + wave * 3))),
        backlog: Some(wave / 4),
        dead: Some(0),
    }
}

fn troubled(at: usize) -> Point {
    let mut point = usual(at);
    if at >= 38 {
        point.failed = 2 + u64::try_from(at % 3).unwrap();
        point.rejected += 3;
        point.backlog = Some(u64::try_from((at - 37) * 11).unwrap());
        point.dead = Some(u64::from(at > 45) * 2);
        point.latency = (at % 6 > 1).then(|| (Duration::from_millis(100), Duration::from_millis(1_000)));
    }
    point
}

pub(super) fn counts(endpoint: &str, numbers: [u64; 3]) -> EndpointCounts {
    let mut counts = EndpointCounts::default();
    counts.endpoint = endpoint.to_owned();
    [counts.waiting, counts.processing, counts.dead] = numbers;
    counts.oldest = (numbers[0] + numbers[1] > 0).then(|| Duration::from_secs(6));
    counts
}

pub(super) fn secret(label: &str, last_used: Option<u64>) -> SecretState {
    SecretState { label: label.to_owned(), is_test: false, last_used: last_used.map(ago) }
}

pub(super) fn endpoint(name: &str) -> EndpointState {
    EndpointState {
        name: name.to_owned(),
        path: format!("/webhooks/{name}"),
        provider: name.to_owned(),
        has_inbox: true,
        inbox: Some(counts(name, [0, 1, 0])),
        application: Some(ApplicationState {
            target: format!("http://127.0.0.1:3000/webhooks/{name}"),
            is_breaker_open: false,
            last_answer: Some((ago(3), "200".to_owned())),
            is_failing: false,
        }),
        last_genuine: Some(ago(4)),
        expect_every: Some(Duration::from_secs(6 * 3_600)),
        secrets: vec![secret(&format!("{}_SECRET", name.to_uppercase()), Some(4))],
        history: history(60, usual),
    }
}

/// A receiver of which nothing is to report.
pub(super) fn calm() -> Overview {
    let mut cair = endpoint("cair");
    (cair.inbox, cair.has_inbox, cair.application, cair.expect_every) = (None, false, None, None);
    cair.secrets.push(SecretState { label: "CAIR_TEST".to_owned(), is_test: true, last_used: None });
    Overview {
        now: now(),
        started: ago(3 * 86_400 + 7_300),
        not_ready: None,
        store: "sqlite:/var/lib/medhook/medhook.db".to_owned(),
        is_store_up: true,
        connections: 3,
        max_connections: 1_024,
        inbox: Some(InboxState {
            sampled: Some(ago(3)),
            is_failing: false,
            hold: Hold::None,
            bodies: "sealed under key 2026-11".to_owned(),
            others: Vec::new(),
        }),
        endpoints: vec![endpoint("fasten"), endpoint("mediquo"), cair],
        history: history(60, usual),
        problems: Vec::new(),
    }
}

/// A receiver just after its start.
pub(super) fn empty() -> Overview {
    let mut overview = calm();
    overview.started = ago(8);
    overview.history.points.clear();
    for endpoint in &mut overview.endpoints {
        endpoint.history.points.clear();
        endpoint.last_genuine = None;
        endpoint.inbox = endpoint.inbox.take().map(|_| counts(&endpoint.name, [0, 0, 0]));
        endpoint.secrets.iter_mut().for_each(|secret| secret.last_used = None);
        if let Some(application) = &mut endpoint.application {
            application.last_answer = None;
        }
    }
    overview
}

/// A receiver with most problems at once.
pub(super) fn trouble() -> Overview {
    let mut overview = calm();
    overview.history = history(60, troubled);
    let [fasten, mediquo, cair] = &mut *overview.endpoints else { unreachable!() };
    let mut numbers = counts("fasten", [1_241, 0, 2]);
    numbers.oldest = Some(Duration::from_secs(1_330));
    fasten.inbox = Some(numbers);
    fasten.history = history(60, troubled);
    fasten.application = Some(ApplicationState {
        target: "http://127.0.0.1:3000/webhooks/fasten".to_owned(),
        is_breaker_open: true,
        last_answer: Some((ago(12), "not_reached".to_owned())),
        is_failing: true,
    });
    fasten.secrets.push(secret("FASTEN_SECRET_OLD", None));
    mediquo.inbox.as_mut().unwrap().paused = true;
    cair.expect_every = Some(Duration::from_secs(3_600));
    cair.last_genuine = Some(ago(11_500));
    overview.problems = problems();
    overview
}

pub(super) fn problems() -> Vec<Recent> {
    let rejected = |reason, header: Option<(&str, &'static str)>, next: &str, count, seconds| Recent {
        status: Some(401),
        header: header.map(|(name, detail)| (name.to_owned(), detail)),
        next_step: Some(next.to_owned()),
        count,
        ..recent("rejected", Some(reason), seconds)
    };
    vec![
        attempt("retry", Some("unreachable"), 4, 12),
        rejected(
            "signature_mismatch",
            None,
            "compare the secret with the one at the provider, and check that no proxy changes the body",
            12,
            75,
        ),
        rejected("malformed_header", Some(("webhook-signature", "not base64")), "check what the sender signs", 1, 200),
        attempt("dead", Some("no_such_account"), 1, 1_900),
    ]
}

/// A receiver with many endpoints.
pub(super) fn many() -> Overview {
    let mut overview = calm();
    overview.endpoints = (1..=40).map(|number| endpoint(&format!("laboratory-{number:02}"))).collect();
    for endpoint in overview.endpoints.iter_mut().take(12) {
        endpoint.inbox.as_mut().unwrap().dead = 123_456;
    }
    overview
}

/// A receiver whose texts all come from attackers.
pub(super) fn hostile() -> Overview {
    let mut overview = trouble();
    overview.store = HOSTILE.to_owned();
    for endpoint in &mut overview.endpoints {
        (endpoint.name, endpoint.path, endpoint.provider) =
            (HOSTILE.to_owned(), HOSTILE.to_owned(), HOSTILE.to_owned());
        endpoint.secrets = vec![secret(HOSTILE, None), secret(HOSTILE, Some(1))];
        if let Some(application) = &mut endpoint.application {
            application.target = HOSTILE.to_owned();
            application.last_answer = Some((ago(1), HOSTILE.to_owned()));
        }
    }
    overview.inbox.as_mut().unwrap().others = vec![counts(HOSTILE, [1, 0, 0])];
    overview.inbox.as_mut().unwrap().bodies = HOSTILE.to_owned();
    overview.problems.iter_mut().for_each(taint);
    overview
}

pub(super) fn taint(recent: &mut Recent) {
    recent.endpoint = Arc::from(HOSTILE);
    for text in [&mut recent.reason, &mut recent.next_step, &mut recent.kind, &mut recent.secret, &mut recent.upstream]
    {
        *text = Some(HOSTILE.to_owned());
    }
}

/// Some rows of each outcome.
pub(super) fn deliveries() -> Vec<Recent> {
    let handled = Recent {
        kind: Some("patient.connection_success".to_owned()),
        event_key: Some(key()),
        secret: Some("FASTEN_SECRET".to_owned()),
        ..recent("stored", None, 4)
    };
    let mut rows = vec![handled.clone(), attempt("done", None, 1, 4)];
    rows.extend(problems());
    rows.push(Recent { outcome: "duplicate", time: ago(2_000), ..handled });
    rows
}

pub(super) fn events() -> EventsState {
    let kind = |endpoint: &str, status, kind: &str, count| KindState {
        endpoint: endpoint.to_owned(),
        status,
        kind: kind.to_owned(),
        count,
    };
    EventsState {
        now: now(),
        hold: Hold::None,
        paused: vec!["mediquo".to_owned()],
        endpoints: vec!["fasten".to_owned(), "mediquo".to_owned()],
        kinds: vec![
            kind("fasten", Status::Waiting, "patient.ehi_export_success", 1_204),
            kind("fasten", Status::Waiting, "patient.connection_success", 37),
            kind("fasten", Status::Dead, "patient.ehi_export_success", 2),
            kind("mediquo", Status::Processing, "unknown", 1),
        ],
        is_complete: true,
        page: vec![
            entry(1_240, Status::Waiting, Some("unreachable")),
            entry(1_239, Status::Processing, None),
            entry(1_234, Status::Dead, Some("no_such_account")),
            entry(1_233, Status::Done, None),
            entry(1_232, Status::Discarded, Some("status_422")),
        ],
        next: Some(1_232),
    }
}

pub(super) fn event() -> EventState {
    EventState {
        now: now(),
        entry: entry(1_234, Status::Dead, Some("no_such_account")),
        hold: Hold::None,
        is_paused: false,
        attempts: vec![
            attempt("retry", Some("status_503"), 1, 7_400),
            attempt("dead", Some("no_such_account"), 2, 3_700),
        ],
        audit: vec![audit("replay", "ticket 4711: the account exists now", 7_450)],
    }
}

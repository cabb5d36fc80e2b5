//! Bodies in the files of a sealed inbox, and marks in the output of receivers and commands.

use super::application::Answer;
use super::events::{Event, PROVIDERS};
use super::fleet::{Fleet, usual};
use super::sender::Retries;
use super::settings::Settings;
use super::shared::database::Which;
use super::shared::figures::report;
use super::shared::marks::MARK;

on_both! {
    sealed
    silence
}

async fn sealed(which: Which) {
    for is_sealed in [false, true] {
        let usual_settings = Settings::default();
        let keys = if is_sealed { usual_settings.keys.clone() } else { Vec::new() };
        // The application is down, so everything waits.
        let fleet = Fleet::stopped(which, Settings { keys, ..usual_settings }).await.with(1);
        // Events of another check must not be found.
        let prefix = format!("{is_sealed}-{}", std::process::id());
        let events: Vec<_> = (0..20).map(|number| Event::new(&prefix, number)).collect();
        let mut pieces: Vec<_> = events.iter().map(Event::piece).collect();
        pieces.extend(events.iter().map(|event| event.id.clone().into_bytes()));
        fleet.sender.send_all(Retries::UntilAccepted, 4, events).await;
        // One of them is attempted from time to time.
        let waiting = fleet.tables.rows("status < 2").await;
        let found = fleet.count_in_files(&pieces).await;
        let (bytes, marks) = fleet.silent().await;
        report(
            if is_sealed { "sealed" } else { "in clear, as a control" },
            &fleet.tables.database,
            format!(
                "{waiting} wait, {found} of {} pieces of bodies and ids in the files, {marks} marks in {bytes} bytes \
                 written",
                pieces.len()
            ),
            waiting == 20 && (if is_sealed { found == 0 } else { found == pieces.len() }) && marks == 0,
        );
    }
}

/// Every way in which a delivery and an event can end. The other checks look for marks as well.
async fn silence(which: Which) {
    let fleet = Fleet::start(which, usual(which), Settings { max_attempts: 2, ..Settings::default() }).await;
    fleet.application.answers(|call| match call.before {
        _ if call.is_replay => Answer::Record,
        0 => Answer::RetryAfter(1),
        1 => Answer::Status(500),
        _ => Answer::GiveUp,
    });
    let mut sent = Vec::new();
    for (number, provider) in PROVIDERS.iter().enumerate() {
        let event = Event::of(provider, &format!("silence-{number}"));
        sent.push(fleet.sender.send(Retries::Never, event.clone()).await);
        // A duplicate, a forged one, one that is not JSON, a torn one, and other requests.
        assert_eq!(fleet.sender.try_to_send(&event).await, Some(200));
        let forged = event.head(&super::mounted::secret(provider, 7));
        assert_eq!(fleet.sender.ask(&forged, &event.body).await, Some(401));
        let garbage = Event { body: format!("{MARK} is not JSON").into(), ..event.clone() };
        fleet.sender.try_to_send(&garbage).await;
        let unsigned = format!("POST /{}?{MARK} HTTP/1.1\r\n{MARK}: {MARK}\r\n", provider.name);
        fleet.sender.ask(&unsigned, &event.body).await;
    }
    for head in
        [format!("GET /{MARK} HTTP/1.1\r\n"), format!("{MARK}\r\n"), format!("PUT /fasten HTTP/1.1\r\n{MARK}\r\n")]
    {
        fleet.sender.ask(&head, MARK.as_bytes()).await;
    }
    fleet.until_ended().await;
    for (code, arguments) in [
        (0, &["list", "--json"][..]),
        (0, &["list"]),
        (0, &["list", "--status", "dead", "--endpoint", "mediquo"]),
        (0, &["show", "1"]),
        (0, &["show", "1", "--json"]),
        (0, &["stats", "--json"]),
        (0, &["stats"]),
        (1, &["stats", "--fail-on-dead"]),
        (0, &["show", "1", "--body", "body", "--because", "a check"]),
        (0, &["discard", "1", "--because", "a check"]),
        (0, &["audit", "--json"]),
    ] {
        fleet.inbox(code, arguments);
    }
    let body = fleet.private_file("body");
    assert!(sent.iter().any(|sent| sent.event.body == body), "the body was written to its file");
    let (bytes, marks) = fleet.silent().await;
    // The application did receive the marks.
    let received = fleet.application.events().into_values();
    let received = received.filter(|event| String::from_utf8_lossy(&event.body).contains(MARK)).count();
    report(
        "silence",
        &fleet.tables.database,
        format!("{marks} marks in {bytes} bytes of logs, metrics, lists and reports of {received} marked events"),
        marks == 0 && received >= sent.len(),
    );
}

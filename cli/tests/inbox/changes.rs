//! `replay`, `discard`, `pause`, `hold` and `purge`.

use std::time::Duration;

use medhook::inbox::{Filter, Hold, Status};

use crate::stage::{CONFIG, Stage, done, not_found};

#[tokio::test(flavor = "multi_thread")]
async fn events_are_replayed_and_discarded_one_by_one_and_by_filters() {
    let stage = Stage::sqlite().await;
    for number in 1..=4 {
        stage.store(number).await;
    }
    stage.handle(not_found).await;
    stage.store(5).await;
    stage.handle(done).await;
    let operator = ["--actor", "jdoe", "--because", "ticket 4711"];

    stage.inbox(&["replay"]).says(2, "by their ids, or select them");
    stage.inbox(&["replay", "1", "--status", "dead"]).says(2, "not both");
    stage.inbox(&["replay", "--status", "discarded"]).says(2, "cannot be replayed");
    stage.inbox(&["replay", "1", "--rate", "10"]).says(2, "such as 10/s");
    stage.inbox(&["replay", "1", "--actor", "j doe"]).says(2, "actor");
    stage
        .inbox(&["replay", "--endpoint", "clinic", "--dry-run"])
        .says(0, "4 events would be replayed, the oldest stored");
    stage
        .inbox(&["replay", "1", "5", "99", "--dry-run"])
        .says(1, "1 event would be replayed")
        .says(1, "the body of event 5 was deleted")
        .says(1, "event 99 is not in the inbox");
    assert_eq!(stage.audited().await, [""; 0]);

    let replay = ["replay", "1", "5", "99", "1"];
    let ran = stage.inbox(&[&replay[..], &operator[..]].concat());
    ran.says(1, "1 event replayed; it is due now")
        .says(1, "1 not replayed: it is done, and its body was deleted: 5\n")
        .says(1, "1 not replayed: not in the inbox; it never was, or was purged: 99\n");
    let ran = stage.inbox(&[
        "replay",
        "--status",
        "dead",
        "--since",
        "2h",
        "--reason",
        "status_404",
        "--limit",
        "1",
        "--json",
    ]);
    assert_eq!((ran.code, &*ran.out), (0, "{\"id\":2,\"result\":\"due\"}\n"));
    stage.inbox(&["replay", "--status", "dead", "--reason", "status_500"]).says(0, "0 events replayed\n");

    stage.inbox(&["discard", "3"]).says(2, "discarding needs a reason");
    stage.inbox(&[&["discard", "--endpoint", "clinic"], &operator[..]].concat()).says(2, "needs --status dead or");
    stage.inbox(&[&["discard", "--status", "done"], &operator[..]].concat()).says(2, "cannot be discarded");
    stage.inbox(&["discard", "--status", "dead", "--dry-run"]).says(0, "2 events would be discarded");
    let discarded = stage.inbox(&[&["discard", "3", "5"], &operator[..]].concat());
    discarded.says(1, "1 event discarded; its body is deleted").says(1, "it is done, or was discarded before: 5");
    stage.inbox(&[&["discard", "--status", "dead"], &operator[..]].concat()).says(0, "1 event discarded");
    stage.inbox(&["replay", "3"]).says(1, "it was discarded, and its body was deleted: 3");
    let user = stage.audit().await[1].actor.clone();
    assert!(!user.is_empty());
    let expected = [
        "replay 1 jdoe ticket 4711".to_owned(),
        format!("replay 2 {user} no reason given"),
        "discard 3 jdoe ticket 4711".to_owned(),
        "discard 4 jdoe ticket 4711".to_owned(),
    ];
    assert_eq!(stage.audited().await, expected);
    let statuses: Vec<_> = stage.inbox.list(&Filter::new()).await.unwrap().iter().map(|entry| entry.status).collect();
    assert_eq!(statuses, [Status::Waiting, Status::Waiting, Status::Discarded, Status::Discarded, Status::Done]);
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_are_paused_and_the_inbox_is_put_on_hold() {
    let stage = Stage::sqlite().await;
    stage.store(1).await;
    let paused = async || stage.counts().await.endpoints[0].paused;
    stage.inbox(&["pause", "labb"]).says(2, "no endpoint labb with an inbox; it has: clinic");
    stage.inbox(&["pause", "plain"]).says(2, "no endpoint plain with an inbox; it has: clinic");
    stage.inbox(&["pause", "clinic"]).says(0, "`medhook inbox resume clinic`");
    assert!(paused().await);
    stage.inbox(&["stats"]).says(0, "clinic is paused until");
    stage.inbox(&["list"]).says(0, "clinic is paused until `medhook inbox resume clinic`");
    stage.inbox(&["show", "1"]).says(0, "  due\n  clinic is paused until");
    stage.inbox(&["replay", "1"]).says(0, "replayed; it is due now").says(0, "not handled yet: clinic is paused");
    assert_eq!(stage.inbox(&["resume", "clinic", "--json"]).out, "{\"endpoint\":\"clinic\",\"paused\":false}\n");
    assert!(!paused().await);
    stage.inbox(&["resume", "clinic"]).says(0, "was not paused");
    // An endpoint that was removed from the config file while it was paused.
    stage.inbox(&["pause", "clinic"]).says(0, "");
    stage.config(&CONFIG.replace("name = \"clinic\"", "name = \"other\""));
    stage.inbox(&["resume", "clinic"]).says(0, "clinic is resumed");
    stage.config(CONFIG);

    stage.inbox(&["hold", "--because", "restored the backup"]).says(0, "until `medhook inbox release`");
    assert_eq!(stage.counts().await.hold, Hold::All);
    stage.inbox(&["stats"]).says(0, "on hold: nothing is handled");
    let since = ["release", "--stored-since", "2026-01-31T12:00:00Z"];
    stage.inbox(&since).says(0, "released: events stored since 2026-01-31T12:00:00.000Z");
    assert!(matches!(stage.counts().await.hold, Hold::StoredBefore(_)));
    stage.inbox(&["stats", "--json"]).says(0, "\"hold\":\"2026-01-31T12:00:00.000Z\"");
    stage.inbox(&["release"]).says(0, "all events are released");
    assert_eq!(stage.counts().await.hold, Hold::None);
    let actions: Vec<_> = stage.audit().await.into_iter().map(|entry| entry.action).collect();
    assert_eq!(actions, ["pause", "replay", "resume", "resume", "pause", "resume", "hold", "release", "release"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_follows_the_config_file() {
    let stage = Stage::sqlite().await;
    stage.store(1).await;
    stage.handle_keeping(done, Duration::from_secs(3_600)).await;
    stage.store(2).await;
    stage.handle(not_found).await;
    let has_body = async || stage.inbox.show(1).await.unwrap().unwrap().has_body;
    stage.config(&CONFIG.replace("inbox = true", "inbox = true\nretain_done = \"1d\""));
    stage.inbox(&["purge", "--dry-run"]).says(0, "clinic: up to 0 bodies, 0 events would be deleted");
    stage.inbox(&["purge"]).says(0, "clinic: 0 bodies, 0 events deleted");
    assert!(has_body().await);
    stage.config(CONFIG);
    stage
        .inbox(&["purge", "--dry-run"])
        .says(0, "clinic: up to 1 body, 0 events would be deleted; nothing was changed");
    assert!(has_body().await);
    let ran = stage.inbox(&["purge", "--json", "--because", "ticket 1", "--actor", "jdoe"]);
    assert_eq!(ran.out, "{\"endpoint\":\"clinic\",\"bodies\":1,\"events\":0,\"dry_run\":false}\n", "{ran:?}");
    assert!(!has_body().await);
    // A dry run has no audit entry.
    let audited = stage.audited().await;
    assert!(audited.len() == 2 && audited[1] == "purge clinic jdoe ticket 1", "{audited:?}");
    assert!(stage.inbox.show(2).await.unwrap().unwrap().has_body, "dead events are kept");
    stage.config(&CONFIG.replace("name = \"clinic\"", "name = \"other\""));
    stage.inbox(&["purge"]).says(0, "clinic is not in the config file, so its events were kept");
}

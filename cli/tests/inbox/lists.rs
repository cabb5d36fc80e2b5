//! `list`, `show`, `stats` and `audit`.

use medhook::Handled;
use medhook::inbox::{Filter, Operator};

use crate::stage::{CONFIG, ENDPOINT, KIND, Stage, done, not_found};

#[tokio::test(flavor = "multi_thread")]
async fn events_are_listed_and_shown_with_what_to_do_next() {
    let stage = Stage::sqlite().await;
    stage.inbox(&["list"]).says(0, "the inbox has no events\n");
    stage
        .inbox(&["list", "--status", "dead", "--endpoint", "lab"])
        .says(0, "no events match\n")
        .says(0, "it has: clinic");
    stage.inbox(&["stats", "--fail-on-dead"]).says(0, "clinic");
    for number in 1..=3 {
        stage.store(number).await;
    }
    stage.handle(not_found).await;
    stage.store(4).await;
    stage.handle(done).await;
    stage.store(5).await;
    stage.store(6).await;
    stage.handle(|_| Handled::give_up("no_such_patient")).await;

    let list =
        stage.inbox(&["list", "--status", "dead", "--limit", "4"]).says(0, "status_404: the application answered 404");
    assert!(list.out.starts_with("ID  STATUS  AGE"), "{}", list.out);
    assert!(list.out.lines().all(|line| line.chars().count() <= 80), "{}", list.out);
    let rows = list.out.lines().filter(|line| line.contains(KIND) && line.contains("dead") && line.contains(ENDPOINT));
    assert_eq!(rows.count(), 4);
    assert!(
        list.out.contains("4 events are dead") && list.out.contains("medhook inbox replay --status dead --dry-run")
    );
    assert!(list.err.contains("4 events listed, and there are more; raise --limit"), "{}", list.err);

    let given_up = ["list", "--reason", "no_such_patient", "--since", "2h", "--kind", KIND, "--endpoint", ENDPOINT];
    let json = stage.inbox(&[&given_up[..], &["--json"]].concat()).json();
    assert_eq!(json.iter().map(|line| line["id"].as_i64().unwrap()).collect::<Vec<_>>(), [5, 6]);
    let fields =
        ["id", "endpoint", "kind", "status", "attempts", "replays", "stored_at", "due", "reason", "bytes", "event_key"];
    let line = json[0].as_object().unwrap();
    assert_eq!(line.keys().map(String::as_str).collect::<std::collections::BTreeSet<_>>(), fields.into());
    assert_eq!((&line["status"], &line["due"]), (&"dead".into(), &serde_json::Value::Null));
    assert!(line["stored_at"].as_str().is_some_and(|time| time.len() == 24 && time.ends_with('Z')), "{line:?}");
    assert!(line["event_key"].as_str().is_some_and(|key| key.len() == 64));
    stage.inbox(&["list", "--since", "2100-01-01T00:00:00Z"]).says(0, "no events match");
    stage.inbox(&["list", "--since", "yesterday"]).says(2, "or a duration before now");

    let shown = stage
        .inbox(&["show", "1"])
        .says(0, "event 1: dead\n")
        .says(0, "dead: status_404: the application answered 404");
    let key = json_of(&stage, 1);
    assert!(shown.out.contains(&format!("event key  {key}\n")), "{}", shown.out);
    assert!(shown.out.contains("replay:  medhook inbox replay 1\n") && shown.out.contains("next: remove the cause"));
    stage.inbox(&["show", "4"]).says(0, "event 4: done").says(0, ", deleted\n");
    stage.inbox(&["show", "5", "--json"]).says(0, "\"has_body\":true").says(0, "\"provider\":\"acme\"");
    stage.inbox(&["show", "99"]).says(1, "event 99 is not in the inbox");

    let stats = stage.inbox(&["stats", "--fail-on-dead", "--json"]);
    assert_eq!(
        (stats.code, stats.json()[0]["dead"].as_u64(), stats.json()[0]["hold"].as_str()),
        (1, Some(5), Some("none"))
    );
    stage.inbox(&["stats"]).says(0, "5 events are dead: `medhook inbox list --status dead`");
    // Nothing was changed.
    assert_eq!(stage.audited().await, [""; 0]);
}

fn json_of(stage: &Stage, id: i64) -> String {
    let shown = stage.inbox(&["show", &id.to_string(), "--json"]).json();
    shown[0]["event_key"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_more_than_one_page_are_complete_and_the_audit_table_is_exported() {
    let stage = Stage::sqlite().await;
    let number = 1_005;
    for number in 1..=number {
        stage.store(number).await;
    }
    assert_eq!(stage.inbox(&["list", "--json"]).json().len(), 100);
    let all = stage.inbox(&["list", "--json", "--limit", "2000"]);
    assert_eq!((all.json().len(), &*all.err), (1_005, ""));
    let text = stage.inbox(&["list", "--limit", "1005"]);
    assert_eq!(
        text.out.lines().filter(|line| line.starts_with("ID ") || line.trim_start().starts_with("ID ")).count(),
        1
    );
    assert_eq!(&*text.err, "");
    stage.inbox(&["replay", "--status", "waiting", "--dry-run"]).says(0, "1,005 events would be replayed");
    stage.inbox(&["audit"]).says(0, "the audit table has no such entries");
    stage
        .inbox(&["replay", "--status", "waiting", "--actor", "jdoe"])
        .says(0, "1,005 events replayed; they are due now");
    let audit = stage.inbox(&["audit", "--json"]).json();
    assert_eq!((audit.len(), &audit[1_004]["subject"]), (1_005, &"1005".into()));
    assert_eq!(stage.inbox(&["audit", "--json", "--limit", "2"]).json().len(), 2);
    let last = stage.inbox(&["audit", "--json", "--after", "1004"]).json();
    let expected = ["replay", "1005", "jdoe", "no reason given"];
    assert_eq!(["action", "subject", "actor", "reason"].map(|name| last[0][name].as_str().unwrap()), expected);
    stage.inbox(&["audit", "--after", "1004"]).says(0, "jdoe   replay  1005     no reason given");
    assert_eq!(stage.inbox.count(&Filter::new()).await.unwrap(), 0);
}

/// A client that can write to the store can write any text.
#[tokio::test(flavor = "multi_thread")]
async fn control_characters_of_the_store_do_not_reach_the_terminal() {
    let stage = Stage::sqlite().await;
    stage.store(1).await;
    let pool =
        sqlx::SqlitePool::connect(&format!("sqlite:{}", stage.folder().join("medhook.db").display())).await.unwrap();
    let spoiled =
        sqlx::query("UPDATE medhook_inbox SET kind = ?1, reason = ?1, provider = ?1, secret = ?1, endpoint = ?1");
    spoiled.bind("\u{1b}[2J\u{202e}\nx").execute(&pool).await.unwrap();
    for arguments in [&["list"][..], &["show", "1"], &["stats"], &["list", "--json"], &["show", "1", "--json"]] {
        let ran = stage.inbox(arguments);
        assert!(!ran.out.contains(['\u{1b}']) && ran.code == 0, "{ran:?}");
        assert!(arguments.contains(&"--json") || !ran.out.contains('\u{202e}'), "{ran:?}");
    }
    assert!(Operator::new("a\u{1b}", "b").is_err(), "the audit table never has them");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_under_an_unknown_key_is_listed_without_its_event_key() {
    let stage = Stage::sqlite().await;
    stage.store(1).await;
    stage.config(&CONFIG.replace("{ file = \"key0\" }", "[{ file = \"key1\" }, { file = \"key0\" }]"));
    assert!(stage.inbox(&["list", "--json"]).json()[0]["event_key"].is_string());
    stage.config(&CONFIG.replace("key0", "key1"));
    let ran = stage.inbox(&["list", "--json"]);
    assert_eq!((ran.code, &ran.json()[0]["event_key"]), (0, &serde_json::Value::Null), "{ran:?}");
    stage.inbox(&["show", "1"]).says(0, "event key  not readable; it is sealed under a key that is not in `inbox_key`");
}

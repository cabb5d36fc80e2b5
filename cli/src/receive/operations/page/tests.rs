use std::collections::HashSet;
use std::path::PathBuf;

use medhook::inbox::Status;

use super::samples::{calm, deliveries as rows, empty, event as one, events as list, hostile, many, taint, trouble};
use super::*;

fn frame() -> Frame {
    Frame { config: PathBuf::from("/etc/medhook/medhook.toml") }
}

/// Returns all views with all states.
fn views() -> Vec<(&'static str, String)> {
    let frame = frame();
    let query = RecentQuery::default();
    let mut tainted = rows();
    tainted.iter_mut().for_each(taint);
    let hostile_query =
        RecentQuery { endpoint: Some(samples::HOSTILE.to_owned()), outcome: Some(samples::HOSTILE.to_owned()) };
    let hostile_events = EventsQuery {
        endpoint: Some(samples::HOSTILE.to_owned()),
        status: Some(Status::Dead),
        kind: Some(samples::HOSTILE.to_owned()),
        before: Some(7),
    };
    let mut hostile_list = list();
    hostile_list.paused = vec![samples::HOSTILE.to_owned()];
    hostile_list.endpoints = vec![samples::HOSTILE.to_owned()];
    hostile_list.kinds.iter_mut().for_each(|kind| {
        (kind.endpoint, kind.kind) = (samples::HOSTILE.to_owned(), samples::HOSTILE.to_owned());
    });
    let mut hostile_one = one();
    for text in [&mut hostile_one.entry.endpoint, &mut hostile_one.entry.kind, &mut hostile_one.entry.secret] {
        *text = samples::HOSTILE.to_owned();
    }
    hostile_one.entry.reason = Some(samples::HOSTILE.to_owned());
    hostile_one.attempts.iter_mut().for_each(taint);
    hostile_one.audit.iter_mut().for_each(|act| {
        (act.actor, act.reason, act.action) =
            (samples::HOSTILE.to_owned(), samples::HOSTILE.to_owned(), samples::HOSTILE.to_owned());
    });
    let mut nothing = list();
    (nothing.kinds, nothing.page, nothing.paused, nothing.next) = (Vec::new(), Vec::new(), Vec::new(), None);
    vec![
        ("overview-calm", overview(&frame, &calm())),
        ("overview-empty", overview(&frame, &empty())),
        ("overview-trouble", overview(&frame, &trouble())),
        ("overview-many", overview(&frame, &many())),
        ("overview-hostile", overview(&frame, &hostile())),
        ("deliveries", deliveries(&frame, &query, &trouble(), &rows())),
        ("deliveries-empty", deliveries(&frame, &query, &empty(), &[])),
        ("deliveries-hostile", deliveries(&frame, &hostile_query, &hostile(), &tainted)),
        ("inbox", events(&frame, &EventsQuery::default(), &list())),
        ("inbox-empty", events(&frame, &EventsQuery::default(), &nothing)),
        ("inbox-hostile", events(&frame, &hostile_events, &hostile_list)),
        ("event", event(&frame, &one())),
        ("event-hostile", event(&frame, &hostile_one)),
        ("login", login(&frame, None, "/inbox?status=dead")),
        ("login-problem", login(&frame, Some("The token is wrong."), samples::HOSTILE)),
        ("message-404", message(&frame, StatusCode::NOT_FOUND, "There is no such page.")),
        ("message-503", message(&frame, StatusCode::SERVICE_UNAVAILABLE, "The store could not be read.")),
        ("message-421", message(&frame, StatusCode::MISDIRECTED_REQUEST, samples::HOSTILE)),
    ]
}

/// Returns the values of an attribute.
fn values<'h>(html: &'h str, attribute: &str) -> Vec<&'h str> {
    let begin = format!(" {attribute}=\"");
    html.split(&*begin).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

/// Returns the text of a view, of which each element is a line.
fn text(html: &str) -> String {
    let body = html.split("<main").nth(1).unwrap();
    let mut lines = Vec::new();
    for piece in body.split('<') {
        let line = piece.split_once('>').map_or("", |(_, text)| text).trim();
        if !line.is_empty() {
            lines.push(line.replace("&#34;", "\"").replace("&#39;", "'"));
        }
    }
    lines.join("\n")
}

/// Writes all views to the folder that `MEDHOOK_PAGES` names, for pictures.
#[test]
fn every_view_is_a_page_of_its_own() {
    let folder = std::env::var_os("MEDHOOK_PAGES").map(PathBuf::from);
    for (name, html) in views() {
        assert!(html.starts_with("<!doctype html>") && html.trim_end().ends_with("</html>"), "{name}");
        assert_eq!(html.matches("<h1").count(), 1, "{name}");
        assert_eq!(html.matches("<main").count(), 1, "{name}");
        if let Some(folder) = &folder {
            std::fs::write(folder.join(format!("{name}.html")), html).unwrap();
        }
    }
}

#[test]
fn no_view_has_inline_styles_scripts_or_other_origins() {
    for (name, html) in views() {
        assert!(values(&html, "style").is_empty() && !html.contains("<style"), "{name}");
        assert_eq!(html.matches("<script").count(), 1, "{name}");
        assert!(html.contains(r#"<script src="/assets/page.js" defer></script>"#), "{name}");
        for attribute in ["href", "src", "action"] {
            for value in values(&html, attribute) {
                let is_local = value.starts_with('#') || (value.starts_with('/') && !value.starts_with("//"));
                assert!(is_local, "{name}: {value}");
            }
        }
        // Texts contain no quotation marks, so every other piece is the value of an attribute.
        let names = html.split('"').step_by(2).filter_map(|piece| piece.strip_suffix('=')?.rsplit(' ').next());
        assert!(names.clone().count() > 10 && names.clone().all(|name| !name.starts_with("on")), "{name}");
    }
    for path in ["/assets/page.css", "/assets/page.js", "/assets/icon.svg"] {
        let (_, content) = asset(path).unwrap();
        let content = std::str::from_utf8(content).unwrap().replace("http://www.w3.org/2000/svg", "");
        assert!(!content.contains("http") || path.ends_with("js"), "{path}");
        assert!(!content.contains("@import") && !content.contains("url("), "{path}");
    }
}

#[test]
fn every_id_is_unique_and_every_reference_has_its_target() {
    for (name, html) in views() {
        let ids = values(&html, "id");
        let unique: HashSet<_> = ids.iter().copied().collect();
        assert_eq!(ids.len(), unique.len(), "{name}: {ids:?}");
        for attribute in ["aria-labelledby", "aria-describedby", "for", "list"] {
            for id in values(&html, attribute).iter().flat_map(|value| value.split(' ')) {
                assert!(unique.contains(id), "{name}: {attribute} {id}");
            }
        }
    }
}

#[test]
fn headings_do_not_skip_a_level() {
    for (name, html) in views() {
        let mut last = 0;
        for rest in html.split("<h").skip(1) {
            let Some(level) = rest.chars().next().and_then(|digit| digit.to_digit(10)) else { continue };
            assert!(level <= last + 1, "{name}: h{level} after h{last}");
            last = level;
        }
    }
}

#[test]
fn hostile_texts_are_shown_as_text() {
    let hostile: Vec<_> = views().into_iter().filter(|(name, _)| name.contains("hostile")).collect();
    assert_eq!(hostile.len(), 4);
    for (name, html) in hostile {
        assert!(!html.contains("<script>") && !html.contains("<img") && !html.contains("'><"), "{name}");
        assert!(!html.contains(['\u{202e}', '\u{1b}']), "{name}");
        assert!(html.contains("&#60;script&#62;alert(1)"), "{name}");
        assert!(!html.contains("\" onerror"), "{name}");
    }
}

#[test]
fn no_view_shows_a_whole_event_key() {
    let whole = samples::key().to_hex();
    for (name, html) in views() {
        assert!(!html.contains(&whole), "{name}");
    }
    assert!(event(&frame(), &one()).contains(&samples::key().to_string()));
}

#[test]
fn commands_are_shown_as_a_shell_needs_them() {
    let frame = Frame { config: PathBuf::from("/etc/my hook.toml") };
    let html = text(&event(&frame, &one()));
    assert!(html.contains("medhook inbox replay 1234 --config '/etc/my hook.toml'"), "{html}");
    assert!(html.contains("medhook inbox discard 1234 --because \"WHY\" --config"), "{html}");
}

/// A link to the page must not put another text into a command that the operator pastes.
#[test]
fn a_command_contains_only_endpoints_that_exist() {
    let query = |endpoint: &str| EventsQuery { endpoint: Some(endpoint.to_owned()), ..EventsQuery::default() };
    let shown = |query: &EventsQuery| text(&events(&frame(), query, &list()));
    assert!(shown(&query("fasten")).contains("medhook inbox replay --endpoint fasten --status dead --dry-run"));
    let other = shown(&query("x; rm -rf ~"));
    assert!(
        other.contains("medhook inbox replay --status dead --dry-run") && !other.contains("--endpoint x"),
        "{other}"
    );
}

#[test]
fn the_rows_of_a_view_are_bounded() {
    let many: Vec<_> = (0..2_000).map(|_| rows().remove(0)).collect();
    let html = deliveries(&frame(), &RecentQuery::default(), &calm(), &many);
    assert_eq!(html.matches("<tr").count(), 501);
    assert!(html.contains("1,500 older rows are not shown"), "{}", text(&html));
}

#[test]
fn the_timeline_is_in_order_and_says_what_is_missing() {
    let text = text(&event(&frame(), &one()));
    let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
    let order =
        ["stored\n2 h 5 min ago", "replay by jdoe", "attempt 1: retry", "attempt 2: dead", "1 attempt is not listed"];
    assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{text}");
}

/// A change of one value, and the sentence and the command that follow from it.
#[test]
fn the_status_sentence_says_what_matters_most() {
    use std::time::Duration;

    use medhook::inbox::Hold;

    use super::concerns::concerns;
    use super::samples::{ago, counts, history};
    use super::text::Level;
    use crate::receive::operations::observed::state::Point;

    assert!(concerns(&frame().config, &calm()).is_empty());
    type Change = fn(&mut Overview);
    let cases: [(Change, Level, &str, &str); 14] = [
        (|state| state.not_ready = Some("starting\n"), Level::Warn, "The receiver is starting", ""),
        (
            |state| state.not_ready = Some("the last store operation failed\n"),
            Level::Bad,
            "Not ready: the last store operation failed",
            "",
        ),
        (|state| state.is_store_up = false, Level::Bad, "The store is unavailable: sqlite:", ""),
        (|state| state.connections = 1_024, Level::Warn, "All 1,024 connections are in use", ""),
        (
            |state| state.endpoints[0].application.as_mut().unwrap().is_breaker_open = true,
            Level::Bad,
            "fasten: the application is unreachable",
            "",
        ),
        (
            |state| state.endpoints[1].inbox.as_mut().unwrap().dead = 2,
            Level::Bad,
            "2 events are dead: mediquo",
            "list --status dead",
        ),
        (|state| state.inbox.as_mut().unwrap().is_failing = true, Level::Bad, "The inbox could not be read", ""),
        (
            |state| state.inbox.as_mut().unwrap().hold = Hold::All,
            Level::Warn,
            "The inbox is on hold: nothing is handled",
            "release",
        ),
        (
            |state| state.inbox.as_mut().unwrap().others = vec![counts("gone", [3, 0, 0])],
            Level::Warn,
            "3 events wait for gone, which this receiver does not have",
            "list --status waiting",
        ),
        (
            |state| state.endpoints[0].inbox.as_mut().unwrap().paused = true,
            Level::Warn,
            "fasten is paused: events are stored, and not handled",
            "resume fasten",
        ),
        (
            |state| state.endpoints[0].inbox.as_mut().unwrap().oldest = Some(Duration::from_secs(1_320)),
            Level::Warn,
            "fasten: the oldest event waits 22 min",
            "list --endpoint fasten --status waiting",
        ),
        (
            |state| {
                state.endpoints[0].history = history(60, |_| Point { rejected: 1, ..Point::default() });
            },
            Level::Bad,
            "fasten: all of the latest 15 deliveries were rejected",
            "",
        ),
        (
            |state| {
                let application = state.endpoints[0].application.as_mut().unwrap();
                (application.is_failing, application.last_answer) = (true, Some((ago(60), "503".to_owned())));
            },
            Level::Warn,
            "fasten: the application answered 503",
            "",
        ),
        (
            |state| state.endpoints[0].last_genuine = Some(ago(25_200)),
            Level::Warn,
            "fasten: no genuine delivery for 7 h",
            "",
        ),
    ];
    for (change, level, text, command) in cases {
        let mut state = calm();
        change(&mut state);
        let all = concerns(&frame().config, &state);
        assert_eq!(all.len(), 1, "{text}: {all:?}");
        assert!(all[0].text.starts_with(text) && all[0].level == level, "{text}: {all:?}");
        let expected =
            (!command.is_empty()).then(|| format!("medhook inbox {command} --config /etc/medhook/medhook.toml"));
        assert_eq!(all[0].command, expected, "{text}");
        let html = overview(&frame(), &state);
        assert!(html.contains(&format!("<title>{text}")), "{text}");
    }
}

#[test]
fn an_unused_secret_is_a_note_and_all_is_still_well() {
    let mut state = calm();
    state.endpoints[0].secrets.push(samples::secret("OLD", None));
    let html = overview(&frame(), &state);
    assert!(html.contains("<title>All well") && html.contains("fasten: secret OLD has verified nothing"));
    state.started = samples::ago(60);
    assert!(!overview(&frame(), &state).contains("has verified nothing"), "it is too early to say so");
}

#[test]
fn the_worst_concern_comes_first_and_long_lists_are_short() {
    let shown = text(&overview(&frame(), &trouble()));
    let at = |what: &str| shown.find(what).unwrap_or_else(|| panic!("{what}: {shown}"));
    let order = [
        "fasten: the application is unreachable",
        "2 events are dead",
        "mediquo is paused",
        "cair: no genuine delivery",
        "FASTEN_SECRET_OLD",
    ];
    assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{shown}");
    let many = text(&overview(&frame(), &many()));
    assert!(many.contains("laboratory-01, laboratory-02, laboratory-03 and 9 more"), "{many}");
}

#[test]
fn before_the_first_sample_no_endpoint_is_said_to_have_no_inbox() {
    let mut state = empty();
    let without = "no inbox: handled while the sender waits";
    assert_eq!(overview(&frame(), &state).matches(without).count(), 1, "cair has none");
    state.endpoints.iter_mut().for_each(|endpoint| endpoint.inbox = None);
    let html = overview(&frame(), &state);
    assert_eq!((html.matches(without).count(), html.matches("not read yet").count()), (1, 2));
}

#[test]
fn charts_have_gaps_stay_in_their_plots_and_say_what_they_show() {
    use super::charts::charts;
    use super::samples::{history, now};
    use crate::receive::operations::observed::state::Point;
    use std::time::Duration;

    let none = charts(&history(0, |_| Point::default()), now());
    assert!(none.all.iter().all(|chart| chart.series.iter().all(|(_, path)| path.is_empty())), "{none:?}");
    assert_eq!(none.all[1].summary, "No delivery was answered.");

    let one = charts(&history(1, |_| Point { accepted: 3, backlog: Some(7), ..Point::default() }), now());
    assert_eq!(one.all[0].series[0].1, "M233 25.0h6v75.0h-6z", "one column of 30, three quarters high");
    assert_eq!(one.all[0].y, ["4", "2", "0"]);
    assert_eq!(one.all[2].series[1].1, "M232 30.0h8", "a short line");
    assert_eq!(one.all[2].summary, "Now 7 events wait or are handled, and – dead. Most at 07:03: 7.");

    let latency = |at| (at != 1).then_some((Duration::from_millis(5), Duration::from_millis(10)));
    let gap = charts(&history(3, |at| Point { latency: latency(at), ..Point::default() }), now());
    assert_eq!(gap.all[1].series[0].1.matches('M').count(), 2, "{gap:?}");

    let large = Point { accepted: u64::MAX, repeated: u64::MAX, backlog: Some(u64::MAX), ..Point::default() };
    let large = charts(&history(10_000, |_| large.clone()), now());
    assert_eq!(large.all[0].hits.len(), 120);
    assert!(
        large.all.iter().all(|chart| chart.series.iter().all(|(_, path)| !path.contains('-') || path.contains("h-")))
    );
}

#[test]
fn only_a_next_attempt_that_lies_ahead_is_shown() {
    let html = |due: std::time::Duration, past: bool| {
        let mut rows = rows();
        let attempt = rows[2].attempt.as_mut().unwrap();
        attempt.due = Some(if past { samples::now() - due } else { samples::now() + due });
        deliveries(&frame(), &RecentQuery::default(), &calm(), &rows)
    };
    let second = std::time::Duration::from_secs(1);
    assert!(html(second, false).contains("next attempt") && !html(second, true).contains("next attempt"));
}

#[test]
fn the_name_of_an_endpoint_in_the_store_cannot_end_a_command() {
    let mut state = list();
    state.paused = vec!["x; rm -rf ~".to_owned()];
    let shown = text(&events(&frame(), &EventsQuery::default(), &state));
    assert!(shown.contains("medhook inbox resume 'x; rm -rf ~' --config"), "{shown}");
}

#[test]
fn a_concern_about_several_endpoints_does_not_name_the_answer_of_one() {
    let answers = |answers: [&str; 2]| {
        let mut state = calm();
        for (endpoint, answer) in state.endpoints.iter_mut().zip(answers) {
            let application = endpoint.application.as_mut().unwrap();
            (application.is_failing, application.last_answer) = (true, Some((samples::ago(60), answer.to_owned())));
        }
        overview(&frame(), &state)
    };
    assert!(answers(["503", "503"]).contains("<title>fasten, mediquo: the application answered 503"));
    let different = answers(["503", "400"]);
    assert!(different.contains("<title>fasten, mediquo: the last event failed"));
    assert!(!different.contains("Its deliveries"), "a link to the deliveries of one");
}

/// After a change that is meant, write the new text with `MEDHOOK_PAGES=FOLDER` and copy `trouble.txt`.
#[test]
fn the_text_of_the_overview_with_trouble_is_as_it_was_read() {
    let shown = text(&overview(&frame(), &trouble()));
    let (shown, _) = shown.split_once("\nNumbers of the charts as a table").unwrap();
    // The texts of the columns of the charts.
    let shown: String = shown.lines().filter(|line| !is_column(line)).map(|line| format!("{line}\n")).collect();
    if let Some(folder) = std::env::var_os("MEDHOOK_PAGES") {
        std::fs::write(PathBuf::from(folder).join("trouble.txt"), &shown).unwrap();
    }
    assert_eq!(shown, include_str!("trouble.txt"));
}

fn is_column(line: &str) -> bool {
    let time = line.split(": ").next().unwrap_or_default();
    time.len() == 5 && time.contains(':') && line.len() > 6
}

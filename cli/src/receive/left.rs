//! Stored events that no endpoint of the config file handles, such as those of an endpoint that was renamed.

use std::fmt::Write as _;

use medhook::inbox::EndpointCounts;

/// Returns one line for each endpoint whose stored events stay where they are, because none of the endpoints with an
/// inbox has its name.
pub(super) fn left_warnings(place: &str, found: &[EndpointCounts], with_inbox: &[&str]) -> Vec<String> {
    let left = found.iter().filter(|counts| !with_inbox.contains(&&*counts.endpoint));
    left.filter_map(|counts| Some(warning(place, counts, &number(counts)?))).collect()
}

fn warning(place: &str, counts: &EndpointCounts, number: &str) -> String {
    let name = counts.endpoint.escape_debug();
    format!(
        "{place}: has stored events of the endpoint {name} ({number}), which has no inbox in this config file; \
         they stay there until a receiver with this store has an endpoint {name} with `inbox = true`, and until then \
         `inbox_key` must be kept, without which they cannot be read"
    )
}

fn number(counts: &EndpointCounts) -> Option<String> {
    let unfinished = counts.waiting.saturating_add(counts.processing);
    let mut text = String::new();
    for (number, name) in [(unfinished, "unfinished"), (counts.dead, "dead")] {
        if number > 0 {
            let comma = if text.is_empty() { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(text, "{comma}{number} {name}");
        }
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: &str = "medhook.toml: `store`";

    fn counts(endpoint: &str, [waiting, processing, dead]: [u64; 3]) -> EndpointCounts {
        let mut counts = EndpointCounts::default();
        endpoint.clone_into(&mut counts.endpoint);
        (counts.waiting, counts.processing, counts.dead) = (waiting, processing, dead);
        counts
    }

    #[test]
    fn only_events_that_no_endpoint_handles_are_named() {
        let found = [
            counts("old", [2, 1, 0]),
            counts("older", [0, 0, 7]),
            counts("kept", [5, 0, 1]),
            counts("paused", [0, 0, 0]),
            counts("a\u{1b}[31m", [1, 0, 1]),
        ];
        let lines = left_warnings(PLACE, &found, &["kept"]);
        let [old, older, escaped] = &lines[..] else { panic!("{lines:?}") };
        assert!(old.starts_with("medhook.toml: `store`: has stored events of the endpoint old (3 unfinished), which"));
        assert!(older.contains(" older (7 dead), which has no inbox in this config file; they stay there until"));
        assert!(escaped.contains("a\\u{1b}[31m (1 unfinished, 1 dead)"), "{escaped}");
        assert!(left_warnings(PLACE, &found[2..4], &["kept"]).is_empty());
    }
}

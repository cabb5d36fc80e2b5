//! Texts, times and levels as the templates show them.

use std::time::SystemTime;

use jiff::Timestamp;
use medhook::inbox::Status;

use crate::output::harmless;
use crate::words::{grouped, relative, utc};

/// The importance of a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Good,
    Note,
    Warn,
    Bad,
}

impl Level {
    /// Returns the class of the style sheet.
    pub(super) fn class(self) -> &'static str {
        match self {
            Level::Good => "good",
            Level::Note => "note",
            Level::Warn => "warn",
            Level::Bad => "bad",
        }
    }

    /// Returns the word for readers who do not see the icon.
    pub(super) fn word(self) -> &'static str {
        match self {
            Level::Good => "OK",
            Level::Note => "Note",
            Level::Warn => "Warning",
            Level::Bad => "Problem",
        }
    }
}

/// A word with an icon.
#[derive(Debug, Clone)]
pub(super) struct Badge {
    pub(super) level: Level,
    pub(super) text: String,
}

impl Badge {
    pub(super) fn new(level: Level, text: impl Into<String>) -> Self {
        Badge { level, text: text.into() }
    }

    /// Returns the badge of a stored event.
    pub(super) fn of(status: Status) -> Self {
        let level = match status {
            Status::Dead => Level::Bad,
            Status::Done => Level::Good,
            _ => Level::Note,
        };
        Badge::new(level, status.as_str())
    }
}

/// A time, relative to now and exact.
#[derive(Debug, Clone)]
pub(super) struct When {
    /// For the `datetime` attribute.
    pub(super) iso: String,
    pub(super) exact: String,
    pub(super) relative: String,
    pub(super) clock: String,
    pub(super) full_clock: String,
}

impl When {
    pub(super) fn new(time: SystemTime, now: SystemTime) -> Self {
        let iso = utc(time);
        When {
            exact: iso.replace('T', " ").replace('Z', " UTC"),
            relative: relative(time, now),
            clock: format!("{} UTC", clock(time, "%H:%M:%S")),
            full_clock: format!("{} UTC", clock(time, "%b %-d, %H:%M:%S")),
            iso,
        }
    }
}

/// Formats a time in UTC.
pub(super) fn clock(time: SystemTime, format: &str) -> String {
    Timestamp::try_from(time).map_or_else(|_| "unknown".to_owned(), |time| time.strftime(format).to_string())
}

/// Escapes a text of a sender, an operator or the application, and truncates it. The templates escape it for HTML.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", harmless(text.as_bytes().get(..end).unwrap_or_default())),
        None => harmless(text.as_bytes()),
    }
}

/// The limit of a text in characters.
const LONGEST: usize = 200;

/// A number that links to what it counts.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) is_zero: bool,
    pub(super) text: String,
    pub(super) class: &'static str,
    pub(super) href: String,
}

impl Figure {
    pub(super) fn new(number: u64, class: &'static str, href: String) -> Self {
        Figure { is_zero: number == 0, text: grouped(number), class, href }
    }
}

/// An option of a filter.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) value: String,
    pub(super) text: String,
    pub(super) is_chosen: bool,
}

impl Choice {
    /// Returns the options of a filter. The chosen one is among them even if it is unknown.
    pub(super) fn all<'v>(values: impl Iterator<Item = &'v str>, chosen: Option<&str>) -> Vec<Self> {
        // A value that `shown` changes selects nothing anyway.
        let choice = |value: &str| Choice { value: shown(value), text: shown(value), is_chosen: chosen == Some(value) };
        let mut all: Vec<_> = values.map(choice).collect();
        if let Some(chosen) = chosen.filter(|_| all.iter().all(|choice| !choice.is_chosen)) {
            all.push(choice(chosen));
        }
        all
    }
}

/// Returns a path with a query of those parameters that are set.
pub(super) fn link(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let mut link = path.to_owned();
    for (name, value) in parameters {
        if let Some(value) = value {
            link.push(if link.contains('?') { '&' } else { '?' });
            link.push_str(name);
            link.push('=');
            for byte in value.bytes() {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => link.push(char::from(byte)),
                    _ => link.push_str(&format!("%{byte:02X}")),
                }
            }
        }
    }
    link
}

/// Returns what the application answered: the `upstream` of the report in words.
pub(super) fn answered(upstream: &str) -> String {
    match upstream {
        "not_reached" => "the application could not be reached".to_owned(),
        "timed_out" => "connecting to the application timed out".to_owned(),
        "tls_failed" => "TLS with the application failed".to_owned(),
        "failed" => "the connection to the application broke, or its answer was not HTTP".to_owned(),
        status => format!("the application answered {}", shown(status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_contains_only_unreserved_characters_of_a_value() {
        assert_eq!(link("/inbox", &[("a", None), ("kind", Some("a b&\"<ñ"))]), "/inbox?kind=a%20b%26%22%3C%C3%B1");
        assert_eq!(link("/", &[("a", Some("1")), ("b", Some("2"))]), "/?a=1&b=2");
    }

    #[test]
    fn long_and_hostile_texts_are_truncated_and_escaped() {
        assert_eq!(shown("a\u{202e}b\nc"), "a\\u{202e}b\\nc");
        assert_eq!(shown(&"ä".repeat(300)), format!("{}…", "ä".repeat(200)));
    }

    #[test]
    fn a_chosen_value_stays_in_the_filter() {
        let all = Choice::all(["a", "b"].into_iter(), Some("gone"));
        assert_eq!(
            all.iter().filter(|choice| choice.is_chosen).map(|choice| &*choice.text).collect::<Vec<_>>(),
            ["gone"]
        );
        assert_eq!(Choice::all(["a"].into_iter(), None).len(), 1);
    }
}

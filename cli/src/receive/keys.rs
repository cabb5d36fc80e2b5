//! Tables of a config file, read key by key, so that whatever is wrong is one line that names file, place and key.
//! A value is never quoted unless it cannot be a secret.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::borrow::Cow;
use std::time::Duration;

use toml::{Table, Value};

use crate::failure::Failure;

/// A table whose keys are taken one after the other.
#[derive(Debug)]
pub(super) struct TableKeys {
    place: String,
    table: Table,
}

impl TableKeys {
    /// The whole file. `file` is its name, for the messages.
    pub(super) fn parse(file: &str, text: &str) -> Result<Self, Failure> {
        let table = text.parse::<Table>().map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count().saturating_add(1);
            // A message of the parser's may go over several lines.
            let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
            Failure::because(format_args!("{file}: line {line}"), message)
        })?;
        Ok(TableKeys { place: file.to_owned(), table })
    }

    /// A table within another.
    pub(super) fn within(place: String, table: Table) -> Self {
        TableKeys { place, table }
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// From here on messages name this place.
    pub(super) fn rename(&mut self, place: String) {
        self.place = place;
    }

    /// A mistake about this key.
    pub(super) fn wrong(&self, key: &str, problem: impl std::fmt::Display) -> Failure {
        Failure::new(format!("{}: `{key}`: {problem}", self.place))
    }

    /// Refuses keys that nobody knows, before anything is said to be missing: it may only be misspelt.
    pub(super) fn all_known(&self, known: &[&str]) -> Result<(), Failure> {
        match self.table.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(Failure::new(format!("{}: unknown key `{}`", self.place, cut(key).escape_debug()))),
            None => Ok(()),
        }
    }

    /// Refuses keys that nobody took. `why` says why they are of no use here.
    pub(super) fn all_taken(&self, why: &str) -> Result<(), Failure> {
        match self.table.keys().next() {
            Some(key) => Err(self.wrong(key, why)),
            None => Ok(()),
        }
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, Failure> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.must_be(key, "a text in quotes", &other)),
        }
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<bool, Failure> {
        match self.table.remove(key) {
            None => Ok(false),
            Some(Value::Boolean(flag)) => Ok(flag),
            Some(other) => Err(self.must_be(key, "true or false", &other)),
        }
    }

    /// A whole number from 1 on.
    pub(super) fn count(&mut self, key: &str) -> Result<Option<usize>, Failure> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(Value::Integer(number)) => match usize::try_from(number) {
                Ok(count) if count > 0 => Ok(Some(count)),
                _ => Err(self.wrong(key, format_args!("must be at least 1, and not {number}"))),
            },
            Some(other) => Err(self.must_be(key, "a whole number", &other)),
        }
    }

    /// A time that may be `"0s"`.
    pub(super) fn delay(&mut self, key: &str) -> Result<Option<Duration>, Failure> {
        if self.table.get(key).is_some_and(|value| value.as_str() == Some("0s")) {
            self.table.remove(key);
            return Ok(Some(Duration::ZERO));
        }
        self.duration(key)
    }

    /// A time such as `"30s"`.
    pub(super) fn duration(&mut self, key: &str) -> Result<Option<Duration>, Failure> {
        let Some(value) = self.table.remove(key) else {
            return Ok(None);
        };
        let Value::String(text) = value else {
            return Err(self.must_be(key, "a time in quotes, such as \"30s\"", &value));
        };
        duration(&text).map(Some).map_err(|problem| self.wrong(key, format_args!("{:?}: {problem}", cut(&text))))
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Result<Option<T>, Failure> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        match choices.iter().find(|(word, _)| *word == text) {
            Some((_, choice)) => Ok(Some(*choice)),
            None => {
                let words: Vec<_> = choices.iter().map(|(word, _)| format!("{word:?}")).collect();
                Err(self.wrong(key, format_args!("{:?} is none of {}", cut(&text), words.join(", "))))
            }
        }
    }

    /// A name, as the library takes them for endpoints and senders.
    pub(super) fn name(&mut self, key: &str) -> Result<Option<String>, Failure> {
        match self.text(key)? {
            Some(name) if !is_name(&name) => {
                let problem = format_args!("{:?} is not 1 to 64 of a-z, 0-9, `.`, `_` and `-`", cut(&name));
                Err(self.wrong(key, problem))
            }
            name => Ok(name),
        }
    }

    /// A table of its own.
    pub(super) fn table(&mut self, key: &str, such_as: &str) -> Result<Option<Table>, Failure> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(Value::Table(table)) => Ok(Some(table)),
            Some(other) => Err(self.must_be(key, such_as, &other)),
        }
    }

    /// A list of tables. Empty if it is not there.
    pub(super) fn tables(&mut self, key: &str, such_as: &str) -> Result<Vec<Table>, Failure> {
        let list = match self.table.remove(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(other) => return Err(self.must_be(key, such_as, &other)),
        };
        let tables = list.into_iter().map(|item| match item {
            Value::Table(table) => Ok(table),
            other => Err(self.must_be(key, such_as, &other)),
        });
        tables.collect()
    }

    /// A list of texts. Empty if it is not there.
    pub(super) fn texts(&mut self, key: &str) -> Result<Vec<String>, Failure> {
        const SUCH_AS: &str = "a list of texts, such as [\"one\", \"two\"]";
        let list = match self.table.remove(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(other) => return Err(self.must_be(key, SUCH_AS, &other)),
        };
        let texts = list.into_iter().map(|item| match item {
            Value::String(text) => Ok(text),
            other => Err(self.must_be(key, SUCH_AS, &other)),
        });
        texts.collect()
    }

    /// What must be there.
    pub(super) fn needed<T>(&self, key: &str, value: Option<T>) -> Result<T, Failure> {
        value.ok_or_else(|| self.wrong(key, "missing"))
    }

    /// Whether the key is still there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether it is there, and a table.
    pub(super) fn is_table(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(Value::is_table)
    }

    fn must_be(&self, key: &str, what: &str, is: &Value) -> Failure {
        self.wrong(key, format_args!("must be {what}, and is of type {}", is.type_str()))
    }
}

pub(super) fn is_name(text: &str) -> bool {
    let of_the_set = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    (1..=64).contains(&text.len()) && text.chars().all(of_the_set)
}

/// As much of a text as one line has room for.
pub(super) fn cut(text: &str) -> Cow<'_, str> {
    if text.chars().nth(80).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().take(80).chain("..".chars()).collect())
}

/// Reads a whole number with its unit.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    const HOW: &str = "a time is a whole number with ms, s, m, h or d behind it, such as 30s or 24h";
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or(HOW)?;
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(HOW),
    };
    if number.is_empty() {
        return Err(HOW);
    }
    let duration = number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis)).map(Duration::from_millis);
    match duration {
        Some(duration) if duration.is_zero() => Err("a time of nothing lets nothing happen"),
        Some(duration) if duration <= LONGEST => Ok(duration),
        _ => Err("longer than ten years"),
    }
}

const LONGEST: Duration = Duration::from_secs(3653 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_numbers_with_units() {
        for (text, millis) in
            [("500ms", 500), ("30s", 30_000), ("10m", 600_000), ("24h", 86_400_000), ("3d", 259_200_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for (text, problem) in [
            ("", "whole number"),
            ("s", "whole number"),
            ("30", "whole number"),
            ("30 s", "whole number"),
            ("1.5h", "whole number"),
            ("-1s", "whole number"),
            ("1h30m", "whole number"),
            ("30S", "whole number"),
            ("１s", "whole number"),
            ("0s", "nothing"),
            ("4000d", "ten years"),
            ("99999999999999999999s", "ten years"),
            ("18446744073709551615d", "ten years"),
        ] {
            assert!(duration(text).is_err_and(|error| error.contains(problem)), "{text}");
        }
    }

    #[test]
    fn what_is_long_is_cut() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"ñ".repeat(80)), "ñ".repeat(80));
        assert_eq!(cut(&"ñ".repeat(81)), "ñ".repeat(80) + "..");
    }

    #[test]
    fn a_syntax_error_is_one_line_that_tells_its_line() {
        let error = TableKeys::parse("medhook.toml", "listen = \"127.0.0.1:1\"\nstore = \n").unwrap_err().to_string();
        assert!(error.starts_with("medhook.toml: line 2: "), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

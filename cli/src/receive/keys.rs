//! Reads tables of the config file key by key. The message for a mistake is one line that names the file, the table and
//! the key. It only quotes values that cannot be secrets.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::borrow::Cow;
use std::time::Duration;

use clap::ValueEnum;
use toml::{Table, Value};

use crate::duration;
use crate::failure::Failure;

/// A table from which keys are taken one by one.
#[derive(Debug)]
pub(super) struct TableKeys {
    place: String,
    table: Table,
}

impl TableKeys {
    /// Parses a file. `file` is its name, for messages.
    pub(super) fn parse(file: &str, text: &str) -> Result<Self, Failure> {
        let table = text.parse::<Table>().map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count().saturating_add(1);
            // The parser's message may have several lines.
            let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
            Failure::because(format_args!("{file}: line {line}"), message)
        })?;
        Ok(TableKeys { place: file.to_owned(), table })
    }

    /// Creates the keys of a table inside another one.
    pub(super) fn within(place: String, table: Table) -> Self {
        TableKeys { place, table }
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Changes the place that messages name.
    pub(super) fn rename(&mut self, place: String) {
        self.place = place;
    }

    /// Returns the failure for a mistake in the value of this key.
    pub(super) fn wrong(&self, key: &str, problem: impl std::fmt::Display) -> Failure {
        Failure::new(format!("{}: `{key}`: {problem}", self.place))
    }

    /// Fails if the table has an unknown key. Called before missing keys are reported, because a key that seems to be
    /// missing may be misspelled.
    pub(super) fn all_known(&self, known: &[&str]) -> Result<(), Failure> {
        match self.table.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(Failure::new(format!(
                "{}: unknown key `{}`; docs/receive.md lists all keys",
                self.place,
                cut(key).escape_debug()
            ))),
            None => Ok(()),
        }
    }

    /// Fails with `problem` if the table has a key that was not taken.
    pub(super) fn all_taken(&self, problem: &str) -> Result<(), Failure> {
        match self.table.keys().next() {
            Some(key) => Err(self.wrong(key, problem)),
            None => Ok(()),
        }
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, Failure> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.must_be(key, "a string", &other)),
        }
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<bool, Failure> {
        match self.table.remove(key) {
            None => Ok(false),
            Some(Value::Boolean(flag)) => Ok(flag),
            Some(other) => Err(self.must_be(key, "true or false", &other)),
        }
    }

    /// Takes a whole number that is at least 1.
    pub(super) fn count(&mut self, key: &str) -> Result<Option<usize>, Failure> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(Value::Integer(number)) => match usize::try_from(number) {
                Ok(count) if count > 0 => Ok(Some(count)),
                _ => Err(self.wrong(key, format_args!("must be at least 1, not {number}"))),
            },
            Some(other) => Err(self.must_be(key, "a whole number", &other)),
        }
    }

    /// Takes a number that may be 0.
    pub(super) fn number(&mut self, key: &str) -> Result<Option<u32>, Failure> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(Value::Integer(number)) => match u32::try_from(number) {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(self.wrong(key, format_args!("must be between 0 and {}, not {number}", u32::MAX))),
            },
            Some(other) => Err(self.must_be(key, "a whole number", &other)),
        }
    }

    /// Takes a duration that may be `"0s"`.
    pub(super) fn delay(&mut self, key: &str) -> Result<Option<Duration>, Failure> {
        if self.table.get(key).is_some_and(|value| value.as_str() == Some("0s")) {
            self.table.remove(key);
            return Ok(Some(Duration::ZERO));
        }
        self.duration(key)
    }

    /// Takes a duration such as `"30s"`.
    pub(super) fn duration(&mut self, key: &str) -> Result<Option<Duration>, Failure> {
        let Some(value) = self.table.remove(key) else {
            return Ok(None);
        };
        let Value::String(text) = value else {
            return Err(self.must_be(key, "a duration in quotes, such as \"30s\"", &value));
        };
        duration::parse(&text).map(Some).map_err(|problem| self.wrong(key, format_args!("{:?}: {problem}", cut(&text))))
    }

    /// Takes one of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Result<Option<T>, Failure> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        match choices.iter().find(|(word, _)| *word == text) {
            Some((_, choice)) => Ok(Some(*choice)),
            None => {
                let words: Vec<_> = choices.iter().map(|(word, _)| format!("{word:?}")).collect();
                Err(self.wrong(key, format_args!("{:?} is not one of {}", cut(&text), words.join(", "))))
            }
        }
    }

    /// Takes one of the words of an argument.
    pub(super) fn word<T: ValueEnum + Copy>(&mut self, key: &str) -> Result<Option<T>, Failure> {
        let words = T::value_variants().iter().filter_map(|word| Some((word.to_possible_value()?, *word)));
        let words: Vec<_> = words.collect();
        let choices: Vec<_> = words.iter().map(|(value, word)| (value.get_name(), *word)).collect();
        self.choice(key, &choices)
    }

    /// Takes a name that the library accepts for an endpoint or a provider.
    pub(super) fn name(&mut self, key: &str) -> Result<Option<String>, Failure> {
        match self.text(key)? {
            Some(name) if !is_name(&name) => {
                let must_be = "must be 1 to 64 characters of a-z, 0-9, `.`, `_` and `-`";
                Err(self.wrong(key, format_args!("{:?}: {must_be}", cut(&name))))
            }
            name => Ok(name),
        }
    }

    /// Takes a table.
    pub(super) fn table(&mut self, key: &str, such_as: &str) -> Result<Option<Table>, Failure> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(Value::Table(table)) => Ok(Some(table)),
            Some(other) => Err(self.must_be(key, such_as, &other)),
        }
    }

    /// Takes a list of tables. It is empty if the key is missing.
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

    /// Takes a list of strings. It is empty if the key is missing.
    pub(super) fn texts(&mut self, key: &str) -> Result<Vec<String>, Failure> {
        const SUCH_AS: &str = "a list of strings, such as [\"one\", \"two\"]";
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

    /// Returns the value of a required key. Fails if it is missing.
    pub(super) fn needed<T>(&self, key: &str, value: Option<T>) -> Result<T, Failure> {
        value.ok_or_else(|| self.wrong(key, "missing, but required"))
    }

    /// Returns whether the table has a key that was not taken yet.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Returns the text under a key that was not taken yet, if it is one.
    pub(super) fn text_of(&self, key: &str) -> Option<&str> {
        self.table.get(key).and_then(Value::as_str)
    }

    /// Returns whether the value of a key is a table.
    pub(super) fn is_table(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(Value::is_table)
    }

    /// Returns the table under a key, or the tables of its list.
    pub(super) fn tables_within(&self, key: &str) -> impl Iterator<Item = &Table> {
        let value = self.table.get(key);
        let listed = value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_table);
        value.and_then(Value::as_table).into_iter().chain(listed)
    }

    fn must_be(&self, key: &str, what: &str, is: &Value) -> Failure {
        self.wrong(key, format_args!("must be {what}, but is of type {}", is.type_str()))
    }
}

pub(super) fn is_name(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    (1..=64).contains(&text.len()) && text.chars().all(is_allowed)
}

/// Returns the text, truncated to 80 characters.
pub(super) fn cut(text: &str) -> Cow<'_, str> {
    if text.chars().nth(80).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().take(80).chain("..".chars()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_truncated() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"ñ".repeat(80)), "ñ".repeat(80));
        assert_eq!(cut(&"ñ".repeat(81)), "ñ".repeat(80) + "..");
    }

    #[test]
    fn the_message_for_a_syntax_error_is_one_line_with_its_line_number() {
        let error = TableKeys::parse("medhook.toml", "listen = \"127.0.0.1:1\"\nstore = \n").unwrap_err().to_string();
        assert!(error.starts_with("medhook.toml: line 2: "), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

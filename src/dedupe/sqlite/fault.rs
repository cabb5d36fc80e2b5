use std::path::Path;

use crate::{ConfigError, StoreError};

/// An error of the database, with a message for the operator.
#[derive(Debug)]
pub(super) struct Fault {
    message: Box<str>,
    /// Whether the operation may be retried on the same connection.
    busy: bool,
    /// Whether a file of the database was removed or replaced.
    lost: bool,
    source: Option<sqlx::Error>,
}

impl Fault {
    pub(super) fn new(message: impl Into<Box<str>>) -> Self {
        Fault { message: message.into(), busy: false, lost: false, source: None }
    }

    /// Returns a fault after which the operation may be retried on the same connection.
    pub(super) fn busy(message: impl Into<Box<str>>) -> Self {
        Fault { busy: true, ..Fault::new(message) }
    }

    /// Returns a fault for a file of the database that was removed or replaced.
    pub(super) fn lost(message: impl Into<Box<str>>) -> Self {
        Fault { lost: true, ..Fault::new(message) }
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Returns whether the cause cannot be a single operation of the transaction.
    pub(super) fn is_of_database(&self) -> bool {
        self.busy || self.lost
    }

    pub(super) fn into_config_error(self, path: &Path) -> ConfigError {
        let error = ConfigError::new(format!("SQLite store {}: {}", path.display(), self.message));
        match self.source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }

    /// Returns a store error with this message. A fault can be the answer to several operations.
    pub(super) fn to_store_error(&self) -> StoreError {
        let code = self.source.as_ref().and_then(code).map(|code| format!(" (SQLite code {code})"));
        let message = format!("SQLite store: {}{}", self.message, code.unwrap_or_default());
        if self.busy { StoreError::busy(message) } else { StoreError::unavailable(message) }
    }

    /// Returns whether there is no space left on the disk.
    #[cfg(feature = "inbox")]
    pub(super) fn is_full(&self) -> bool {
        self.source.as_ref().and_then(code).is_some_and(|extended| extended & 0xff == FULL)
    }
}

impl From<sqlx::Error> for Fault {
    fn from(source: sqlx::Error) -> Self {
        let code = code(&source).map(|extended| extended & 0xff);
        let message = match code {
            Some(BUSY | LOCKED | PROTOCOL) => "locked by another connection for longer than the busy timeout".into(),
            Some(READONLY) => "the file is read-only".into(),
            Some(IOERR) => "reading or writing the file failed".into(),
            Some(CORRUPT) => "the file is damaged".into(),
            Some(FULL) => "no space left on the disk".into(),
            Some(CANTOPEN) => {
                "cannot be opened; check that it exists and that this process can write to it and to its directory"
                    .into()
            }
            Some(NOTADB) => "the file is not a SQLite database".into(),
            // SQLite's messages contain names of tables and columns but no values.
            _ => source
                .as_database_error()
                .map_or_else(|| "the connection failed".into(), |error| error.message().into()),
        };
        Fault { message, busy: matches!(code, Some(BUSY | LOCKED | PROTOCOL)), lost: false, source: Some(source) }
    }
}

/// Returns the extended result code, whose low byte is the primary result code.
fn code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

// https://www.sqlite.org/rescode.html
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READONLY: i32 = 8;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
/// Too many connections started to use a write-ahead log at once.
const PROTOCOL: i32 = 15;
const NOTADB: i32 = 26;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_busy_database_is_tried_again_and_a_lost_file_concerns_all_operations() {
        let [new, busy, lost] = [Fault::new("x"), Fault::busy("x"), Fault::lost("x")];
        let kinds = |fault: &Fault| (fault.is_busy(), fault.is_of_database(), fault.to_store_error().is_busy());
        assert_eq!([&new, &busy, &lost].map(kinds), [(false, false, false), (true, true, true), (false, true, false)]);
        assert_eq!((lost.message(), &*lost.to_store_error().to_string()), ("x", "SQLite store: x"));
    }
}

use std::path::Path;

use crate::{ConfigError, StoreError};

/// What went wrong with the database, in an operator's words.
#[derive(Debug)]
pub(super) struct Fault {
    what: Box<str>,
    /// Worth another try, with the same connection.
    busy: bool,
    source: Option<sqlx::Error>,
}

impl Fault {
    pub(super) fn new(what: impl Into<Box<str>>) -> Self {
        Fault { what: what.into(), busy: false, source: None }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    pub(super) fn into_config_error(self, path: &Path) -> ConfigError {
        let error = ConfigError::new(format!("SQLite store {}: {}", path.display(), self.what));
        match self.source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }

    /// The same trouble as an answer to one of many who wait.
    pub(super) fn to_store_error(&self) -> StoreError {
        let code = self.source.as_ref().and_then(code).map(|code| format!(" (SQLite code {code})"));
        StoreError::unavailable(format!("SQLite store: {}{}", self.what, code.unwrap_or_default()))
    }
}

impl From<sqlx::Error> for Fault {
    fn from(source: sqlx::Error) -> Self {
        let code = code(&source).map(|extended| extended & 0xff);
        let what = match code {
            Some(BUSY | LOCKED | PROTOCOL) => "locked by someone else for longer than we wait".into(),
            Some(READONLY) => "may not be written to".into(),
            Some(IOERR) => "reading or writing failed".into(),
            Some(CORRUPT) => "the file is damaged".into(),
            Some(FULL) => "no space left".into(),
            Some(CANTOPEN) => {
                "cannot be opened; is it there, and may this process write to it and to its folder?".into()
            }
            Some(NOTADB) => "the file is not a SQLite database".into(),
            // SQLite's messages name tables and columns, never a value.
            _ => {
                source.as_database_error().map_or_else(|| "the connection broke".into(), |error| error.message().into())
            }
        };
        Fault { what, busy: matches!(code, Some(BUSY | LOCKED | PROTOCOL)), source: Some(source) }
    }
}

/// The extended result code; its low byte says what kind of trouble it is.
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
/// Too many began to use a write-ahead log at once.
const PROTOCOL: i32 = 15;
const NOTADB: i32 = 26;

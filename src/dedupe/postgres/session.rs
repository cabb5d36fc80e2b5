//! The settings of the store's connections.
//!
//! A statement makes them on each new connection, in the round trip that identifies the backend. Startup options would
//! save no round trip, and a connection pooler may reject or drop them: PgBouncer drops all of them without notice if
//! its `ignore_startup_parameters` contains `options`. The statement therefore also makes the settings in the startup
//! options of the application, for example its `search_path`.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, raw_sql};
use tokio::time::timeout;

use super::describe::describe;
use crate::ConfigError;

/// Opens connections, and makes their settings.
pub(super) struct Sessions {
    options: PgConnectOptions,
    begin: Arc<str>,
}

impl Sessions {
    pub(super) fn new(options: PgConnectOptions, step_timeout: Duration) -> Arc<Self> {
        let begin = begin(options.get_options().unwrap_or_default(), step_timeout).into();
        // PgBouncer rejects `extra_float_digits` by default, and the store decodes no floating-point numbers from text.
        let options = options.disable_statement_logging().extra_float_digits(None);
        Arc::new(Sessions { options, begin })
    }

    pub(super) async fn open(&self) -> Result<(PgConnection, Backend), sqlx::Error> {
        let mut connection = self.options.connect().await?;
        let backend = Backend::begin(&mut connection, &self.begin).await?;
        Ok((connection, backend))
    }

    /// Opens a connection beside those of the store's operations.
    #[cfg(feature = "inbox")]
    pub(super) async fn open_in_time(&self) -> Result<PgConnection, ConfigError> {
        match timeout(LONGEST_CONNECT, self.open()).await {
            Ok(Ok((connection, _))) => Ok(connection),
            Ok(Err(error)) => Err(cannot_connect(&error).with_source(error)),
            Err(_) => Err(no_answer()),
        }
    }

    /// Opens the first connection of a store, without a pool that would retry until its timeout and then not report
    /// the cause. Rejects transaction pooling before a setting is made, since that would be one of other clients, too.
    pub(super) async fn open_first(&self) -> Result<PgConnection, ConfigError> {
        let opening = async {
            let mut connection = self.options.connect().await?;
            if self.shares_backends(&mut connection).await? {
                return Ok(None);
            }
            Backend::begin(&mut connection, &self.begin).await?;
            Ok(Some(connection))
        };
        match timeout(LONGEST_CONNECT, opening).await {
            Ok(Ok(Some(connection))) => Ok(connection),
            Ok(Ok(None)) => Err(ConfigError::new(
                "PostgreSQL: the connection pooler uses transaction or statement pooling, but the store needs a \
                 backend for each connection; with PgBouncer set pool_mode = session for this database or user, or \
                 connect to the server without the pooler",
            )),
            Ok(Err(error)) => Err(cannot_connect(&error).with_source(error)),
            Err(_) => Err(no_answer()),
        }
    }

    /// Returns whether a pooler assigns a backend for less than the life of a connection (PgBouncer's transaction and
    /// statement pooling): a second connection then gets the backend of the first, or the first gets another one while
    /// the second is in a transaction.
    async fn shares_backends(&self, first: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let before = backend(first, BACKEND).await?;
        let second = async {
            let mut second = self.options.connect().await?;
            let other = backend(&mut second, BACKEND).await?;
            Ok::<_, sqlx::Error>((second, other))
        };
        // Without a free backend, a second connection waits or fails: the first one keeps its own.
        let Ok(Ok((mut second, other))) = timeout(LONGEST_SECOND_CONNECT, second).await else {
            return Ok(false);
        };
        let shared = other == before || Self::changes_backend(first, before, &mut second).await?;
        let _ = second.close().await;
        Ok(shared)
    }

    async fn changes_backend(
        first: &mut PgConnection,
        before: i32,
        second: &mut PgConnection,
    ) -> Result<bool, sqlx::Error> {
        // Other clients of a busy pooler can make the backends look separate once.
        for _ in 0..ROUNDS {
            backend(second, "BEGIN; SELECT pg_backend_pid()").await?;
            let after = backend(first, BACKEND).await?;
            raw_sql("ROLLBACK").execute(&mut *second).await?;
            if after != before || backend(second, BACKEND).await? == before {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

const BACKEND: &str = "SELECT pg_backend_pid()";
const ROUNDS: usize = 5;

/// The server's process for a connection.
#[derive(Clone)]
pub(super) struct Backend {
    pub(super) pid: i32,
    /// Distinguishes the backend from a later process with the same number, and from processes of another server. Not
    /// visible after `SET ROLE` to a role that is not a member of the login role; such a backend is found by its number
    /// only.
    pub(super) started: Option<String>,
}

impl Backend {
    /// Prepares a new connection and identifies its backend, in one statement.
    async fn begin(connection: &mut PgConnection, begin: &Arc<str>) -> Result<Self, sqlx::Error> {
        let row = raw_sql(AssertSqlSafe(begin.clone())).fetch_one(connection).await?;
        Ok(Backend { pid: row.try_get(0)?, started: row.try_get(1)? })
    }
}

/// Queries by the simple protocol, since a prepared statement would be lost with the backend.
async fn backend(connection: &mut PgConnection, query: &'static str) -> Result<i32, sqlx::Error> {
    raw_sql(query).fetch_one(connection).await?.try_get(0)
}

fn cannot_connect(error: &sqlx::Error) -> ConfigError {
    ConfigError::new(format!("PostgreSQL: cannot connect: {}", describe(error)))
}

fn no_answer() -> ConfigError {
    ConfigError::new("PostgreSQL: cannot connect: no answer within 10 s")
}

/// The timeout for opening a connection.
pub(super) const LONGEST_CONNECT: Duration = Duration::from_secs(10);
const LONGEST_SECOND_CONNECT: Duration = Duration::from_secs(2);

/// Returns the statement that prepares a new connection and returns its backend.
fn begin(startup_options: &str, step_timeout: Duration) -> String {
    // The time is read as a number, since the text of a timestamp depends on settings that may change.
    let mut begin = "SELECT pg_backend_pid(),
    (SELECT extract(epoch FROM backend_start)::text FROM pg_stat_activity WHERE pid = pg_backend_pid())"
        .to_owned();
    for (name, value) in settings_in(startup_options) {
        let (name, value) = (quoted(&name), quoted(&value));
        // Settings that can only be made at startup are left alone if the server has them.
        let set = format!(
            ",\n    CASE WHEN current_setting({name}, true) IS DISTINCT FROM {value} \
             THEN set_config({name}, {value}, false) END"
        );
        begin.push_str(&set);
    }
    // Shorter than the caller's timeout, so that the server cancels the statement and reports the reason.
    let third = (step_timeout / 3).as_millis();
    for (name, value) in [
        ("lock_timeout", third.to_string()),
        ("statement_timeout", (third * 2).to_string()),
        // A process that stands still in a transaction holds the lock of a row for no longer than that.
        ("idle_in_transaction_session_timeout", step_timeout.as_millis().to_string()),
        ("default_transaction_isolation", "read committed".to_owned()),
        // The server notices a lost client or network within about 30 s; the system's default is two hours. These have
        // no effect on Unix sockets.
        ("tcp_keepalives_idle", "10".to_owned()),
        ("tcp_keepalives_interval", "5".to_owned()),
        ("tcp_keepalives_count", "4".to_owned()),
        ("tcp_user_timeout", "30000".to_owned()),
    ] {
        begin.push_str(&format!(",\n    set_config('{name}', '{value}', false)"));
    }
    // A commit must be on disk when it is answered, even if the database or the role has another default.
    begin.push_str(
        ",\n    CASE WHEN current_setting('synchronous_commit') = 'off'
        THEN set_config('synchronous_commit', 'on', false) END",
    );
    begin
}

/// Returns the literal of a text, which is the same with and without `standard_conforming_strings`.
fn quoted(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Returns the settings in a startup option such as `-c search_path=a -cjit=off --work-mem=4MB`. Other options are the
/// server's alone.
fn settings_in(options: &str) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    let mut words = words(options).into_iter();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            Some("") => words.next(),
            setting => setting.map(str::to_owned),
        };
        if let Some((name, value)) = setting.as_deref().and_then(|setting| setting.split_once('=')) {
            settings.push((name.replace('-', "_"), value.to_owned()));
        }
    }
    settings
}

/// Splits at whitespace, as the server does: a backslash escapes the character after it.
fn words(options: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(characters.next()),
            character => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_from_every_form_of_a_startup_option() {
        for (options, expected) in [
            ("", &[][..]),
            ("-c search_path=a", &[("search_path", "a")]),
            ("  -csearch_path=a  -c\tjit=off ", &[("search_path", "a"), ("jit", "off")]),
            ("--work-mem=4MB -c a.b=c=d", &[("work_mem", "4MB"), ("a.b", "c=d")]),
            (r#"-c search_path="a\ b",\\c"#, &[("search_path", r#""a b",\c"#)]),
            ("-B 8 -c jit", &[]),
            ("-c", &[]),
        ] {
            let expected: Vec<_> = expected.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            assert_eq!(settings_in(options), expected, "{options}");
        }
        let escaped = PgConnectOptions::new_without_pgpass().options([("search_path", r#""a b", c\"#)]);
        let expected = ("search_path".to_owned(), r#""a b", c\"#.to_owned());
        assert_eq!(settings_in(escaped.get_options().unwrap()), [expected]);
    }

    #[test]
    fn values_are_quoted() {
        assert_eq!(quoted(r"it's \ a"), r"E'it''s \\ a'");
    }
}

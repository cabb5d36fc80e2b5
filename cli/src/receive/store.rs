//! Opens the store that the config file names. The rest of the command works with any store.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;

use medhook::inbox::{Counts, EndpointCounts};
use medhook::{Bodies, ConfigError, DedupeStore, Inbox, MemoryStore, SqliteStore, StoreError};

/// The supported URLs, for messages.
pub(super) const FORMS: &str = "\"memory\", \"sqlite:PATH\", \"postgres://..\" or \"redis://..\"";

/// The URL of a store, and its limit of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoreConfig {
    url: Url,
    max_connections: Option<u32>,
}

impl StoreConfig {
    /// Creates a config with the store's default `max_connections`.
    pub(super) fn new(url: Url) -> Self {
        StoreConfig { url, max_connections: None }
    }

    /// Sets `max_connections`. Fails if the number is too large, or if this store has no such limit.
    pub(super) fn max_connections(self, number: usize) -> Result<Self, String> {
        match self.url {
            Url::Memory => return Err("does not apply to a memory store; remove it".to_owned()),
            Url::Sqlite(_) => return Err("does not apply to a SQLite store; remove it".to_owned()),
            Url::Postgres(_) | Url::Redis(_) => {}
        }
        match u32::try_from(number) {
            Ok(number) if number <= MOST_CONNECTIONS => Ok(StoreConfig { max_connections: Some(number), ..self }),
            _ => Err(format!("must be at most {MOST_CONNECTIONS}")),
        }
    }

    /// Describes the store for the operator, without user, password and options.
    pub(super) fn shown(&self) -> String {
        self.url.shown()
    }

    /// Returns whether the URL holds a password.
    pub(super) fn has_password(&self) -> bool {
        self.url.has_password()
    }

    /// Returns how many file descriptors `max_connections` requires.
    pub(super) fn files(&self) -> usize {
        self.max_connections.map_or(0, |number| usize::try_from(number).unwrap_or(usize::MAX))
    }

    /// Returns whether the store can hold an inbox.
    pub(super) fn has_inbox(&self) -> bool {
        matches!(self.url, Url::Sqlite(_) | Url::Postgres(_))
    }

    /// Opens the store, and its inbox if `bodies` is set. Creates what does not exist.
    pub(super) async fn open(&self, bodies: Option<Bodies>) -> Result<Opened, CannotOpen> {
        self.open_or_create(bodies, true).await
    }

    /// Opens the store, and its inbox if `bodies` is set. Fails if a file or a table does not exist.
    pub(super) async fn open_existing(&self, bodies: Option<Bodies>) -> Result<Opened, CannotOpen> {
        if let Url::Sqlite(path) = &self.url {
            match std::path::Path::new(path).try_exists() {
                Ok(true) => {}
                Ok(false) => {
                    return Err(CannotOpen::Store(format!(
                        "{path} does not exist; no receiver has used this store yet, or the path is that of another \
                         directory"
                    )));
                }
                Err(error) => return Err(CannotOpen::Store(format!("{path} cannot be accessed: {error}"))),
            }
        }
        self.open_or_create(bodies, false).await.map_err(|problem| match problem {
            CannotOpen::Store(text) | CannotOpen::Inbox(text) if is_missing(&text) => {
                let problem = "it has no tables of an inbox yet; start `medhook receive` with this config file once";
                CannotOpen::Store(problem.to_owned())
            }
            problem => problem,
        })
    }

    async fn open_or_create(&self, bodies: Option<Bodies>, create: bool) -> Result<Opened, CannotOpen> {
        let no_inbox = |store: Arc<dyn DedupeStore>| Opened { store, inbox: None, found: Vec::new() };
        let cannot = |error| CannotOpen::Store(with_source(error));
        Ok(match &self.url {
            Url::Memory => no_inbox(Arc::new(MemoryStore::new(IN_MEMORY))),
            Url::Sqlite(path) => {
                let store = SqliteStore::builder().create_tables(create).open(path).await.map_err(cannot)?;
                let inbox = match bodies {
                    Some(bodies) => Some(store.inbox(bodies).await.map_err(cannot_open_inbox)?),
                    None => None,
                };
                let found = found(store.inbox_counts().await);
                Opened { store: Arc::new(store), inbox, found }
            }
            Url::Postgres(url) => postgres(url, self.max_connections, bodies, create).await?,
            Url::Redis(url) => no_inbox(redis(url, self.max_connections).await.map_err(CannotOpen::Store)?),
        })
    }
}

/// Returns whether an error says that tables do not exist.
fn is_missing(problem: &str) -> bool {
    problem.contains("no such table") || problem.contains("do not exist, and create_tables is false")
}

/// The reason why a store cannot be opened, or its inbox, whose keys or access rights are then wrong.
#[derive(Debug)]
pub(super) enum CannotOpen {
    Store(String),
    Inbox(String),
}

impl fmt::Display for CannotOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CannotOpen::Store(problem) | CannotOpen::Inbox(problem) => f.write_str(problem),
        }
    }
}

fn cannot_open_inbox(error: ConfigError) -> CannotOpen {
    CannotOpen::Inbox(with_source(error))
}

/// A store that is open, with its inbox.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn DedupeStore>,
    pub(crate) inbox: Option<Inbox>,
    /// The events that were in the inbox of the store when it was opened, whether or not the inbox is open. Empty if
    /// it cannot be read.
    pub(crate) found: Vec<EndpointCounts>,
}

/// Returns the counts of an inbox, if there is one that this user can read.
fn found(counts: Result<Option<Counts>, StoreError>) -> Vec<EndpointCounts> {
    counts.ok().flatten().map(|counts| counts.endpoints).unwrap_or_default()
}

/// More connections than a server accepts from one client.
const MOST_CONNECTIONS: u32 = 1_000;

/// The parsed URL of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Url {
    Memory,
    Sqlite(String),
    Postgres(String),
    Redis(String),
}

impl Url {
    /// Parses a URL. Errors quote only its scheme, because URLs can hold passwords.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text == "memory" {
            return Ok(Url::Memory);
        }
        // The URL is printed at startup.
        if text.chars().any(char::is_control) {
            return Err("must not contain control characters".to_owned());
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(format!("must be {FORMS}"));
        };
        match scheme {
            "sqlite" => {
                // Other programs write sqlite:///absolute and sqlite://relative.
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if path.is_empty() || path.contains('?') || path == ":memory:" {
                    return Err(
                        "the URL of a SQLite store must be a path without options, such as \"sqlite:medhook.db\""
                            .to_owned(),
                    );
                }
                Ok(Url::Sqlite(path.to_owned()))
            }
            "postgres" | "postgresql" if rest.starts_with("//") => Ok(Url::Postgres(text.to_owned())),
            "redis" | "rediss" if rest.starts_with("//") => Ok(Url::Redis(text.to_owned())),
            "postgres" | "postgresql" | "redis" | "rediss" => Err(format!("must have `//` after `{scheme}:`")),
            _ => Err(format!("must be {FORMS}")),
        }
    }

    /// Describes the store for the operator, without user, password and options.
    fn shown(&self) -> String {
        match self {
            Url::Memory => "memory (lost on exit)".to_owned(),
            Url::Sqlite(path) => format!("sqlite:{path}"),
            Url::Postgres(url) | Url::Redis(url) => {
                let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
                match rest.rsplit_once('@') {
                    // The `@` is in an option or in an unescaped password, so the host is unknown.
                    Some((before, _)) if before.contains('?') => format!("{scheme}://.."),
                    Some((_, host)) => format!("{scheme}://{}", without_options(host)),
                    None => format!("{scheme}://{}", without_options(rest)),
                }
            }
        }
    }

    /// Returns whether the URL holds a password. Any colon before an `@` counts, because a password may contain
    /// characters that should have been escaped.
    pub(super) fn has_password(&self) -> bool {
        let (Url::Postgres(url) | Url::Redis(url)) = self else {
            return false;
        };
        let rest = url.split_once("//").map_or("", |(_, rest)| rest);
        let before_host = rest.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
        let options = rest.split_once('?').map_or("", |(_, options)| options);
        let among_options = options.split(['&', '?']).any(|option| {
            let name = option.split('=').next().unwrap_or_default().to_ascii_lowercase();
            name == "pass" || name.ends_with("password")
        });
        before_host || among_options
    }
}

fn without_options(url: &str) -> &str {
    url.split_once('?').map_or(url, |(url, _)| url)
}

/// The capacity of the memory store in events, each of which takes about a hundred bytes.
const IN_MEMORY: usize = 1_000_000;

/// Returns the message of an error and of its source, which names what is wrong with a path.
fn with_source(error: ConfigError) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(feature = "postgres")]
async fn postgres(
    url: &str,
    max_connections: Option<u32>,
    bodies: Option<Bodies>,
    create: bool,
) -> Result<Opened, CannotOpen> {
    let mut builder = medhook::PostgresStore::builder().create_tables(create);
    if let Some(number) = max_connections {
        builder = builder.max_connections(number);
    }
    // The message includes that of the source.
    let store = builder.connect(url).await.map_err(|error| CannotOpen::Store(error.to_string()))?;
    // Errors of the server, such as a missing privilege, are not about the keys.
    let cannot = |error: ConfigError| match error.to_string() {
        problem if problem.starts_with("PostgreSQL: ") => CannotOpen::Store(problem),
        _ => cannot_open_inbox(error),
    };
    let inbox = match bodies {
        Some(bodies) => Some(store.inbox(bodies).await.map_err(cannot)?),
        None => None,
    };
    let found = found(store.inbox_counts().await);
    Ok(Opened { store: Arc::new(store), inbox, found })
}

#[cfg(not(feature = "postgres"))]
async fn postgres(_: &str, _: Option<u32>, _: Option<Bodies>, _: bool) -> Result<Opened, CannotOpen> {
    Err(CannotOpen::Store(not_built("PostgreSQL", "postgres")))
}

#[cfg(feature = "redis")]
async fn redis(url: &str, max_connections: Option<u32>) -> Result<Arc<dyn DedupeStore>, String> {
    let mut builder = medhook::RedisStore::builder();
    if let Some(number) = max_connections.and_then(|number| usize::try_from(number).ok()) {
        builder = builder.max_connections(number);
    }
    // The message includes that of the source.
    let store = builder.connect(url).await.map_err(|error| error.to_string())?;
    Ok(Arc::new(store))
}

#[cfg(not(feature = "redis"))]
async fn redis(_: &str, _: Option<u32>) -> Result<Arc<dyn DedupeStore>, String> {
    Err(not_built("Redis", "redis"))
}

#[cfg(not(all(feature = "postgres", feature = "redis")))]
fn not_built(server: &str, feature: &str) -> String {
    format!(
        "this medhook was built without {server}; run `cargo install --path cli --features {feature}` to build it in"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_of_a_url_selects_the_store() {
        assert_eq!(Url::parse("memory"), Ok(Url::Memory));
        for (text, path) in [
            ("sqlite:medhook.db", "medhook.db"),
            ("sqlite:/var/lib/medhook.db", "/var/lib/medhook.db"),
            ("sqlite:///var/lib/medhook.db", "/var/lib/medhook.db"),
            ("sqlite://medhook.db", "medhook.db"),
        ] {
            assert_eq!(Url::parse(text), Ok(Url::Sqlite(path.to_owned())), "{text}");
        }
        assert!(matches!(Url::parse("postgresql://localhost/db"), Ok(Url::Postgres(_))));
        assert!(matches!(Url::parse("rediss://localhost"), Ok(Url::Redis(_))));
    }

    #[test]
    fn an_invalid_url_is_rejected_without_being_quoted() {
        for text in [
            "",
            "hunter2",
            "sqlite",
            "sqlite:",
            "sqlite::memory:",
            "sqlite:hunter2?mode=ro",
            "mysql://root:hunter2@localhost",
            "postgres:hunter2",
            "redis:hunter2",
            "redis://hunter2\u{1b}",
            "sqlite:hunter2\u{9b}31m",
            "Memory",
        ] {
            let problem = Url::parse(text).unwrap_err();
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }

    #[test]
    fn a_password_is_found_in_every_part_of_a_url() {
        for (text, has) in [
            ("memory", false),
            ("sqlite:a:b@c", false),
            ("postgres://db.example:5432/medhook?sslmode=require", false),
            ("postgres://me@db.example:5432/medhook", false),
            ("postgres://me:hunter2@db.example/medhook", true),
            ("postgres://me:hun/ter?2@db.example/medhook", true),
            ("postgres://db.example/medhook?sslmode=require&password=hunter2", true),
            ("postgres://db.example/medhook?Password=hunter2", true),
            ("redis://127.0.0.1:6379/0", false),
            ("redis://:hunter2@127.0.0.1:6379/0", true),
            ("rediss://h/?pass=hunter2", true),
        ] {
            assert_eq!(Url::parse(text).unwrap().has_password(), has, "{text}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        for (text, shown) in [
            ("postgres://me:hun:ter@2@db.example:5432/medhook?sslmode=require", "postgres://db.example:5432/medhook"),
            ("redis://:hunter2@127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
            ("redis://127.0.0.1", "redis://127.0.0.1"),
            ("redis://:hunter2://@127.0.0.1", "redis://127.0.0.1"),
            ("postgres://me:hun/ter2@db.example/medhook", "postgres://db.example/medhook"),
            ("postgres://me:hun?ter2@db.example/medhook", "postgres://.."),
            ("postgres://db.example/medhook?password=hun@ter2", "postgres://.."),
        ] {
            assert_eq!(Url::parse(text).unwrap().shown(), shown);
        }
    }
}

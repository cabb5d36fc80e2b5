//! The texts of errors.

/// Describes an error in one line that contains nothing of the URL.
pub(super) fn describe(error: &sqlx::Error) -> String {
    let text = match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Tls(error) => format!("TLS: {error}"),
        sqlx::Error::Configuration(error) => error.to_string(),
        sqlx::Error::PoolTimedOut => "no answer in time".to_owned(),
        sqlx::Error::PoolClosed => "the connection pool is closed".to_owned(),
        error => error.to_string(),
    };
    text.split(['\n', '\r']).next().unwrap_or_default().to_owned()
}

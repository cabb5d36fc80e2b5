//! A recorded request head.

use crate::failure::Failure;
use crate::recording::Redacted;

/// A recorded request head.
#[derive(Default)]
pub(crate) struct Head {
    /// The method, if a request line or `:method` names it.
    pub(crate) method: Option<String>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// The body, if the file holds it as well.
    pub(crate) body: Option<Vec<u8>>,
    /// The time of arrival in Unix seconds, if the file holds it.
    pub(crate) at: Option<i64>,
    /// The headers whose values `medhook capture` did not record.
    pub(crate) redacted: Vec<Redacted>,
}

impl Head {
    /// Returns whether there is a header of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// Returns all values of a header.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let same = move |(known, _): &&(String, Vec<u8>)| known.eq_ignore_ascii_case(name);
        self.headers.iter().filter(same).map(|(_, value)| value.as_slice())
    }

    /// Returns the value of a header that occurs once, if it is UTF-8.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let mut values = self.values(name);
        let value = values.next()?;
        if values.next().is_some() { None } else { str::from_utf8(value).ok() }
    }

    /// Adds a header, or records the method if it is the pseudo-header of HTTP/2. Fails for an invalid name.
    pub(super) fn add(&mut self, name: &str, value: &[u8]) -> Option<()> {
        let name = name.trim();
        if let Some(pseudo) = name.strip_prefix(':') {
            if pseudo == "method" {
                self.method = str::from_utf8(value).ok().map(|method| method.trim().to_owned());
            }
            return Some(());
        }
        let from_cgi = cgi_name(name);
        let name = http::HeaderName::from_bytes(from_cgi.as_deref().unwrap_or(name).as_bytes()).ok()?;
        self.headers.push((name.as_str().to_owned(), value.trim_ascii().to_vec()));
        Some(())
    }
}

/// Returns the name of a header that CGI, Rack, WSGI and PHP call `HTTP_X_SIGNATURE`.
fn cgi_name(name: &str) -> Option<String> {
    let is_cgi = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    let bare = match name {
        "CONTENT_TYPE" | "CONTENT_LENGTH" => name,
        _ => name.strip_prefix("HTTP_").filter(|_| is_cgi)?,
    };
    Some(bare.replace('_', "-"))
}

/// Creates an error about the file of headers.
pub(super) fn problem(text: impl std::fmt::Display) -> Failure {
    Failure::new(format!("--headers: {text}"))
}

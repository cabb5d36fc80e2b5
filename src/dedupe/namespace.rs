use crate::ConfigError;

/// The prefix of a store's tables or keys, which lets several stores share a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Namespace(Box<str>);

impl Namespace {
    /// Checks a name, which becomes a part of SQL.
    ///
    /// # Errors
    /// Returns an error unless it is 1 to 32 characters of `a-z`, `0-9` and `_`, and begins with a letter.
    pub(crate) fn new(name: &str) -> Result<Self, ConfigError> {
        let fits = (1..=32).contains(&name.len())
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        // SQLite and PostgreSQL reserve these prefixes.
        if fits && !name.starts_with("sqlite_") && !name.starts_with("pg_") {
            return Ok(Namespace(name.into()));
        }
        let shown: String = name.chars().take(40).flat_map(char::escape_default).collect();
        Err(ConfigError::new(format!(
            "invalid namespace `{shown}`: a namespace must be 1 to 32 characters of a-z, 0-9 and _, begin with a \
             letter, and not begin with sqlite_ or pg_"
        )))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Namespace("medhook".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_is_not_a_plain_name_is_rejected() {
        for good in ["medhook", "m", "clinic_2", &"a".repeat(32)] {
            assert_eq!(Namespace::new(good).unwrap().as_str(), good);
        }
        let bad = ["", "2m", "_m", "M", "a-b", "a b", "a;b", "a\"b", "a.b", "ä", "a\n", "sqlite_a", "pg_a"];
        for bad in bad.into_iter().chain([&*"a".repeat(33)]) {
            let error = Namespace::new(bad).unwrap_err().to_string();
            assert!(error.contains("a namespace must be 1 to 32") && !error.contains('\n'), "{error}");
        }
    }
}

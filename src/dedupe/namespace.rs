use std::fmt;

use crate::ConfigError;

/// What tells the tables or keys of one store from others in the same database.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Namespace(Box<str>);

impl Namespace {
    /// It goes into statements as it is, so nothing may be in it that any server reads as more than a name. Short,
    /// because PostgreSQL cuts names off at 63 bytes, and two that differ only behind that would be one.
    pub(super) fn new(name: &str) -> Result<Self, ConfigError> {
        let of_the_set = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        if begins && name.len() <= LONGEST && name.bytes().all(of_the_set) {
            Ok(Namespace(name.into()))
        } else {
            Err(ConfigError::new(format!(
                "store namespace {name:?}: not 1 to {LONGEST} characters of a-z, 0-9 and `_`, the first a letter"
            )))
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

const LONGEST: usize = 40;

impl Default for Namespace {
    fn default() -> Self {
        Namespace("medhook".into())
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_taken() {
        for name in ["medhook", "a", "m2_eu", &"m".repeat(LONGEST)] {
            assert_eq!(Namespace::new(name).unwrap().as_str(), name);
        }
        for name in ["", "Medhook", "2m", "_m", "m-eu", "m;drop", "m\"", "m{1}", "m é", &"m".repeat(LONGEST + 1)] {
            assert!(Namespace::new(name).unwrap_err().to_string().contains("namespace"), "{name}");
        }
    }
}

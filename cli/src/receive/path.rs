//! Paths of endpoints, and the names derived from them.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

/// Checks the path of an endpoint. It is compared with the path of a request byte for byte, so it must not be a pattern
/// or have escapes.
pub(super) fn checked(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err("must begin with `/`".to_owned());
    }
    if path.len() > 256 {
        return Err("must be at most 256 characters".to_owned());
    }
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    if let Some(other) = path.chars().find(|c| !is_allowed(*c)) {
        let problem = match other {
            '?' => "a query is not supported",
            '#' => "a fragment is not supported",
            '{' | '}' | '*' | ':' | '<' | '>' => "a pattern is not supported; add an endpoint for each path",
            _ => "only a-z, A-Z, 0-9, `/`, `-`, `.`, `_` and `~` are supported",
        };
        return Err(format!("must not contain `{}`: {problem}", other.escape_debug()));
    }
    let inner = path.strip_suffix('/').unwrap_or(path);
    if inner.split('/').skip(1).any(|segment| matches!(segment, "" | "." | "..")) {
        return Err("must not contain an empty segment, `.` or `..`, because proxies rewrite them".to_owned());
    }
    if HEALTH.contains(&path) {
        return Err("reserved for health checks; choose another path".to_owned());
    }
    Ok(())
}

/// The paths of health checks. `/healthz` is an alias of `/readyz`.
pub(super) const HEALTH: [&str; 3] = [LIVE, "/readyz", "/healthz"];

/// The path of the liveness check, which is always answered 200.
pub(super) const LIVE: &str = "/livez";

/// Derives a name from a path, such as `webhooks-fasten` from `/webhooks/fasten`. The name for `/` is empty.
pub(super) fn name(path: &str) -> String {
    let replaced = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c.to_ascii_lowercase() } else { '-' };
    path.trim_matches('/').chars().map(replaced).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_are_accepted() {
        for path in ["/", "/a", "/webhooks/fasten", "/webhooks/fasten/", "/A-b_c.d~e/0"] {
            assert_eq!(checked(path), Ok(()), "{path}");
        }
        for (path, problem) in [
            ("", "begin with"),
            ("webhooks", "begin with"),
            ("/a?b=c", "query"),
            ("/a#b", "fragment"),
            ("/{tenant}", "pattern"),
            ("/:tenant", "pattern"),
            ("/a/*", "pattern"),
            ("/a b", "only a-z"),
            ("/ñ", "only a-z"),
            ("/a\n", "only a-z"),
            ("/%61", "only a-z"),
            ("//", "empty"),
            ("/a//b", "empty"),
            ("/a/../b", "empty"),
            ("/./a", "empty"),
            ("/healthz", "reserved"),
            ("/readyz", "reserved"),
            ("/livez", "reserved"),
        ] {
            assert!(checked(path).is_err_and(|error| error.contains(problem)), "{path:?}");
        }
        assert!(checked(&format!("/{}", "a".repeat(256))).is_err());
    }

    #[test]
    fn a_name_is_derived_from_a_path() {
        for (path, expected) in
            [("/webhooks/fasten", "webhooks-fasten"), ("/Fasten/", "fasten"), ("/a~b", "a-b"), ("/", "")]
        {
            assert_eq!(name(path), expected);
        }
    }
}

//! Paths that endpoints have, and the names made of them.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

/// Checks a path. It is compared with a request's byte for byte: no pattern, no escapes, no two ways to write it.
pub(super) fn checked(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err("must begin with `/`".to_owned());
    }
    if path.len() > 256 {
        return Err("longer than 256 characters".to_owned());
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    if let Some(other) = path.chars().find(|c| !plain(*c)) {
        let problem = match other {
            '?' => "a path has no query",
            '#' => "a path has no fragment",
            '{' | '}' | '*' | ':' | '<' | '>' => "a path is no pattern, and needs an endpoint of its own",
            _ => "only a-z, A-Z, 0-9, `/`, `-`, `.`, `_` and `~` are for paths",
        };
        return Err(format!("{problem}, so no `{}`", other.escape_debug()));
    }
    let inner = path.strip_suffix('/').unwrap_or(path);
    if inner.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
        return Err("a part of it is empty, `.` or `..`, which proxies change".to_owned());
    }
    if HEALTH.contains(&path) {
        return Err("reserved for health checks".to_owned());
    }
    Ok(())
}

/// The paths of health checks. `/healthz` is another name of `/readyz`.
pub(super) const HEALTH: [&str; 3] = [LIVE, "/readyz", "/healthz"];

/// Answered 200 while the process answers at all.
pub(super) const LIVE: &str = "/livez";

/// A name made of a path: `/webhooks/fasten` is `webhooks-fasten`. Empty where there is nothing to make it of.
pub(super) fn name(path: &str) -> String {
    let part_of_name =
        |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c.to_ascii_lowercase() } else { '-' };
    path.trim_matches('/').chars().map(part_of_name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_only() {
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
    fn a_path_makes_a_name() {
        for (path, expected) in
            [("/webhooks/fasten", "webhooks-fasten"), ("/Fasten/", "fasten"), ("/a~b", "a-b"), ("/", "")]
        {
            assert_eq!(name(path), expected);
        }
    }
}

/// Checks a server's URL before the client library parses it, which would ignore an unknown parameter, or could quote a
/// part of the password in its error. The messages quote nothing of the URL except the name of a parameter.
pub(super) fn check(url: &str, schemes: &[&str], parameters: &[&str]) -> Result<(), String> {
    let (_, rest) = url
        .split_once("://")
        .filter(|(scheme, _)| schemes.contains(scheme))
        .ok_or_else(|| format!("it must begin with `{}://`", schemes.join("://` or `")))?;
    if rest.contains('#') {
        return Err("it contains a `#`; in a password, encode it as `%23`".to_owned());
    }
    let (location, query) = rest.split_once('?').unwrap_or((rest, ""));
    if location.split_once('/').is_some_and(|(_, path)| path.contains('@')) || query.contains('@') {
        return Err("it contains an `@` after the host; in a password, encode `/` as `%2F` and `?` as `%3F`".to_owned());
    }
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, has_value) = parameter.split_once('=').map_or((parameter, false), |(name, _)| (name, true));
        if !parameters.contains(&name) {
            // Without a value it may be the rest of a password with an `&` that is not encoded.
            let plain = has_value
                && name.len() <= 40
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
            return Err(if plain {
                format!("unknown parameter {name}")
            } else {
                "unknown parameter (its name is not shown)".to_owned()
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ambiguous_urls_are_rejected_without_quoting_the_password() {
        let check = |url| check(url, &["redis", "rediss"], &["protocol"]);
        for url in ["redis://h", "rediss://user:p%2Fw%40@h:1/2?protocol=3", "redis://:p@h?protocol=2"] {
            assert_eq!(check(url), Ok(()), "{url}");
        }
        for (url, problem) in [
            ("", "must begin"),
            ("redis:/h", "must begin"),
            ("http://user:hunter2@h", "must begin with `redis://` or `rediss://`"),
            ("rediss://h#insecure", "`#`"),
            ("redis://user:hun#ter2@h", "`#`"),
            ("redis://user:1/hunter2@h", "`@`"),
            ("redis://user:1?hunter2@h", "`@`"),
            ("redis://h?ssl=hunter2", "unknown parameter ssl"),
            ("redis://h?protocol=2&hunter2", "unknown parameter (its name is not shown)"),
            ("redis://h?protocol=2&hunter2\n=2", "unknown parameter (its name is not shown)"),
        ] {
            let error = check(url).unwrap_err();
            assert!(error.contains(problem) && !error.contains("hunter"), "{url}: {error}");
        }
    }
}

/// Looks at a server's URL before the library that connects does, which would overlook an unknown parameter, or take a
/// part of a password for something that it may show. What is told of it is at most a parameter's name.
pub(super) fn check(url: &str, schemes: &[&str], parameters: &[&str]) -> Result<(), String> {
    let (_, rest) = url
        .split_once("://")
        .filter(|(scheme, _)| schemes.contains(scheme))
        .ok_or_else(|| format!("it does not begin with `{}://`", schemes.join("://` or `")))?;
    if rest.contains('#') {
        return Err("it has a `#`; in a password write it as `%23`".to_owned());
    }
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    if place.split_once('/').is_some_and(|(_, path)| path.contains('@')) || query.contains('@') {
        return Err("it has an `@` too far behind; in a password write `/` as `%2F`, `?` as `%3F`".to_owned());
    }
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
        if !parameters.contains(&name) {
            let plain =
                name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
            return Err(format!("it has an unknown parameter, {}", if plain { name } else { "unreadable, too" }));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_overlooked_or_shown_is_refused() {
        let check = |url| check(url, &["redis", "rediss"], &["protocol"]);
        for url in ["redis://h", "rediss://user:p%2Fw%40@h:1/2?protocol=3", "redis://:p@h?protocol=2"] {
            assert_eq!(check(url), Ok(()), "{url}");
        }
        for (url, problem) in [
            ("", "does not begin"),
            ("redis:/h", "does not begin"),
            ("http://user:hunter2@h", "does not begin with `redis://` or `rediss://`"),
            ("rediss://h#insecure", "`#`"),
            ("redis://user:hun#ter2@h", "`#`"),
            ("redis://user:1/hunter2@h", "`@`"),
            ("redis://user:1?hunter2@h", "`@`"),
            ("redis://h?ssl=hunter2", "parameter, ssl"),
            ("redis://h?protocol=2&hunter2\n=2", "parameter, unreadable"),
        ] {
            let told = check(url).unwrap_err();
            assert!(told.contains(problem) && !told.contains("hunter"), "{url}: {told}");
        }
    }
}

//! The name under which an operator is recorded.

use crate::failure::Failure;

/// Returns the name that was given, or that of the user of the operating system. With sudo, it is the user who ran
/// sudo.
///
/// It is a statement of the operator, not an authentication: a client that can write to the store can write any name.
pub(crate) fn actor(given: Option<&str>) -> Result<String, Failure> {
    let name = match given {
        Some(name) => Some(name.to_owned()),
        None => system_user(),
    };
    name.ok_or_else(|| Failure::new("the name of the user is unknown; name the operator with --actor NAME"))
}

#[cfg(unix)]
fn system_user() -> Option<String> {
    let user = rustix::process::geteuid().as_raw();
    let sudo = std::env::var("SUDO_USER").ok().filter(|name| user == 0 && is_name(name));
    sudo.or_else(|| named(&std::fs::read_to_string("/etc/passwd").ok()?, user)).or_else(from_environment)
}

#[cfg(not(unix))]
fn system_user() -> Option<String> {
    from_environment()
}

/// Returns the name of users who are in a directory instead of a file.
fn from_environment() -> Option<String> {
    ["LOGNAME", "USER", "USERNAME"].iter().filter_map(|name| std::env::var(name).ok()).find(|name| is_name(name))
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.chars().count()) && !name.contains(|c: char| c.is_control() || c.is_whitespace())
}

/// Returns the name of a user in the text of /etc/passwd.
#[cfg(unix)]
fn named(passwd: &str, user: u32) -> Option<String> {
    let user = user.to_string();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == user).then_some(name)
    });
    name.filter(|name| is_name(name)).map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_name_is_used_as_it_is() {
        assert_eq!(actor(Some("jdoe")).unwrap(), "jdoe");
    }

    #[cfg(unix)]
    #[test]
    fn the_name_of_a_user_is_found_by_its_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n\nbroken\njdoe:x:1000:100::/home/jdoe:/bin/sh\n";
        assert_eq!(named(passwd, 0).as_deref(), Some("root"));
        assert_eq!(named(passwd, 1000).as_deref(), Some("jdoe"));
        assert_eq!(named(passwd, 100), None);
        assert_eq!(named("a b:x:7:7::/:", 7), None);
    }
}

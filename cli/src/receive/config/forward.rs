//! Reads where the events of an endpoint are forwarded to, and the secret that signs them.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::path::Path;

use medhook::StandardWebhooks;
use medhook::sign::Signer;

use crate::failure::Failure;
use crate::receive::forward::{ForwardAddress, ForwardUrl};
use crate::receive::keys::TableKeys;
use crate::receive::secrets::{self, Group, SecretList};
use crate::receive::shared_signer::SharedSigner;
use crate::tls_client::TrustedRoots;

/// The destination of the events of an endpoint.
pub(in crate::receive) struct Forward {
    pub(in crate::receive) target: ForwardUrl,
    /// Signs the requests to the application.
    pub(in crate::receive) signer: Option<SharedSigner>,
    /// A line for the operator about the permissions of a Unix socket.
    pub(super) warning: Option<String>,
}

/// The keys that require `forward`.
const ONLY_WITH_FORWARD: [&str; 3] = ["forward_ca", "forward_secret", "forward_in_clear"];

/// Reads where events are forwarded to, and the secret that signs them.
pub(super) fn take(keys: &mut TableKeys, reuse: bool) -> Result<(Option<Forward>, Option<Group>), Failure> {
    let Some(url) = keys.text("forward")? else {
        return match ONLY_WITH_FORWARD.into_iter().find(|key| keys.has(key)) {
            Some(key) => Err(keys.wrong(key, "requires `forward`; set it, or remove this key")),
            None => Ok((None, None)),
        };
    };
    let address = ForwardAddress::parse(&url).map_err(|problem| keys.wrong("forward", problem))?;
    check_in_clear(keys, &address)?;
    if !address.is_local() && !keys.has("forward_secret") {
        return Err(keys.wrong(
            "forward_secret",
            "missing; an application on another machine must be able to verify that events come from this receiver; \
             set it to a secret in base64, such as one from `openssl rand -base64 32`, that the application has, too",
        ));
    }
    let roots = roots(keys, &address)?;
    let target = ForwardUrl::new(address, roots).map_err(|problem| keys.wrong("forward", problem))?;
    let warning = target.warning().map(|warning| keys.wrong("forward", warning).to_string());
    let Some(named) = secrets::one(keys, "forward_secret")? else {
        return Ok((Some(Forward { target, signer: None, warning }), None));
    };
    let signer = Signer::new(StandardWebhooks::new(), &named.secret);
    let signer = signer.map_err(|error| keys.wrong("forward_secret", error))?;
    Ok((
        Some(Forward { target, signer: Some(SharedSigner::new(signer)), warning }),
        Some(Group { key: "forward_secret", list: SecretList::of(named.entry.clone()), secrets: vec![named], reuse }),
    ))
}

/// Fails if events would leave the machine in clear without `forward_in_clear`, or if it is set and has no effect.
fn check_in_clear(keys: &mut TableKeys, address: &ForwardAddress) -> Result<(), Failure> {
    let leaves_in_clear = !address.is_local() && !address.is_tls();
    match (keys.flag("forward_in_clear")?, leaves_in_clear) {
        (false, true) => Err(keys.wrong(
            "forward",
            "would send patient data unencrypted to another machine; use https://, or, if you trust the network in \
             between, set `forward_in_clear = true`",
        )),
        (true, false) => Err(keys.wrong(
            "forward_in_clear",
            "only applies to http:// and another machine; remove it, since events to this `forward` are encrypted or \
             stay on this machine",
        )),
        _ => Ok(()),
    }
}

/// Reads the certificates that the application's certificate must be signed by. Returns `None` without https.
fn roots(keys: &mut TableKeys, address: &ForwardAddress) -> Result<Option<TrustedRoots>, Failure> {
    let file = keys.text("forward_ca")?;
    match (file, address.is_tls()) {
        (None, false) => Ok(None),
        (Some(_), false) => Err(keys.wrong("forward_ca", "only applies to https://; remove it, or change `forward`")),
        (Some(file), true) => {
            let roots = TrustedRoots::of_file(Path::new(&file));
            Ok(Some(roots.map_err(|problem| keys.wrong("forward_ca", problem))?))
        }
        (None, true) => {
            let roots = TrustedRoots::of_system().map_err(|problem| {
                keys.wrong("forward", format_args!("{problem}; or set `forward_ca` to a file of certificates"))
            });
            Ok(Some(roots?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the mistake in these keys of an endpoint, or the URL that is shown.
    fn read(keys: &str) -> Result<String, String> {
        let mut keys = TableKeys::parse("medhook.toml", keys).unwrap();
        let (forward, _) = take(&mut keys, false).map_err(|failure| failure.to_string())?;
        Ok(forward.unwrap().target.to_string())
    }

    #[test]
    fn each_mistake_is_one_line_that_names_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.display().to_string()
        };
        let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
        let (ca, empty) = (file("ca.pem", &certificate), file("empty.pem", ""));
        let secret = file("secret", "c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz");
        let missing = folder.path().join("missing.pem").display().to_string();
        let signed = format!("forward_secret = {{ file = {secret:?} }}\n");
        for (url, more, mistake) in [
            ("http://10.0.0.1/", signed.clone(), "`forward`: would send patient data unencrypted"),
            ("http://app:3000/", "forward_in_clear = true".to_owned(), "`forward_secret`: missing; an application on"),
            ("https://app.example/", String::new(), "`forward_secret`: missing; an application on another machine"),
            ("https://app.example/", format!("forward_ca = {missing:?}\n{signed}"), "`forward_ca`: cannot be read: "),
            ("https://localhost/", format!("forward_ca = {empty:?}"), "`forward_ca`: holds no certificate in PEM"),
            ("https://localhost/", format!("forward_ca = {secret:?}"), "`forward_ca`: holds no certificate in PEM"),
            ("https://a_b..c/", format!("forward_ca = {ca:?}\n{signed}"), "`forward`: has a host that no certificate"),
            ("http://127.0.0.1/", format!("forward_ca = {ca:?}"), "`forward_ca`: only applies to https://"),
            ("unix:/run/app.sock", format!("forward_ca = {ca:?}"), "`forward_ca`: only applies to https://"),
            ("https://localhost/", "forward_in_clear = true".to_owned(), "`forward_in_clear`: only applies to http://"),
            ("http://127.0.0.1/", "forward_in_clear = true".to_owned(), "`forward_in_clear`: only applies to http://"),
            ("unix:/run/app.sock", "forward_in_clear = true".to_owned(), "`forward_in_clear`: only applies to http://"),
            ("unix:app", "forward_ca = 1".to_owned(), "`forward_ca`: must be a string"),
            ("unix://run/app.sock", String::new(), "`forward`: must be the path of a socket and the path of the URL"),
        ] {
            let problem = read(&format!("forward = {url:?}\n{more}")).unwrap_err();
            assert!(problem.starts_with(&format!("medhook.toml: {mistake}")), "{url} {more}: {problem}");
            assert_eq!(problem.lines().count(), 1, "{problem}");
        }
        for key in ["forward_ca = \"ca.pem\"", "forward_in_clear = true", &signed] {
            let problem = take(&mut TableKeys::parse("medhook.toml", key).unwrap(), false).err().unwrap().to_string();
            assert!(problem.contains("requires `forward`; set it, or remove this key"), "{problem}");
        }
        for (url, more) in [
            ("http://127.0.0.1:3000/x", String::new()),
            ("http://app:3000/x", format!("forward_in_clear = true\n{signed}")),
            ("https://localhost/x", format!("forward_ca = {ca:?}")),
            ("https://[::1]:8443/x", format!("forward_ca = {ca:?}\nforward_in_clear = false")),
            ("https://app.example/x", format!("forward_ca = {ca:?}\n{signed}")),
            ("unix:/run/app.sock:/x", String::new()),
        ] {
            assert_eq!(read(&format!("forward = \"{url}?token=hunter2\"\n{more}")).as_deref(), Ok(url));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_in_a_folder_that_every_user_can_write_to_is_a_warning() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        for (mode, warns) in [(0o755, false), (0o770, false), (0o777, true), (0o1777, true)] {
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            let url = format!("forward = \"unix:{}/app.sock:/x\"", folder.path().display());
            let mut keys = TableKeys::parse("medhook.toml", &url).unwrap();
            let warning = take(&mut keys, false).ok().unwrap().0.unwrap().warning;
            assert_eq!(warning.is_some(), warns, "{mode:o}");
            assert!(warning.is_none_or(|line| line.starts_with("medhook.toml: `forward`: every user of this machine")));
        }
    }
}

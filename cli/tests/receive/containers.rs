//! The files in contrib/kubernetes and contrib/docker agree with each other and with the receiver. scripts/containers
//! checks them against the schemas of Kubernetes.

use std::time::Duration;

use crate::program::{Folder, INBOX_KEY, OTHER_SECRET, SECRET, ends};

const CONFIG_MAP: &str = include_str!("../../../contrib/kubernetes/configmap.yaml");
const DEPLOYMENT: &str = include_str!("../../../contrib/kubernetes/deployment.yaml");
const DOCKERFILE: &str = include_str!("../../../contrib/docker/Dockerfile");

/// The folder at which the Deployment mounts the Secret.
const SECRETS: &str = "/run/secrets/medhook";

/// Returns the config file in the ConfigMap.
fn config() -> String {
    let (_, block) = CONFIG_MAP.split_once("  medhook.toml: |\n").unwrap();
    block.lines().map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line))).collect()
}

/// Returns the rest of the only line of `text` that has `key`.
fn value<'t>(text: &'t str, key: &str) -> &'t str {
    let mut lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let found = lines.find_map(|line| Some(line.split_once(key)?.1.trim()));
    found.unwrap_or_else(|| panic!("no {key}"))
}

/// Checks the config file with these files in the folder of secrets. Returns the exit code and standard error.
#[cfg(feature = "postgres")]
fn check(config: &str, without: &str) -> (Option<i32>, String) {
    let folder = Folder::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::CertificateParams::new(["application".to_owned()]).unwrap().self_signed(&key).unwrap();
    for (name, content) in [
        ("store", "postgres://medhook@database/medhook?sslmode=verify-full"),
        ("inbox-key", INBOX_KEY),
        ("fasten", SECRET),
        ("application", OTHER_SECRET),
        ("application-ca", &authority.pem()),
    ] {
        if name != without {
            folder.file(name, content);
        }
    }
    let config = config.replace(SECRETS, folder.path().to_str().unwrap());
    let output = ends(&folder, &config, &["--check"]);
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[cfg(feature = "postgres")]
#[test]
fn the_config_file_for_kubernetes_is_valid() {
    let config = config();
    let (code, stderr) = check(&config, "");
    assert_eq!(code, Some(0), "{stderr}");
    for (file, key) in [
        ("store", "`store`"),
        ("inbox-key", "`inbox_key`"),
        ("fasten", "`secrets[0]`"),
        ("application", "`forward_secret`"),
        ("application-ca", "`forward_ca`"),
    ] {
        let (code, stderr) = check(&config, file);
        assert!(code == Some(2) && stderr.contains(key), "{file}: {stderr}");
    }
    let (code, stderr) = check(&config.replace("drain_delay", "drain_delays"), "");
    assert!(code == Some(2) && stderr.contains("drain_delays"), "{stderr}");
}

#[test]
fn the_grace_period_covers_the_shutdown() {
    let config: toml::Table = config().parse().unwrap();
    let seconds = |key: &str| {
        let text = config[key].as_str().unwrap().strip_suffix('s').unwrap();
        Duration::from_secs(text.parse().unwrap())
    };
    let shutdown = seconds("drain_delay") + seconds("shutdown_timeout") + Duration::from_secs(15);
    let grace = Duration::from_secs(value(DEPLOYMENT, "terminationGracePeriodSeconds:").parse().unwrap());
    assert!(grace >= shutdown, "{grace:?} is shorter than {shutdown:?}");
}

#[test]
fn ports_mounts_and_users_agree() {
    let config: toml::Table = config().parse().unwrap();
    for (name, listen) in [("deliveries", &config["listen"]), ("operations", &config["operations"]["listen"])] {
        let port = listen.as_str().unwrap().strip_prefix("0.0.0.0:").unwrap();
        assert!(DEPLOYMENT.contains(&format!("name: {name}, containerPort: {port} ")), "{name}");
    }
    assert!(DEPLOYMENT.contains(&format!("mountPath: {SECRETS}, readOnly: true")));
    assert_eq!(config["store"]["file"].as_str(), Some(format!("{SECRETS}/store").as_str()));
    // The arguments replace CMD of the image, and begin with the same.
    assert_eq!(value(DOCKERFILE, "CMD "), r#"["receive", "--config", "/etc/medhook/medhook.toml"]"#);
    assert!(DEPLOYMENT.contains("args: [receive, --config, /etc/medhook/medhook.toml"));
    assert!(DEPLOYMENT.contains("mountPath: /etc/medhook, "));
    let user = value(DEPLOYMENT, "runAsUser:");
    assert_eq!(value(DOCKERFILE, "USER "), format!("{user}:{}", value(DEPLOYMENT, "runAsGroup:")));
    assert_eq!(value(DEPLOYMENT, "fsGroup:"), user);
    assert!(DOCKERFILE.contains(&format!("--chown={user}:{user} /state /var/lib/medhook")));
}

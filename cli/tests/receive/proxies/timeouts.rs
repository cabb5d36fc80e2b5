//! The timeouts of the configurations agree with the defaults of the receiver in docs/receive.md.

const NGINX: &str = include_str!("../../../../contrib/nginx/medhook.conf");
const CADDY: &str = include_str!("../../../../contrib/caddy/Caddyfile");
const GUIDE: &str = include_str!("../../../../docs/receive.md");

/// Returns the seconds after this key.
fn seconds(text: &str, key: &str) -> u64 {
    let (_, rest) = text.split_once(&format!("{key} ")).unwrap_or_else(|| panic!("no {key}"));
    let (number, _) = rest.split_once('s').unwrap();
    number.trim_matches(['|', ' ', '`', '"']).parse().unwrap_or_else(|_| panic!("{key} {number}"))
}

#[test]
fn proxies_wait_longer_than_the_receiver() {
    let handler = seconds(GUIDE, "| `handler_timeout`");
    assert!(seconds(NGINX, "proxy_read_timeout") > handler);
    assert!(seconds(CADDY, "response_header_timeout") > handler);
    // Caddy passes a body on while it arrives: the receiver's answer has to come first.
    assert!(seconds(CADDY, "read_body") > seconds(GUIDE, "| `body_timeout`"));
    // A restart without running events: drain_delay and a start.
    assert!(seconds(CADDY, "lb_try_duration") > seconds(GUIDE, "| `drain_delay`"));
}

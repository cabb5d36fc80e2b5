use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use medhook::{Claimed, DedupeStore, RedisStore, Settled};
use medhook_tests::servers::{PASSWORD, Server, shared_redis};
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;

use super::away;
use super::unique;
use crate::suite::{HOUR, key, retention, token};

/// Connects without the client's default timeout of half a second for a response.
async fn direct(url: &str) -> MultiplexedConnection {
    let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
    redis::Client::open(url).unwrap().get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

pub async fn ask<T: redis::FromRedisValue>(url: &str, command: &str) -> T {
    let mut words = command.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    command.arg(words.collect::<Vec<_>>());
    command.query_async(&mut direct(url).await).await.unwrap()
}

/// Returns a value from the server's INFO.
pub async fn stat(url: &str, section: &str, name: &str) -> String {
    let info: String = ask(url, &format!("INFO {section}")).await;
    let said = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    said.unwrap_or_else(|| panic!("no {name} in {info}")).to_owned()
}

/// Returns the error of a store that cannot connect, and checks that it is one line.
async fn rejected(url: &str) -> String {
    let error = RedisStore::connect(url).await.unwrap_err();
    let line = error.to_string();
    assert!(line.starts_with("Redis: ") && !line.contains('\n') && !line.contains(PASSWORD), "{line}");
    // The cause is available as the source.
    assert!(error.source().is_some() || !line.starts_with("Redis: cannot connect: "), "{line}");
    line
}

pub fn with_user(url: &str, user: &str) -> String {
    let (_, place) = url.split_once('@').unwrap();
    format!("redis://{user}:{PASSWORD}@{place}")
}

fn hex(n: u64) -> String {
    key(n).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

away::tests!(Server::redis);

async fn own() -> (Server, RedisStore) {
    let server = Server::redis(&[]);
    let store = RedisStore::connect(&server.url()).await.unwrap();
    (server, store)
}

/// Returns a store with a timeout that suits the slowest machine.
pub async fn patient(server: &Server) -> RedisStore {
    at(&server.url(), 2, HOUR).await
}

async fn at(url: &str, connections: usize, step_timeout: Duration) -> RedisStore {
    RedisStore::builder().max_connections(connections).step_timeout(step_timeout).connect(url).await.unwrap()
}

/// Returns such a store on the server that all tests share.
async fn shared(namespace: &str) -> RedisStore {
    RedisStore::builder().namespace(namespace).step_timeout(HOUR).connect(&shared_redis()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_connections_fail_no_step() {
    let server = Server::redis(&[]);
    let store = Arc::new(patient(&server).await);
    let mut killed = 0;
    for round in 0..10 {
        let claims: Vec<_> = (0..40)
            .map(|n| {
                let store = store.clone();
                tokio::spawn(async move { store.claim(key(round * 40 + n), token(n), HOUR).await })
            })
            .collect();
        killed += ask::<i64>(&server.url(), "CLIENT KILL TYPE normal").await;
        for claim in claims {
            assert_eq!(claim.await.unwrap().unwrap(), Claimed::Acquired);
        }
    }
    assert!(killed >= 10, "{killed} were there to be killed");
}

#[tokio::test]
async fn a_wrong_url_or_password_is_one_line_without_it() {
    let url = Server::redis(&[]);
    let (_, place) = url.url().split_once('@').map(|(user, place)| (user.to_owned(), place.to_owned())).unwrap();
    for (url, problem) in [
        (format!("redis://:wrong-{PASSWORD}@{place}"), "wrong user name or password"),
        (format!("redis://{place}"), "NOAUTH"),
        (format!("redis://:{PASSWORD}@127.0.0.1:1"), "cannot connect: Connection refused"),
        (format!("redis://:{PASSWORD}@no-such-host.invalid"), "cannot connect: "),
        (format!("http://:{PASSWORD}@{place}"), "must begin with `redis://`"),
        (format!("redis://:1/{PASSWORD}@{place}"), "`@`"),
        (format!("redis://:{PASSWORD}@host:port"), "invalid URL"),
        (format!("redis://:{PASSWORD}@{place}?tls={PASSWORD}"), "unknown parameter tls"),
        (format!("rediss://:{PASSWORD}@{place}#insecure"), "`#`"),
        (format!("redis://:{PASSWORD}@{place}99"), "DB index is out of range"),
    ] {
        let line = rejected(&url).await;
        assert!(line.contains(problem), "{line}");
    }
    let unreachable = RedisStore::builder().allow_eviction(true).connect("redis://127.0.0.1:1").await.unwrap_err();
    assert!(unreachable.to_string().starts_with("Redis: cannot connect: Connection refused"), "{unreachable}");
}

#[tokio::test]
async fn a_server_that_drops_events_is_rejected_unless_allowed() {
    let server = Server::redis(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let line = rejected(&server.url()).await;
    assert!(line.contains("maxmemory-policy is allkeys-lru") && line.contains("`allow_eviction`"), "{line}");
    RedisStore::builder().allow_eviction(true).connect(&server.url()).await.unwrap();
    ask::<()>(&server.url(), "CONFIG SET maxmemory-policy noeviction").await;
    RedisStore::connect(&server.url()).await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_say_whether_it_drops_events_is_rejected_unless_allowed() {
    let server = Server::redis(&[]);
    let set_user = format!("ACL SETUSER app on >{PASSWORD} ~medhook:* +@all");
    ask::<()>(&server.url(), &set_user).await;
    let url = with_user(&server.url(), "app");
    for withheld in ["-info", "-config"] {
        RedisStore::connect(&url).await.unwrap();
        ask::<()>(&server.url(), &format!("ACL SETUSER app {withheld}")).await;
    }
    assert!(rejected(&url).await.contains("cannot read maxmemory-policy"));
    RedisStore::builder().allow_eviction(true).connect(&url).await.unwrap();
}

#[tokio::test]
async fn the_documented_permissions_suffice_and_missing_ones_fail_at_once() {
    let server = Server::redis(&[]);
    let documented = "resetkeys ~medhook:* -@all +eval +evalsha +get +set +del +time +ping +info";
    let set_user = format!("ACL SETUSER app on >{PASSWORD} {documented}");
    ask::<()>(&server.url(), &set_user).await;
    let url = with_user(&server.url(), "app");
    let store = RedisStore::connect(&url).await.unwrap();
    assert_eq!(store.claim(key(1), token(1), HOUR).await.unwrap(), Claimed::Acquired);
    assert_eq!(store.commit(key(1), token(1), retention(HOUR)).await.unwrap(), Settled::Settled);
    store.record_delivery(key(1), HOUR, 9).await.unwrap();
    store.record_failure(key(1)).await.unwrap();
    for (less, again) in [("-eval", "+eval"), ("-set", "+set"), ("resetkeys", "~medhook:*")] {
        ask::<()>(&server.url(), &format!("ACL SETUSER app {less}")).await;
        ask::<()>(&server.url(), "SCRIPT FLUSH").await;
        let line = rejected(&url).await;
        assert!(line.contains("permission") || line.contains("can't run this command"), "{less}: {line}");
        ask::<()>(&server.url(), &format!("ACL SETUSER app {again}")).await;
    }
    RedisStore::connect(&url).await.unwrap();
}

#[tokio::test]
async fn flushed_scripts_are_sent_again() {
    let server = Server::redis(&[]);
    let store = patient(&server).await;
    for n in 0..3 {
        ask::<()>(&server.url(), "SCRIPT FLUSH").await;
        assert_eq!(store.claim(key(n), token(1), HOUR).await.unwrap(), Claimed::Acquired);
        ask::<()>(&server.url(), "SCRIPT FLUSH").await;
        assert_eq!(store.commit(key(n), token(1), retention(HOUR)).await.unwrap(), Settled::Settled);
    }
}

#[tokio::test]
async fn a_step_may_take_up_to_its_timeout() {
    let server = Server::redis(&[]);
    let store = patient(&server).await;
    // The pause is longer than the default timeout of a step.
    ask::<()>(&server.url(), "CLIENT PAUSE 3500").await;
    assert_eq!(store.claim(key(1), token(1), HOUR).await.unwrap(), Claimed::Acquired);
}

#[tokio::test]
async fn the_store_opens_max_connections() {
    let server = Server::redis(&[]);
    let store = RedisStore::builder().max_connections(5).step_timeout(HOUR).connect(&server.url()).await.unwrap();
    let claim = async |n| assert_eq!(store.claim(key(n), token(n), HOUR).await.unwrap(), Claimed::Acquired);
    for n in 0..5 {
        claim(n).await;
    }
    // One of the clients is the test's own.
    assert_eq!(stat(&server.url(), "clients", "connected_clients").await, "6");
    let made = async || stat(&server.url(), "stats", "total_connections_received").await.parse::<u32>().unwrap();
    let before = made().await;
    for n in 5..20 {
        claim(n).await;
    }
    assert_eq!(made().await, before + 1, "they are kept");
}

#[tokio::test]
async fn debug_shows_only_the_namespace() {
    let namespace = unique();
    let shown = format!("RedisStore {{ namespace: Namespace(\"{namespace}\"), .. }}");
    assert_eq!(format!("{:?}", shared(&namespace).await), shown);
}

#[tokio::test]
async fn a_server_that_became_a_replica_is_unavailable_until_promoted() {
    let server = Server::redis(&[]);
    let store = patient(&server).await;
    ask::<()>(&server.url(), "REPLICAOF 127.0.0.1 1").await;
    let error = store.claim(key(1), token(1), HOUR).await.unwrap_err();
    assert!(error.to_string().contains("READONLY") || error.to_string().contains("MASTERDOWN"), "{error}");
    assert!(rejected(&server.url()).await.contains("is a read-only replica"));
    ask::<()>(&server.url(), "REPLICAOF NO ONE").await;
    assert_eq!(store.claim(key(1), token(1), HOUR).await.unwrap(), Claimed::Acquired);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_fails_until_it_has_reached_the_replicas() {
    let (server, other) = (Server::redis(&[]), Server::redis(&[]));
    let builder = || {
        let builder = RedisStore::builder().step_timeout(HOUR).max_connections(4);
        builder.replicas(1, Duration::from_millis(300))
    };
    let line = builder().connect(&server.url()).await.unwrap_err().to_string();
    assert!(line.contains("only 0 of 1 replicas confirmed"), "{line}");

    ask::<()>(&other.url(), &format!("REPLICAOF 127.0.0.1 {}", server.port())).await;
    let began = std::time::Instant::now();
    let store = loop {
        match builder().connect(&server.url()).await {
            Ok(store) => break store,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(60), "{error}"),
        }
    };
    let in_time = async |n: u64| {
        while let Err(error) = store.commit(key(n), token(1), retention(HOUR)).await {
            assert!(began.elapsed() < Duration::from_secs(90), "{error}");
        }
    };
    in_time(1).await;
    assert_eq!(ask::<i64>(&other.url(), &format!("EXISTS medhook:{}", hex(1))).await, 1);

    other.pause();
    // The step is sent again on each of the four connections; none may answer before the replica has the write.
    for _ in 0..8 {
        let error = store.commit(key(2), token(1), retention(HOUR)).await.unwrap_err();
        assert!(error.to_string().contains("only 0 of "), "{error}");
    }
    other.resume();
    in_time(2).await;
    assert_eq!(ask::<i64>(&other.url(), &format!("EXISTS medhook:{}", hex(2))).await, 1);
}

#[tokio::test]
async fn a_node_of_a_cluster_is_rejected() {
    let server = Server::redis(&["--cluster-enabled", "yes"]);
    assert!(rejected(&server.url()).await.contains("node of a Redis Cluster"));
}

#[tokio::test]
async fn a_claim_from_before_the_clock_was_set_back_holds_no_longer_than_a_lease() {
    let namespace = unique();
    let store = shared(&namespace).await;
    store.claim(key(1), token(1), HOUR * 1_000).await.unwrap();
    assert_eq!(store.claim(key(1), token(2), HOUR).await.unwrap(), Claimed::InFlight { retry_after: HOUR });
    match store.claim(key(1), token(2), HOUR * 1_000).await.unwrap() {
        Claimed::InFlight { retry_after } => assert!(retry_after <= HOUR, "{retry_after:?}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.renew(key(1), token(1), HOUR).await.unwrap(), Settled::Settled, "it is still the holder's");
}

#[tokio::test]
async fn a_foreign_value_is_neither_read_as_an_event_nor_overwritten() {
    let namespace = unique();
    let store = shared(&namespace).await;
    let name = format!("{namespace}:{}", hex(1));
    ask::<()>(&shared_redis(), &format!("SET {name} something")).await;
    let error = store.claim(key(1), token(1), HOUR).await.unwrap_err();
    assert!(error.to_string().contains("not an event of this version"), "{error}");
    assert!(store.commit(key(1), token(1), retention(HOUR)).await.is_err());
    assert_eq!(ask::<String>(&shared_redis(), &format!("GET {name}")).await, "something");
}

#[tokio::test]
async fn every_key_expires() {
    let namespace = unique();
    let store = shared(&namespace).await;
    let left = async || ask::<i64>(&shared_redis(), &format!("PTTL {namespace}:{}", hex(1))).await;
    let hours = |from: i64, to: i64| from * 3_600_000..=to * 3_600_000;
    store.claim(key(1), token(1), HOUR).await.unwrap();
    assert!(hours(1, 2).contains(&left().await));
    store.renew(key(1), token(1), HOUR * 2).await.unwrap();
    assert!(hours(2, 3).contains(&left().await));
    for _ in 0..2 {
        store.commit(key(1), token(1), retention(HOUR * 10)).await.unwrap();
        assert!(hours(9, 10).contains(&left().await));
    }
    store.release(key(2), token(2)).await.unwrap();
    store.record_delivery(key(3), HOUR, 9).await.unwrap();
    store.record_failure(key(3)).await.unwrap();
    let body = format!("PTTL {namespace}:bodies:{}", hex(3));
    assert!(hours(0, 1).contains(&ask::<i64>(&shared_redis(), &body).await));
    let mut all: Vec<String> = ask(&shared_redis(), &format!("KEYS {namespace}:*")).await;
    all.retain(|name| !name.starts_with(&format!("{namespace}:bodies:")));
    // Connecting released a claim, too.
    assert_eq!(all.len(), 3, "{all:?}");
    for other in all.iter().filter(|name| **name != format!("{namespace}:{}", hex(1))) {
        let left = ask::<i64>(&shared_redis(), &format!("PTTL {other}")).await;
        assert!(hours(0, 1).contains(&left), "{other}: {left}");
    }
}

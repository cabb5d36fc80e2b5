//! A Redis server whose memory runs short, or that may evict events.

use std::error::Error as _;
use std::time::Duration;

use medhook::{Claimed, DedupeStore, Reason, RedisBuilder, RedisStore, Settled};
use medhook_tests::servers::{PASSWORD, Server};

use super::away::Endpoint;
use super::redis::{ask, patient, stat, with_user};
use crate::suite::{HOUR, key, retention, token};

fn builder() -> RedisBuilder {
    RedisStore::builder().step_timeout(HOUR).check_every(HOUR)
}

async fn set_policy(server: &Server, policy: &str) {
    ask::<()>(&server.url(), &format!("CONFIG SET maxmemory-policy {policy}")).await;
}

/// Closes all connections but the one of the command.
async fn close_connections(server: &Server) {
    ask::<i64>(&server.url(), "CLIENT KILL TYPE normal SKIPME yes").await;
}

const EVICTS: &str = "Redis: claim: maxmemory-policy is allkeys-lru, which evicts events when memory runs short; set \
                      it to noeviction, or set `allow_eviction`";

/// Returns the error of a claim, which leaves no key.
async fn rejected(server: &Server, store: &RedisStore, n: u64) -> String {
    let keys: i64 = ask(&server.url(), "DBSIZE").await;
    let error = store.claim(key(n), token(n), HOUR).await.unwrap_err();
    assert!(!error.is_full() && !error.is_lost());
    assert_eq!(ask::<i64>(&server.url(), "DBSIZE").await, keys);
    error.to_string()
}

async fn acquired(store: &RedisStore, n: u64) {
    assert_eq!(store.claim(key(n), token(n), HOUR).await.unwrap(), Claimed::Acquired);
}

#[tokio::test]
async fn a_policy_that_is_changed_later_fails_claims_until_it_is_set_back() {
    let server = Server::redis(&[]);
    // Each claim finds a check due.
    let store = builder().check_every(Duration::ZERO).connect(&server.url()).await.unwrap();
    acquired(&store, 1).await;
    set_policy(&server, "allkeys-lru").await;
    for n in 2..6 {
        assert_eq!(rejected(&server, &store, n).await, EVICTS);
    }
    // The event has been handled: a record that may be evicted is better than none.
    assert_eq!(store.renew(key(1), token(1), HOUR).await.unwrap(), Settled::Settled);
    assert_eq!(store.commit(key(1), token(1), retention(HOUR)).await.unwrap(), Settled::Settled);
    assert_eq!(store.release(key(2), token(2)).await.unwrap(), Settled::Settled);
    set_policy(&server, "noeviction").await;
    assert_eq!(store.claim(key(2), token(7), HOUR).await.unwrap(), Claimed::Acquired);
    assert_eq!(store.claim(key(1), token(3), HOUR).await.unwrap(), Claimed::AlreadyHandled);
}

#[tokio::test]
async fn deliveries_are_answered_503_while_the_server_may_evict_events() {
    let server = Server::redis(&[]);
    let store = builder().check_every(Duration::ZERO).connect(&server.url()).await.unwrap();
    let endpoint = Endpoint::new(store);
    endpoint.deliver(1).await.unwrap();
    set_policy(&server, "volatile-ttl").await;
    endpoint.is_rejected_for_now(2).await;
    set_policy(&server, "noeviction").await;
    endpoint.deliver(2).await.unwrap();
    assert_eq!(endpoint.handled(), 2);
}

#[tokio::test]
async fn new_connections_are_checked_and_open_ones_at_the_interval() {
    let server = Server::redis(&[]);
    let store = builder().connect(&server.url()).await.unwrap();
    for n in 0..4 {
        acquired(&store, n).await;
    }
    let checks = async || stat(&server.url(), "commandstats", "cmdstat_info").await.contains("calls=2,");
    // One for each connection; this one is counted after its answer.
    assert!(checks().await);
    set_policy(&server, "allkeys-lru").await;
    acquired(&store, 4).await;
    close_connections(&server).await;
    // It recovers without a new connection, and before the interval has passed.
    for n in 5..9 {
        assert_eq!(rejected(&server, &store, n).await, EVICTS);
    }
    set_policy(&server, "noeviction").await;
    for n in 5..9 {
        acquired(&store, n).await;
    }
}

#[tokio::test]
async fn the_interval_passes_while_connections_stay_open() {
    let server = Server::redis(&[]);
    let every = Duration::from_millis(500);
    let store = builder().max_connections(1).check_every(every).connect(&server.url()).await.unwrap();
    acquired(&store, 1).await;
    set_policy(&server, "allkeys-lru").await;
    tokio::time::sleep(every).await;
    assert_eq!(rejected(&server, &store, 2).await, EVICTS);
}

#[tokio::test]
async fn eviction_is_never_an_error_if_it_is_allowed() {
    let server = Server::redis(&[]);
    let set_user = format!("ACL SETUSER app on >{PASSWORD} ~medhook:* +@all");
    ask::<()>(&server.url(), &set_user).await;
    let url = with_user(&server.url(), "app");
    let store = builder().allow_eviction(true).check_every(Duration::ZERO).connect(&url).await.unwrap();
    acquired(&store, 1).await;
    set_policy(&server, "allkeys-lru").await;
    ask::<()>(&server.url(), "ACL SETUSER app -info -config").await;
    for n in 2..6 {
        acquired(&store, n).await;
    }
    close_connections(&server).await;
    for n in 6..10 {
        acquired(&store, n).await;
    }
}

#[tokio::test]
async fn a_policy_that_can_no_longer_be_read_fails_claims() {
    let server = Server::redis(&[]);
    let set_user = format!("ACL SETUSER app on >{PASSWORD} ~medhook:* +@all");
    ask::<()>(&server.url(), &set_user).await;
    let url = with_user(&server.url(), "app");
    let store = builder().check_every(Duration::ZERO).connect(&url).await.unwrap();
    ask::<()>(&server.url(), "ACL SETUSER app -info").await;
    acquired(&store, 1).await;
    ask::<()>(&server.url(), "ACL SETUSER app -config").await;
    let line = rejected(&server, &store, 2).await;
    assert!(line.starts_with("Redis: claim: cannot read maxmemory-policy with INFO or CONFIG; "), "{line}");
    ask::<()>(&server.url(), "ACL SETUSER app +info").await;
    acquired(&store, 2).await;
}

/// Such a replica accepts writes, which the next synchronization with its primary removes.
#[tokio::test]
async fn a_server_that_became_a_writable_replica_fails_claims_until_promoted() {
    let server = Server::redis(&["--replica-read-only", "no", "--replica-serve-stale-data", "yes"]);
    let store = builder().check_every(Duration::ZERO).connect(&server.url()).await.unwrap();
    acquired(&store, 1).await;
    ask::<()>(&server.url(), "REPLICAOF 127.0.0.1 1").await;
    for n in 2..6 {
        let line = rejected(&server, &store, n).await;
        assert_eq!(line, "Redis: claim: the server is a read-only replica; connect to the primary");
    }
    ask::<()>(&server.url(), "REPLICAOF NO ONE").await;
    acquired(&store, 2).await;
}

#[tokio::test]
async fn out_of_memory_is_a_full_store_until_memory_is_free() {
    let server = Server::redis(&[]);
    let store = patient(&server).await;
    store.claim(key(1), token(1), HOUR).await.unwrap();
    ask::<()>(&server.url(), "CONFIG SET maxmemory 1").await;
    let texts = async || stat(&server.url(), "commandstats", "cmdstat_eval").await;
    let sent = texts().await;
    let error = store.claim(key(2), token(1), HOUR).await.unwrap_err();
    assert!(error.is_full() && error.source().is_some(), "{error:?}");
    assert!(error.to_string().starts_with("Redis: claim: OOM command not allowed"), "{error}");
    assert_eq!(texts().await, sent, "a script is sent again only if the server does not know it");
    assert_eq!(store.release(key(1), token(1)).await.unwrap(), Settled::Settled, "what makes room is done");

    let endpoint = Endpoint::new(store.clone());
    let rejection = endpoint.deliver(1).await.unwrap_err();
    assert_eq!(rejection.reason(), Reason::StoreFull);
    ask::<()>(&server.url(), "CONFIG SET maxmemory 0").await;
    assert_eq!(store.claim(key(2), token(1), HOUR).await.unwrap(), Claimed::Acquired);
    endpoint.deliver(1).await.unwrap();
    assert_eq!(endpoint.handled(), 1);
}

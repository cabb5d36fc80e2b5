//! Steps that the server has not answered when their callers stop waiting.
//!
//! A backend that waits within its COMMIT does not notice that its client has disconnected. There are tests for three
//! causes: a synchronous standby that is absent, a stalled disk, and a slow deferred trigger. Each lasts until the
//! test ends it.
//! standby that is away, a stalled disk, and a slow deferred trigger. Each lasts until the test ends it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use medhook::{Claimed, DedupeStore, PostgresStore, Reason, Settled};
use medhook_tests::servers::{PASSWORD, Server, shared_postgres};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::away::{Between, Endpoint, Way};
use super::unique;
use crate::suite::{HOUR, key, soon, token};

const LIMIT: u32 = 3;
/// Short, so that many callers stop waiting within a test.
const STEP: Duration = Duration::from_millis(300);
const DELIVERIES: usize = 60;
const BETWEEN_DELIVERIES: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_standby_leaves_no_more_backends_than_the_limit_and_a_probe() {
    backends_stay_within_the_limit(Cause::Standby).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_disk_leaves_no_more_backends_than_the_limit_and_a_probe() {
    backends_stay_within_the_limit(Cause::Disk).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_deferred_trigger_leaves_no_more_backends_than_the_limit_and_a_probe() {
    backends_stay_within_the_limit(Cause::Trigger).await;
}

async fn backends_stay_within_the_limit(cause: Cause) {
    let mut scene = Scene::new(cause).await;
    let endpoint = Arc::new(Endpoint::new(scene.store(LIMIT).await));

    // The commit of event 1 is the first to wait.
    let mut handled = 0;
    soon(async || {
        let handler = async {
            scene.begin().await;
            handled += 1;
        };
        endpoint.receiver().admit(endpoint.delivery(1)).unwrap().run(handler, |()| true).await.is_ok()
    })
    .await;
    assert_eq!(handled, 1);

    let most = scene.watch();
    let deliveries: Vec<_> = (2..=DELIVERIES)
        .map(|id| {
            let endpoint = endpoint.clone();
            tokio::spawn(async move {
                sleep(BETWEEN_DELIVERIES * id as u32).await;
                endpoint.deliver(id).await
            })
        })
        .collect();
    for delivery in deliveries {
        assert_eq!(delivery.await.unwrap().unwrap_err().reason(), Reason::StoreUnavailable);
    }
    let most = most.end().await;
    assert!(most >= LIMIT as usize, "{most} backends: the cause had no effect");
    assert!(most <= LIMIT as usize + 1, "{most} backends of a store that may have {LIMIT}, and one to ask");
    assert_eq!(endpoint.handled(), 0);
    let committed = "SELECT FROM medhook_events WHERE handled";
    assert!(scene.admin.fetch_all(committed).await.unwrap().is_empty(), "a COMMIT was canceled");

    let most = scene.watch();
    scene.end().await;
    assert!(endpoint.deliver_until_handled(1).await, "its commit was done in the end");
    for id in 2..=DELIVERIES {
        assert!(!endpoint.deliver_until_handled(id).await, "{id} was handled before");
    }
    assert_eq!(endpoint.handled(), DELIVERIES - 1);
    let most = most.end().await;
    assert!(most <= LIMIT as usize + 1, "{most} backends afterwards");
    soon(async || scene.backends().await.len() <= LIMIT as usize).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_answer_returns_its_connection_to_use() {
    let mut scene = Scene::new(Cause::Trigger).await;
    let store = scene.store(1).await;
    soon(async || store.claim(key(1), token(1), HOUR).await.is_ok()).await;
    let before = scene.backends().await;
    assert_eq!(before.len(), 1);
    scene.begin().await;
    let error = store.claim(key(2), token(2), HOUR).await.unwrap_err();
    assert_eq!(error.to_string(), "PostgreSQL: claim: no answer in time");
    scene.end().await;
    soon(async || store.claim(key(3), token(3), HOUR).await.is_ok()).await;
    // The claim whose answer was late was acquired and belongs to its caller.
    soon(async || matches!(store.claim(key(2), token(2), HOUR).await, Ok(Claimed::Acquired))).await;
    assert_eq!(scene.backends().await, before);
}

/// The answer to a COMMIT is lost, as when a firewall drops the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_releases_the_permit_after_the_commit() {
    let mut scene = Scene::new(Cause::Trigger).await;
    let between = Between::to(&scene.server).await;
    let store = scene.store_at(&between.url(&scene.server), 1).await;
    soon(async || store.claim(key(1), token(1), HOUR).await.is_ok()).await;
    let before = scene.backends().await;
    scene.begin().await;
    store.claim(key(2), token(2), HOUR).await.unwrap_err();
    between.change(Way::Forgotten);
    let most = scene.watch();
    // Long enough for several probes.
    for n in 3..13 {
        store.claim(key(n), token(n), HOUR).await.unwrap_err();
    }
    let most = most.end().await;
    assert!(most <= 2, "{most} backends of a store that may have 1, and one to ask");
    scene.end().await;
    soon(async || matches!(store.claim(key(2), token(2), HOUR).await, Ok(Claimed::Acquired))).await;
    soon(async || scene.backends().await.len() == 1).await;
    assert!(scene.backends().await.is_disjoint(&before), "the backend without a client was ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_says_how_many_steps_the_server_has_not_answered() {
    let mut scene = Scene::new(Cause::Trigger).await;
    let store = scene.store(2).await;
    soon(async || store.claim(key(1), token(1), HOUR).await.is_ok()).await;
    scene.begin().await;
    // Each step that has a connection keeps it.
    let all = "PostgreSQL: claim: no free connection within 0.3 s: the server has not answered 2 earlier operations; \
               check its synchronous standby and its disk";
    let mut last = String::new();
    for n in 2..100 {
        last = store.claim(key(n), token(n), HOUR).await.unwrap_err().to_string();
        if last != "PostgreSQL: claim: no answer in time" {
            break;
        }
    }
    assert_eq!(last, all);
    scene.end().await;
    soon(async || store.claim(key(1), token(1), HOUR).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permit_kept_by_a_connection_attempt_is_not_blamed_on_a_commit() {
    let server = Server::postgres(&[]);
    let store = PostgresStore::builder().max_connections(1).step_timeout(STEP).connect(&server.url()).await.unwrap();
    server.pause();
    let error = async |n| store.claim(key(n), token(n), HOUR).await.unwrap_err().to_string();
    assert_eq!(error(1).await, "PostgreSQL: claim: no answer in time");
    assert_eq!(error(2).await, "PostgreSQL: claim: no free connection within 0.3 s");
    server.resume();
    soon(async || store.claim(key(3), token(3), HOUR).await.is_ok()).await;
}

#[tokio::test]
async fn a_dropped_caller_leaves_the_permit_to_its_step_until_the_answer() {
    let namespace = unique();
    let url = shared_postgres();
    let store = PostgresStore::builder().namespace(&namespace).max_connections(1).step_timeout(HOUR);
    let store = store.connect(&url).await.unwrap();
    store.claim(key(1), token(1), HOUR).await.unwrap();
    let mut holder = PgConnection::connect(&url).await.unwrap();
    let lock = format!("BEGIN; SELECT * FROM {namespace}_events FOR UPDATE");
    holder.execute(AssertSqlSafe(lock)).await.unwrap();

    let mut direct = PgConnection::connect(&url).await.unwrap();
    let mut waiting = async || {
        let waiting = "SELECT pid FROM pg_stat_activity WHERE query LIKE $1 AND wait_event_type = 'Lock'";
        let query = sqlx::query(waiting).bind(format!("%{namespace}_events AS e%"));
        query.fetch_all(&mut direct).await.unwrap().iter().map(|row| row.get(0)).collect::<Vec<i32>>()
    };
    let renewal = tokio::spawn({
        let store = store.clone();
        async move { store.renew(key(1), token(1), HOUR).await }
    });
    soon(async || waiting().await.len() == 1).await;
    let backend = waiting().await;
    renewal.abort();
    assert!(renewal.await.unwrap_err().is_cancelled());

    let claim = tokio::spawn({
        let store = store.clone();
        async move { store.claim(key(2), token(2), HOUR).await }
    });
    // Much longer than a claim takes on an open connection.
    sleep(Duration::from_millis(500)).await;
    assert!(!claim.is_finished(), "it has a second connection");
    assert_eq!(waiting().await, backend);
    holder.execute("ROLLBACK").await.unwrap();
    assert_eq!(claim.await.unwrap().unwrap(), Claimed::Acquired);
    let last = "SELECT pid FROM pg_stat_activity WHERE query LIKE $1 AND pid <> pg_backend_pid()";
    let query = sqlx::query(last).bind(format!("%INSERT INTO %{namespace}_events AS e%"));
    let last: Vec<i32> = query.fetch_all(&mut holder).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(last, backend, "the same connection");
    assert_eq!(store.renew(key(1), token(1), HOUR).await.unwrap(), Settled::Settled);
}

/// A trigger records the settings of the store's sessions, whose role has no other privileges than the store needs.
#[tokio::test]
async fn the_server_detects_dead_idle_connections() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let socket = folder.path().display();
    let server = Server::postgres(&[&format!("unix_socket_directories={socket}")]);
    let mut admin = PgConnection::connect(&server.url()).await.unwrap();
    let prepare = format!(
        "{};
         CREATE ROLE plain LOGIN PASSWORD '{PASSWORD}';
         GRANT SELECT ON medhook_schema TO plain;
         GRANT SELECT, INSERT, UPDATE, DELETE ON medhook_events, medhook_committed, medhook_bodies TO plain;
         CREATE TABLE seen (of text);
         CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
             INSERT INTO seen SELECT string_agg(current_setting(name), ' ' ORDER BY name) FROM pg_settings
             WHERE name LIKE 'tcp\\_%';
             RETURN NULL;
         END $$;
         CREATE TRIGGER see AFTER INSERT ON medhook_events FOR EACH ROW EXECUTE FUNCTION see()",
        PostgresStore::ddl("medhook").unwrap()
    );
    admin.execute(AssertSqlSafe(prepare)).await.unwrap();
    let by_tcp = server.url().replace("medhook:", "plain:");
    let by_socket = format!("postgres://plain:{PASSWORD}@localhost:{}/postgres?host={socket}", server.port());
    for (n, url) in [by_tcp, by_socket].iter().enumerate() {
        let store = PostgresStore::builder().step_timeout(HOUR).connect(url).await.unwrap();
        assert_eq!(store.claim(key(n as u64), token(1), HOUR).await.unwrap(), Claimed::Acquired);
    }
    let seen = sqlx::query("SELECT of FROM seen").fetch_all(&mut admin).await.unwrap();
    let seen: Vec<String> = seen.iter().map(|row| row.get(0)).collect();
    // Ordered by name: count, idle time, interval, user timeout. The server ignores them over a Unix socket.
    assert_eq!(seen, ["4 10 5 30000", "0 0 0 0"]);
}

/// Keeps every COMMIT of the server from ending.
enum Cause {
    Standby,
    Disk,
    Trigger,
}

/// A server, and connections of the test's own, which are opened before anything goes wrong.
struct Scene {
    server: Server,
    cause: Cause,
    admin: PgConnection,
    watcher: PgConnection,
}

impl Scene {
    async fn new(cause: Cause) -> Self {
        let server = match cause {
            Cause::Disk => Server::postgres_on_a_stallable_disk(),
            Cause::Standby | Cause::Trigger => Server::postgres(&[]),
        };
        let [mut admin, watcher] = [connection(&server).await, connection(&server).await];
        let prepare = "
            CREATE TABLE slow (n int);
            CREATE TABLE other (n int);
            CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                WHILE EXISTS (SELECT FROM slow) LOOP PERFORM pg_sleep(0.01); END LOOP;
                RETURN NULL;
            END $$";
        admin.execute(prepare).await.unwrap();
        admin.execute(AssertSqlSafe(PostgresStore::ddl("medhook").unwrap())).await.unwrap();
        if let Cause::Trigger = cause {
            let trigger = "CREATE CONSTRAINT TRIGGER slow AFTER INSERT OR UPDATE OR DELETE ON medhook_events
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()";
            admin.execute(trigger).await.unwrap();
        }
        Scene { server, cause, admin, watcher }
    }

    async fn store(&mut self, connections: u32) -> PostgresStore {
        self.store_at(&self.server.url(), connections).await
    }

    async fn store_at(&mut self, url: &str, connections: u32) -> PostgresStore {
        let builder = PostgresStore::builder().max_connections(connections).step_timeout(STEP);
        let store = builder.connect(url).await.unwrap();
        // The connection that created the tables is not one of the store's.
        soon(async || self.backends().await.is_empty()).await;
        store
    }

    /// Returns once COMMITs no longer end.
    async fn begin(&mut self) {
        match self.cause {
            Cause::Disk => self.server.stall_disk(),
            Cause::Trigger => drop(self.admin.execute("INSERT INTO slow VALUES (1)").await.unwrap()),
            Cause::Standby => {
                self.set_standby("ALTER SYSTEM SET synchronous_standby_names = '*'").await;
                // The setting has an effect once the server's checkpointer has read it.
                let mut other = connection(&self.server).await;
                let commits = tokio::spawn(async move {
                    loop {
                        other.execute("INSERT INTO other VALUES (1)").await.unwrap();
                    }
                });
                let waits = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
                soon(async || !self.admin.fetch_all(waits).await.unwrap().is_empty()).await;
                commits.abort();
            }
        }
    }

    async fn end(&mut self) {
        match self.cause {
            Cause::Disk => self.server.free_disk(),
            Cause::Trigger => drop(self.admin.execute("DELETE FROM slow").await.unwrap()),
            Cause::Standby => self.set_standby("ALTER SYSTEM RESET synchronous_standby_names").await,
        }
    }

    async fn set_standby(&mut self, setting: &'static str) {
        self.admin.execute(setting).await.unwrap();
        self.admin.execute("SELECT pg_reload_conf()").await.unwrap();
    }

    async fn backends(&mut self) -> BTreeSet<i32> {
        backends(&mut self.watcher).await
    }

    /// Starts to count the store's backends.
    fn watch(&self) -> Watch {
        let (end, mut ended) = oneshot::channel::<()>();
        let url = url(&self.server);
        let most = tokio::spawn(async move {
            let mut watcher = PgConnection::connect(&url).await.unwrap();
            let mut most = 0;
            while ended.try_recv().is_err() {
                most = most.max(backends(&mut watcher).await.len());
                sleep(Duration::from_millis(10)).await;
            }
            most
        });
        Watch { end, most }
    }
}

struct Watch {
    end: oneshot::Sender<()>,
    most: tokio::task::JoinHandle<usize>,
}

impl Watch {
    /// Returns the maximum number of backends at once.
    async fn end(self) -> usize {
        self.end.send(()).unwrap();
        self.most.await.unwrap()
    }
}

fn url(server: &Server) -> String {
    format!("{}?application_name=test", server.url())
}

async fn connection(server: &Server) -> PgConnection {
    PgConnection::connect(&url(server)).await.unwrap()
}

/// Returns the processes for all connections but the test's own, including connections that are not yet ready.
async fn backends(watcher: &mut PgConnection) -> BTreeSet<i32> {
    let backends = "SELECT pid FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND application_name <> 'test'";
    watcher.fetch_all(backends).await.unwrap().iter().map(|row| row.get(0)).collect()
}

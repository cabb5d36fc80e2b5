//! The limit `max_connections` of a store, checked with the server's number of connections.

use medhook_tests::servers::Server;

use crate::program::{Folder, Instance};
use crate::sender::{ENDPOINT, Sender, delivery};

/// Starts a receiver whose store may have this many connections.
fn start(folder: &Folder, store: &Server, max_connections: usize) -> Instance {
    folder.file("store", &store.url());
    let config = format!(
        "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\n\
         store = {{ file = \"store\", max_connections = {max_connections} }}\n{ENDPOINT}"
    );
    Instance::start(folder, &config, &[])
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_store_opens_max_connections() {
    let server = Server::redis(&[]);
    for max_connections in [1, 5] {
        let folder = Folder::new();
        let instance = start(&folder, &server, max_connections);
        let sender = Sender::new();
        for event in 0..20 {
            let request = delivery(&format!("{max_connections}-{event}"));
            assert_eq!(sender.send(instance.address, &request).await, Ok(200));
        }
        // The connection that queries the count is included.
        assert_eq!(connected_clients(&server), max_connections + 1);
        drop(instance);
        while connected_clients(&server) > 1 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

/// Returns the number of connections of a Redis server, including the one that queries it.
#[cfg(feature = "redis")]
fn connected_clients(server: &Server) -> usize {
    use std::io::{Read, Write};
    let url = server.url();
    let (password, _) = url.strip_prefix("redis://:").unwrap().split_once('@').unwrap();
    let mut connection = std::net::TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    connection.write_all(format!("AUTH {password}\r\nINFO clients\r\nQUIT\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let (_, count) = answer.split_once("connected_clients:").expect("a count");
    count.lines().next().unwrap().parse().unwrap()
}

/// Each claim that waits for a lock on the table uses a connection.
#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_store_opens_up_to_max_connections() {
    use std::time::{Duration, Instant};

    use sqlx::{Connection, Executor, PgConnection};

    let server = Server::postgres(&[]);
    // More and fewer than the store's default.
    for max_connections in [12, 3] {
        let folder = Folder::new();
        let instance = start(&folder, &server, max_connections);
        let mut locking = PgConnection::connect(&server.url()).await.unwrap();
        let mut counting = PgConnection::connect(&server.url()).await.unwrap();
        locking.execute("BEGIN; LOCK TABLE medhook_events IN ACCESS EXCLUSIVE MODE").await.unwrap();

        let sending: Vec<_> = (0..40)
            .map(|event| {
                let (to, request) = (instance.address, delivery(&format!("{max_connections}-{event}")));
                tokio::spawn(async move {
                    let sender = Sender::new();
                    while sender.send(to, &request).await != Ok(200) {}
                })
            })
            .collect();
        let count = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'medhook_events'::regclass";
        let began = Instant::now();
        loop {
            let waiting: i64 = sqlx::query_scalar(count).fetch_one(&mut counting).await.unwrap();
            let waiting = usize::try_from(waiting).unwrap();
            assert!(waiting <= max_connections, "{waiting} connections of {max_connections}");
            if waiting == max_connections {
                break;
            }
            assert!(began.elapsed() < crate::program::PATIENCE, "{waiting} connections of {max_connections}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        locking.execute("ROLLBACK").await.unwrap();
        for one in sending {
            tokio::time::timeout(crate::program::PATIENCE, one).await.expect("handled").unwrap();
        }
        let count = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'";
        let connections: i64 = sqlx::query_scalar(count).fetch_one(&mut counting).await.unwrap();
        // Includes these two, and the store's connection for operations that the server has not answered.
        assert!(usize::try_from(connections).unwrap() <= max_connections + 3, "{connections} of {max_connections}");
        drop(instance);
        while sqlx::query_scalar::<_, i64>(count).fetch_one(&mut counting).await.unwrap() > 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

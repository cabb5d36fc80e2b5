//! Run with: `FASTEN_SECRET=whsec_.. DATABASE_URL=postgres://.. cargo run -p example-outbox-postgres`
//!
//! A transactional outbox. The handler writes the event to a table and commits its claim in *one* transaction, so that
//! the event is stored exactly once even if the process dies; then it answers. A worker processes the events of the
//! table later, and may take longer than the provider waits for an answer.

use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use medhook_axum::{
    Bytes, ConfigError, Delivery, Event, Fasten, PostgresStore, Receiver, Secrets, Shutdown, fasten, post,
};
use sqlx::{PgPool, Row};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let pool = PgPool::connect(&std::env::var("DATABASE_URL")?).await?;
    sqlx::raw_sql(OUTBOX).execute(&pool).await?;
    let inbox = Inbox::new(pool.clone()).await?;
    let receiver = receiver(Secrets::from_env("FASTEN_SECRET")?, &inbox)?;
    let shutdown = Shutdown::on_signals(Duration::from_secs(30))?.receivers([receiver.clone()]);
    // Canceled when the runtime is dropped. An event that is being processed then stays in the table.
    tokio::spawn(process_outbox(pool));
    let app = app(receiver, inbox);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8787").await?;
    let server = axum::serve(listener, app).with_graceful_shutdown(shutdown.draining());
    shutdown.serve(server).await?;
    Ok(())
}

/// The outbox stores the verified body as bytes. It also stores the kind, which the bodies of providers with a pinned
/// kind do not name; `NULL` if the delivery has none.
const OUTBOX: &str = "CREATE TABLE IF NOT EXISTS outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    endpoint text NOT NULL,
    kind text,
    body bytea NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS unreadable (kind text, body bytea NOT NULL)";

#[derive(Clone)]
struct Inbox {
    pool: PgPool,
    store: PostgresStore,
}

impl Inbox {
    /// Opens the store in the application's own database, which allows for a common transaction.
    async fn new(pool: PgPool) -> Result<Self, ConfigError> {
        let store = PostgresStore::on(&pool).await?;
        Ok(Inbox { pool, store })
    }

    /// Stores the event and commits its claim in one transaction.
    async fn store(&self, delivery: &Delivery) -> Result<(), Box<dyn Error>> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("INSERT INTO outbox (endpoint, kind, body) VALUES ($1, $2, $3)")
            .bind(delivery.endpoint())
            .bind(delivery.kind())
            .bind(&delivery.body()[..])
            .execute(&mut *transaction)
            .await?;
        self.store.commit_in(&mut transaction, delivery).await?;
        transaction.commit().await?;
        Ok(())
    }
}

fn receiver(secrets: Secrets, inbox: &Inbox) -> Result<Receiver, ConfigError> {
    Receiver::builder("fasten", Fasten::live(secrets)).store(inbox.store.clone()).build()
}

fn app(receiver: Receiver, inbox: Inbox) -> Router {
    Router::new().route("/webhooks/fasten", post(receiver, on_fasten)).with_state(inbox)
}

async fn on_fasten(State(inbox): State<Inbox>, delivery: Delivery) -> StatusCode {
    match inbox.store(&delivery).await {
        Ok(()) => StatusCode::ACCEPTED,
        // The transaction failed, or its result is unknown. The next attempt will be handled, or be a duplicate.
        Err(error) => {
            eprintln!("storing an event failed: {error}");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

async fn process_outbox(pool: PgPool) {
    loop {
        match process_one(&pool).await {
            Ok(true) => {}
            Ok(false) => tokio::time::sleep(Duration::from_secs(1)).await,
            Err(error) => {
                eprintln!("processing the outbox failed; will retry: {error}");
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
        }
    }
}

/// Processes the oldest event that no other worker has locked. The event is only deleted if processing it succeeds.
async fn process_one(pool: &PgPool) -> Result<bool, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let oldest = "DELETE FROM outbox WHERE id = (SELECT id FROM outbox ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1) \
                  RETURNING kind, body";
    let Some(row) = sqlx::query(oldest).fetch_optional(&mut *transaction).await? else {
        return Ok(false);
    };
    let (kind, body): (Option<String>, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
    let body = Bytes::from(body);
    match fasten::Event::from_body(kind.as_deref(), &body).event {
        fasten::Event::EhiExportSuccess(export) => println!("{} files to fetch", export.urls().count()),
        // A documented kind with an undocumented payload: store it for review. The problem does not quote the body.
        fasten::Event::Undecodable(undecodable) => {
            eprintln!("decoding an event failed: {}", undecodable.problem);
            sqlx::query("INSERT INTO unreadable (kind, body) VALUES ($1, $2)")
                .bind(kind)
                .bind(&body[..])
                .execute(&mut *transaction)
                .await?;
        }
        _ => println!("an event that needs no processing"),
    }
    transaction.commit().await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use medhook_axum::{Secret, testing};
    use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
    use tower::ServiceExt;

    use super::*;

    const SECRET: &str = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";

    /// Creates a schema for this test on the server that `scripts/test` starts.
    async fn database() -> PgPool {
        let url = std::env::var("MEDHOOK_TEST_POSTGRES").expect("MEDHOOK_TEST_POSTGRES is not set; run scripts/test");
        let schema = format!("outbox_{}", std::process::id());
        let options: PgConnectOptions = url.parse().unwrap();
        let first = PgPool::connect_with(options.clone()).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}")))
            .execute(&first)
            .await
            .unwrap();
        let pool = PgPoolOptions::new().connect_with(options.options([("search_path", schema)])).await.unwrap();
        sqlx::raw_sql(OUTBOX).execute(&pool).await.unwrap();
        pool
    }

    async fn waiting(pool: &PgPool, table: &str) -> i64 {
        let count = format!("SELECT count(*) FROM {table}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(count)).fetch_one(pool).await.unwrap()
    }

    #[tokio::test]
    async fn an_event_is_stored_once_and_processed_once() {
        let pool = database().await;
        let inbox = Inbox::new(pool.clone()).await.unwrap();
        let app = app(receiver(Secret::new(SECRET).unwrap().into(), &inbox).unwrap(), inbox);
        let status = async |id: &str| {
            let request = testing::fasten("patient.ehi_export_success").id(id).secret(SECRET);
            app.clone().oneshot(request.request("/webhooks/fasten").map(Body::from)).await.unwrap().status()
        };
        assert_eq!(status("1").await, StatusCode::ACCEPTED);
        assert_eq!(status("1").await, StatusCode::OK, "a duplicate");
        assert_eq!(waiting(&pool, "outbox").await, 1);

        // If the table is missing, the event is neither stored nor committed.
        sqlx::raw_sql("ALTER TABLE outbox RENAME TO gone").execute(&pool).await.unwrap();
        assert_eq!(status("2").await, StatusCode::SERVICE_UNAVAILABLE);
        sqlx::raw_sql("ALTER TABLE gone RENAME TO outbox").execute(&pool).await.unwrap();
        assert_eq!(status("2").await, StatusCode::ACCEPTED);

        // A genuine event with an undocumented payload.
        let changed = r#"{"id":"3","type":"patient.ehi_export_success","data":"gone"}"#;
        let changed = testing::fasten("patient.ehi_export_success").secret(SECRET).body(changed);
        let response = app.clone().oneshot(changed.request("/webhooks/fasten").map(Body::from)).await.unwrap();
        assert_eq!(response.status(), StatusCode::ACCEPTED);

        assert_eq!(waiting(&pool, "outbox").await, 3);
        for _ in 0..3 {
            assert!(process_one(&pool).await.unwrap());
        }
        assert!(!process_one(&pool).await.unwrap());
        assert_eq!((waiting(&pool, "outbox").await, waiting(&pool, "unreadable").await), (0, 1));
    }
}

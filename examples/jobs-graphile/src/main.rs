//! Run with: `FASTEN_SECRET=whsec_.. DATABASE_URL=postgres://.. cargo run -p example-jobs-graphile`
//!
//! For applications whose database has a job queue already, here that of Graphile Worker. The handler stores the event,
//! adds a job and commits its claim in *one* transaction, so that each event has one job even if the process dies. The
//! application's workers run the jobs; the library needs no inbox for that.
//!
//! Graphile Worker creates its tables when a worker starts for the first time. It stores the payloads of jobs and their
//! last errors as text, so the job has only the id of a row, and the row the event with its health data.

use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use medhook_axum::{ConfigError, Delivery, Fasten, PostgresStore, Receiver, Secrets, Shutdown, post};
use sqlx::PgPool;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let pool = PgPool::connect(&std::env::var("DATABASE_URL")?).await?;
    sqlx::raw_sql(EVENTS).execute(&pool).await?;
    let jobs = Jobs::new(pool).await?;
    let receiver = receiver(Secrets::from_env("FASTEN_SECRET")?, &jobs)?;
    let shutdown = Shutdown::on_signals(Duration::from_secs(30))?.receivers([receiver.clone()]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8787").await?;
    let server = axum::serve(listener, app(receiver, jobs)).with_graceful_shutdown(shutdown.draining());
    shutdown.serve(server).await?;
    Ok(())
}

const EVENTS: &str = "CREATE TABLE IF NOT EXISTS events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text,
    body bytea NOT NULL
)";

#[derive(Clone)]
struct Jobs {
    pool: PgPool,
    store: PostgresStore,
}

impl Jobs {
    /// Opens the store in the application's own database, which allows for a common transaction.
    async fn new(pool: PgPool) -> Result<Self, ConfigError> {
        let store = PostgresStore::on(&pool).await?;
        Ok(Jobs { pool, store })
    }

    /// Stores the event, adds its job and commits its claim in one transaction.
    async fn add(&self, delivery: &Delivery) -> Result<(), Box<dyn Error>> {
        let mut transaction = self.pool.begin().await?;
        let id: i64 = sqlx::query_scalar("INSERT INTO events (kind, body) VALUES ($1, $2) RETURNING id")
            .bind(delivery.kind())
            .bind(&delivery.body()[..])
            .fetch_one(&mut *transaction)
            .await?;
        // Any language can add jobs with this function, and tasks of any language can run them.
        sqlx::query("SELECT graphile_worker.add_job('fasten_event', json_build_object('event', $1))")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        self.store.commit_in(&mut transaction, delivery).await?;
        transaction.commit().await?;
        Ok(())
    }
}

fn receiver(secrets: Secrets, jobs: &Jobs) -> Result<Receiver, ConfigError> {
    Receiver::builder("fasten", Fasten::live(secrets)).store(jobs.store.clone()).build()
}

fn app(receiver: Receiver, jobs: Jobs) -> Router {
    Router::new().route("/webhooks/fasten", post(receiver, on_fasten)).with_state(jobs)
}

async fn on_fasten(State(jobs): State<Jobs>, delivery: Delivery) -> StatusCode {
    match jobs.add(&delivery).await {
        Ok(()) => StatusCode::ACCEPTED,
        // The transaction failed, or its result is unknown. The next attempt will be handled, or be a duplicate.
        Err(error) => {
            eprintln!("adding a job failed: {error}");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use medhook_axum::{Secret, testing};
    use sqlx::postgres::PgConnectOptions;
    use tower::ServiceExt;

    use super::*;

    const SECRET: &str = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";

    /// Creates a database for this test on the server that `scripts/test` starts, with the tables of Graphile Worker.
    async fn database() -> PgPool {
        let url = std::env::var("MEDHOOK_TEST_POSTGRES").expect("MEDHOOK_TEST_POSTGRES is not set; run scripts/test");
        let options: PgConnectOptions = url.parse().unwrap();
        let first = PgPool::connect_with(options.clone()).await.unwrap();
        let name = format!("graphile_{}", std::process::id());
        for statement in [format!("DROP DATABASE IF EXISTS {name}"), format!("CREATE DATABASE {name}")] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&first).await.unwrap();
        }
        let pool = PgPool::connect_with(options.database(&name)).await.unwrap();
        graphile_worker_migrations::migrate(&pool, "graphile_worker").await.unwrap();
        sqlx::raw_sql(EVENTS).execute(&pool).await.unwrap();
        pool
    }

    /// Returns the bodies of the events that have a job, as a worker finds them.
    async fn queued(pool: &PgPool) -> Vec<Vec<u8>> {
        let queued = "SELECT body FROM graphile_worker._private_jobs AS job
            JOIN graphile_worker._private_tasks AS task ON task.id = job.task_id
            JOIN events ON events.id = (job.payload ->> 'event')::bigint
            WHERE task.identifier = 'fasten_event' ORDER BY job.id";
        sqlx::query_scalar(queued).fetch_all(pool).await.unwrap()
    }

    #[tokio::test]
    async fn each_event_has_one_job() {
        let pool = database().await;
        let jobs = Jobs::new(pool.clone()).await.unwrap();
        let app = app(receiver(Secret::new(SECRET).unwrap().into(), &jobs).unwrap(), jobs);
        let sample = |id: &str| testing::fasten("patient.ehi_export_success").id(id).secret(SECRET);
        let status = async |id: &str| {
            let request = sample(id).request("/webhooks/fasten").map(Body::from);
            app.clone().oneshot(request).await.unwrap().status()
        };
        assert_eq!(status("1").await, StatusCode::ACCEPTED);
        assert_eq!(status("1").await, StatusCode::OK, "a duplicate");
        let jobs = queued(&pool).await;
        assert_eq!(jobs.len(), 1);
        assert!(jobs[0].starts_with(b"{") && jobs[0].ends_with(b"}"));

        // If the queue is away, the event is neither stored nor committed, and a retry adds both.
        sqlx::raw_sql("ALTER SCHEMA graphile_worker RENAME TO away").execute(&pool).await.unwrap();
        assert_eq!(status("2").await, StatusCode::SERVICE_UNAVAILABLE);
        sqlx::raw_sql("ALTER SCHEMA away RENAME TO graphile_worker").execute(&pool).await.unwrap();
        let events = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM events").fetch_one(&pool).await.unwrap();
        assert_eq!(events, 1);
        assert_eq!(status("2").await, StatusCode::ACCEPTED);
        assert_eq!(queued(&pool).await.len(), 2);
    }
}

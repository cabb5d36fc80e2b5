//! Run with: `MEDIQUO_SECRET=.. MEDHOOK_INBOX_KEY=.. DATABASE_URL=postgres://.. cargo run -p
//! example-inbox-actix-postgres -- 127.0.0.1:8787`
//!
//! Receives reports from MediQuo, which documents no retries, with actix-web. Start any number of instances, each at
//! its own address, behind a load balancer: they share an inbox in PostgreSQL, and each of them stores events and
//! handles stored ones. The handler writes to a table of the application and ends the event in *one* transaction, so
//! that an event takes effect once, even if an instance dies while it handles it. `openssl rand -base64 32` makes the
//! key.

use std::error::Error;
use std::time::Duration;

use actix_web::dev::HttpServiceFactory;
use actix_web::{App, HttpServer, web};
use medhook_actix::{
    Bodies, ConfigError, Delivery, Keyring, MediQuo, PostgresStore, Receiver, Secrets, Shutdown, Worker, mediquo,
    post_to_inbox,
};
use sqlx::PgPool;

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init(); // a line for each delivery and each attempt; no health data
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8787".to_owned());
    let pool = PgPool::connect(&std::env::var("DATABASE_URL")?).await?;
    sqlx::raw_sql(REPORTS).execute(&pool).await?;
    let reports = Reports::new(pool).await?;
    let keyring = Keyring::from_env("MEDHOOK_INBOX_KEY")?; // the same in all instances
    let receiver = receiver(Secrets::from_env("MEDIQUO_SECRET")?, keyring, &reports).await?;
    let worker = actix_web::rt::spawn(worker(&receiver, reports)?.run());

    let shutdown = Shutdown::on_signals(Duration::from_secs(30))?.receivers([receiver.clone()]);
    endpoint(receiver.clone())?;
    let server = HttpServer::new(move || App::new().service(endpoint(receiver.clone()).expect("checked above")))
        .bind(address)?
        .disable_signals() // `shutdown` handles them
        .run();
    let (handle, drained) = (server.handle(), shutdown.drained());
    actix_web::rt::spawn(async move {
        drained.await;
        handle.stop(true).await;
    });
    shutdown.serve(server).await?;
    worker.await?; // ends with its receiver; what it has not finished, another instance handles
    Ok(())
}

const REPORTS: &str = "CREATE TABLE IF NOT EXISTS reports (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    body bytea NOT NULL
)";

#[derive(Clone)]
struct Reports {
    pool: PgPool,
    store: PostgresStore,
}

impl Reports {
    /// Opens the store in the application's own database, which allows for a common transaction.
    async fn new(pool: PgPool) -> Result<Self, ConfigError> {
        let store = PostgresStore::on(&pool).await?;
        Ok(Reports { pool, store })
    }

    /// Adds the report and ends the event in one transaction. After an error, the event is attempted again.
    async fn add(&self, delivery: &Delivery) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut transaction = self.pool.begin().await?;
        if let mediquo::Event::PatientReportSent(_) = delivery.decode()? {
            sqlx::query("INSERT INTO reports (kind, body) VALUES ($1, $2)")
                .bind(delivery.kind_label())
                .bind(&delivery.body()[..])
                .execute(&mut *transaction)
                .await?;
        }
        // Fails if another instance has leased the event meanwhile. Then nothing is written.
        self.store.finish_in(&mut transaction, delivery).await?;
        transaction.commit().await?;
        Ok(())
    }
}

async fn receiver(secrets: Secrets, keyring: Keyring, reports: &Reports) -> Result<Receiver, ConfigError> {
    let inbox = reports.store.inbox(Bodies::sealed(keyring)).await?;
    Receiver::builder("mediquo", MediQuo::new(secrets)).inbox(inbox).build()
}

fn worker(receiver: &Receiver, reports: Reports) -> Result<Worker, ConfigError> {
    Worker::builder(receiver).handler(move |delivery: Delivery| {
        let reports = reports.clone();
        async move { reports.add(&delivery).await }
    })
}

fn endpoint(receiver: Receiver) -> Result<impl HttpServiceFactory, ConfigError> {
    Ok(web::resource("/webhooks/mediquo").route(post_to_inbox(receiver)?))
}

#[cfg(test)]
mod tests {
    use actix_web::http::StatusCode;
    use actix_web::rt::{spawn, time};
    use actix_web::test::{call_service, init_service};
    use medhook_actix::inbox::{Filter, Status};
    use medhook_actix::{Secret, testing};
    use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

    use super::*;

    const SECRET: &str = "agreed-upon-with-the-support-team";
    const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    const EVENTS: usize = 20;

    /// Creates a schema for this test on the server that `scripts/test` starts.
    async fn options() -> PgConnectOptions {
        let url = std::env::var("MEDHOOK_TEST_POSTGRES").expect("MEDHOOK_TEST_POSTGRES is not set; run scripts/test");
        let schema = format!("inbox_{}", std::process::id());
        let options: PgConnectOptions = url.parse().unwrap();
        let first = PgPool::connect_with(options.clone()).await.unwrap();
        let create = format!("DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&first).await.unwrap();
        let options = options.options([("search_path", schema)]);
        let pool = PgPool::connect_with(options.clone()).await.unwrap();
        sqlx::raw_sql(REPORTS).execute(&pool).await.unwrap();
        options
    }

    /// Starts an instance with its own connections.
    async fn instance(options: &PgConnectOptions) -> (Reports, Receiver) {
        let pool = PgPoolOptions::new().max_connections(4).connect_with(options.clone()).await.unwrap();
        let reports = Reports::new(pool).await.unwrap();
        let keyring = Keyring::new(Secret::new(KEY).unwrap()).unwrap();
        let receiver = receiver(Secret::new(SECRET).unwrap().into(), keyring, &reports).await.unwrap();
        (reports, receiver)
    }

    #[actix_web::test]
    async fn two_instances_handle_what_one_has_stored_and_each_event_takes_effect_once() {
        let options = options().await;
        let (reports, first) = instance(&options).await;
        let (other_reports, second) = instance(&options).await;
        let app = init_service(App::new().service(endpoint(first.clone()).unwrap())).await;
        for second in 0..EVENTS {
            // Reports of different seconds, because their bytes are the event's key.
            let report = testing::mediquo("patient_report_sent").at(1_767_225_600 + second as i64).secret(SECRET);
            for _ in 0..2 {
                let request = report.actix_request("/webhooks/mediquo").to_request();
                assert_eq!(call_service(&app, request).await.status(), StatusCode::OK);
            }
        }
        let forged = testing::mediquo("patient_report_sent").secret("another-secret");
        let response = call_service(&app, forged.actix_request("/webhooks/mediquo").to_request()).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);

        let workers = [worker(&first, reports.clone()), worker(&second, other_reports)];
        let workers = workers.map(|worker| spawn(worker.unwrap().run()));
        let all_done = async {
            loop {
                let entries = first.inbox().unwrap().list(&Filter::new()).await.unwrap();
                assert!(entries.len() == EVENTS);
                if entries.iter().all(|entry| entry.status == Status::Done) {
                    break;
                }
                time::sleep(Duration::from_millis(20)).await;
            }
        };
        time::timeout(Duration::from_secs(60), all_done).await.expect("all events are handled");
        for receiver in [first, second] {
            receiver.drain(Duration::from_secs(10)).await;
        }
        for worker in workers {
            worker.await.unwrap();
        }
        let count = "SELECT count(*) FROM reports";
        let count: i64 = sqlx::query_scalar(count).fetch_one(&reports.pool).await.unwrap();
        assert_eq!(count, EVENTS as i64);
    }
}

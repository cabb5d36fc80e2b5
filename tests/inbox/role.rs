//! The receiver, the worker and the application in a process of a check.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, http};
use http::{Request, StatusCode};
use medhook::{Custom, Delivery, Handled, Inbox, Receiver, Retry, Secret, SharedSecret, Shutdown, Worker};
use metrics_util::debugging::{DebuggingRecorder, Snapshotter};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor, PgPool, SqlitePool};
use tokio::net::TcpListener;
use tower::{ServiceExt, service_fn};

use crate::ledger::{self, Ledger, Step};
use crate::setup::Setup;
use crate::world::{Database, ENDPOINT, PATH, SECRET, Store, bodies};

pub fn run(setup: &Setup) {
    // Ends with its parent, also if that is killed.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(3);
    });
    tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).init();
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().expect("the only recorder");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(serve(setup, snapshotter));
}

async fn serve(setup: &Setup, snapshotter: Snapshotter) {
    let (receiver, application) = parts(setup).await;
    let shutdown = Shutdown::on_signals(Duration::from_secs(10)).expect("signals").receivers([receiver.clone()]);
    let worker = setup.works.then(|| tokio::spawn(worker(setup, &receiver, &application).run()));
    let mut app = Router::new().route("/metrics", get(async move || metrics(&snapshotter)));
    if setup.receives {
        let route = post(handle).with_state(application).layer(medhook_axum::VerifyLayer::new(receiver));
        app = app.route(PATH, route);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("listening at {}", listener.local_addr().expect("an address"));
    let server = axum::serve(listener, app).with_graceful_shutdown(shutdown.draining());
    shutdown.serve(server).await.expect("served");
    if let Some(worker) = worker {
        worker.await.expect("a worker does not panic");
    }
}

async fn parts(setup: &Setup) -> (Receiver, Arc<Application>) {
    let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new(SECRET).expect("a secret"));
    let mut builder = Receiver::builder(ENDPOINT, custom.id_pointer("/id").kind_pointer("/kind"));
    let store = setup.database.store().await;
    builder = match (setup.inbox, &store) {
        (true, store) => builder.inbox(inbox(store, &setup.keys).await),
        (false, Store::Sqlite(store)) => builder.store(store.clone()),
        (false, Store::Postgres(store)) => builder.store(store.clone()),
    };
    if let Some(retention) = setup.retention {
        builder = builder.retention(Duration::from_millis(retention));
    }
    let receiver = builder.lease(Duration::from_millis(setup.lease)).build().expect("a receiver");
    let pool = if setup.effects { Some(Pool::open(&setup.database).await) } else { None };
    (receiver, Arc::new(Application { setup: setup.clone(), store, pool }))
}

pub async fn inbox(store: &Store, keys: &[String]) -> Inbox {
    match store {
        Store::Sqlite(store) => store.inbox(bodies(keys)).await,
        Store::Postgres(store) => store.inbox(bodies(keys)).await,
    }
    .expect("an inbox")
}

fn worker(setup: &Setup, receiver: &Receiver, application: &Arc<Application>) -> Worker {
    let [first, longest] = [setup.first, setup.longest].map(Duration::from_millis);
    let builder = Worker::builder(receiver)
        .retry(Retry::exponential(first, longest).max_attempts(setup.attempts))
        .workers(setup.workers)
        .retain_done(Duration::from_millis(setup.retain_done));
    if setup.service {
        let route = post(handle).with_state(application.clone());
        let service = service_fn(move |request: Request<Body>| route.clone().oneshot(request));
        return builder.service(service).expect("a worker");
    }
    let application = application.clone();
    let worker = builder.handler(move |delivery: Delivery| {
        let application = application.clone();
        async move { application.handle(&delivery).await.into_handled() }
    });
    worker.expect("a worker")
}

fn metrics(snapshotter: &Snapshotter) -> String {
    format!("{:?}", snapshotter.snapshot().into_vec())
}

async fn handle(State(application): State<Arc<Application>>, Extension(delivery): Extension<Delivery>) -> Response {
    application.handle(&delivery).await.into_response()
}

/// The application: it does what the event says, and writes that to the ledger.
struct Application {
    setup: Setup,
    store: Store,
    pool: Option<Pool>,
}

enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// The end of a handler.
enum Ended {
    Status(StatusCode, Option<String>),
    GaveUp,
    Unreachable,
}

impl Application {
    async fn handle(&self, delivery: &Delivery) -> Ended {
        let event: Value = delivery.json().expect("JSON");
        let text = |name: &str| event.get(name).and_then(Value::as_str);
        let number = |name: &str| event.get(name).and_then(Value::as_u64);
        let id = text("id").expect("an id");
        self.write(Step::Start, id, delivery);
        if self.has("unreachable") {
            self.write(Step::Failure, id, delivery);
            return Ended::Unreachable;
        }
        if event.get("abort").is_some() {
            std::process::abort();
        }
        let takes = self.setup.takes.or_else(|| number("takes")).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(takes)).await;
        if self.setup.ends_second {
            self.until_others_ended(id).await;
        }
        while text("held_by").is_some_and(|file| self.has(file)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if text("gives_up_if").is_some_and(|file| self.has(file)) {
            self.write(Step::Failure, id, delivery);
            return Ended::GaveUp;
        }
        // Fails in its first attempts.
        if let Some(status) = number("fails").filter(|_| delivery.attempt() <= number("times").unwrap_or(1) as u32) {
            self.write(Step::Failure, id, delivery);
            let status = StatusCode::from_u16(status as u16).expect("a status");
            return Ended::Status(status, text("retry_after").map(str::to_owned));
        }
        if let Some(pool) = &self.pool
            && let Err(error) = self.effect(pool, id, delivery).await
        {
            println!("no effect: {error}");
            self.write(Step::Failure, id, delivery);
            return Ended::Status(StatusCode::INTERNAL_SERVER_ERROR, None);
        }
        self.write(Step::End, id, delivery);
        Ended::Status(StatusCode::OK, None)
    }

    /// Writes the effect and finishes the event in one transaction.
    async fn effect(&self, pool: &Pool, id: &str, delivery: &Delivery) -> Result<(), Box<dyn std::error::Error>> {
        let insert = self.setup.database.sql(&format!("INSERT INTO medhook_effects (event) VALUES ('{id}')"));
        match (pool, &self.store) {
            (Pool::Sqlite(pool), Store::Sqlite(store)) => {
                let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
                transaction.execute(AssertSqlSafe(insert)).await?;
                store.finish_in(&mut transaction, delivery).await?;
                transaction.commit().await?;
            }
            (Pool::Postgres(pool), Store::Postgres(store)) => {
                let mut transaction = pool.begin().await?;
                transaction.execute(AssertSqlSafe(insert)).await?;
                store.finish_in(&mut transaction, delivery).await?;
                transaction.commit().await?;
            }
            _ => unreachable!("one database"),
        }
        Ok(())
    }

    /// Waits until processes that have started the event before this one have ended it, or for 5 s.
    async fn until_others_ended(&self, id: &str) {
        let mut ledger = Ledger::new(self.ledger());
        for _ in 0..500 {
            ledger.read();
            let others = |step| ledger.of(step).filter(|line| line.event == id && line.process != std::process::id());
            if others(Step::Start).count() <= others(Step::End).count() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn has(&self, file: &str) -> bool {
        self.setup.folder.join(file).exists()
    }

    fn write(&self, step: Step, id: &str, delivery: &Delivery) {
        ledger::write(&self.ledger(), step, id, delivery);
    }

    fn ledger(&self) -> PathBuf {
        self.setup.folder.join("ledger")
    }
}

impl Pool {
    async fn open(database: &Database) -> Pool {
        match database {
            Database::Sqlite(path) => {
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
                Pool::Sqlite(
                    SqlitePool::connect_with(options.busy_timeout(Duration::from_secs(30))).await.expect("a pool"),
                )
            }
            Database::Postgres { url, .. } => Pool::Postgres(PgPool::connect(url).await.expect("a pool")),
        }
    }
}

impl Ended {
    fn into_handled(self) -> Handled {
        match self {
            Ended::Status(status, _) => status.into(),
            Ended::GaveUp => Handled::give_up("not_wanted"),
            Ended::Unreachable => Handled::unreachable(),
        }
    }
}

impl IntoResponse for Ended {
    fn into_response(self) -> Response {
        match self {
            Ended::Status(status, None) => status.into_response(),
            Ended::Status(status, Some(after)) => (status, [(http::header::RETRY_AFTER, after)]).into_response(),
            other => {
                let mut response = StatusCode::BAD_GATEWAY.into_response();
                response.extensions_mut().insert(other.into_handled());
                response
            }
        }
    }
}

//! Receives deliveries, records them, and answers all of them 503.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::{ALLOW, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use medhook::Bytes;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::folder::Folder;
use super::lines::Lines;
use super::next::options_of_verify;
use super::recorder::Recorder;
use super::redact::Redaction;
use crate::clock;
use crate::commands::shell_word;
use crate::failure::Failure;
use crate::malformed::Malformed;
use crate::output::harmless;
use crate::recording::LONGEST_BODY;
use crate::server::{Connections, Limits, accept, empty};
use crate::verdict::Verdict;

/// Proxies and tunnels keep idle connections open.
const LIMITS: Limits =
    Limits { connections: 64, head: Duration::from_secs(10), age: Duration::from_secs(600), half_close: false };

/// The number of long bodies in memory at the same time.
const BODIES: usize = 4;

/// The longest announced length of a body that does not wait for long ones, which slow senders can hold.
const SHORT_BODY: u64 = 256 * 1024;

const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The time for the answers that are being sent at the end.
const LAST: Duration = Duration::from_secs(2);

/// The number of lines about deliveries that are not recorded. Further ones are counted.
const MOST_LINES: u64 = 20;

struct Capture {
    recorder: Recorder,
    redaction: Redaction,
    lines: Lines,
    /// The options of `medhook verify` that this command was given as well.
    options: String,
    bodies: Semaphore,
    unrecorded: AtomicU64,
}

/// Records deliveries until a signal ends the process, or until all recordings have been made and deleted again.
pub(super) async fn serve(
    listen: SocketAddr,
    out: &Path,
    most: usize,
    redaction: Redaction,
) -> Result<Verdict, Failure> {
    let mut ended = std::pin::pin!(end_signal()?);
    let folder = Folder::open(out)?;
    let cannot = |error| Failure::because(format_args!("--listen: cannot listen at {listen}"), error);
    let listener = TcpListener::bind(listen).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    let recorder = Recorder::new(folder, most)
        .map_err(|error| Failure::because(format_args!("--out: cannot use {}", out.display()), error))?;
    let capture = Arc::new(Capture {
        recorder,
        redaction,
        lines: Lines::start()?,
        options: options_of_verify(std::env::args_os().skip(2).map(|text| text.to_string_lossy().into_owned())),
        bodies: Semaphore::new(BODIES),
        unrecorded: AtomicU64::new(0),
    });
    capture.lines.print(format!(
        "listening at http://{address}; up to {most} deliveries are recorded in {}\n\
         every delivery is answered 503, so that its provider sends it again; none is handled\n\
         recordings are health data in clear; deleted after 1 h, and when this command ends\n",
        harmless(out.as_os_str().as_encoded_bytes())
    ));

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let connections = Connections::default();
    let answering = tokio::spawn({
        let capture = capture.clone();
        let malformed = {
            let capture = capture.clone();
            move |malformed: Malformed| capture.skip(malformed.cause())
        };
        let connections = connections.clone();
        let answer = move |request| capture.clone().answer(request);
        accept(listener, LIMITS, connections, answer, malformed, async move { drop(stopped.await) })
    });
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            () = &mut ended => break,
            _ = seconds.tick() => {}
        }
        let purged = capture.recorder.purge();
        match &purged {
            Ok(0) => {}
            Ok(count) => capture.lines.print(format!("recordings deleted after 1 h: {count}\n")),
            Err(_) if failing => {}
            Err(error) => capture.lines.print(format!("a recording cannot be deleted; will retry: {error}\n")),
        }
        failing = purged.is_err();
        if capture.recorder.is_finished() {
            break;
        }
    }
    let closed = capture.recorder.close();
    drop(stop);
    let _ = answering.await;
    let _ = timeout(LAST, connections.finish()).await;
    let deleted = closed.map_err(|error| {
        Failure::because(format_args!("recordings could not be deleted; delete {} yourself", out.display()), error)
    })?;
    let unrecorded = capture.unrecorded.load(Ordering::Relaxed);
    let last = format!("recordings deleted: {deleted}; deliveries not recorded: {unrecorded}\n");
    capture.lines.finish(last, LAST).await;
    Ok(Verdict::Success)
}

impl Capture {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        if ![Method::POST, Method::PUT, Method::PATCH].contains(&head.method) {
            self.skip("its method is not POST, PUT or PATCH");
            let mut answer = empty(StatusCode::METHOD_NOT_ALLOWED);
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return answer;
        }
        let full = || {
            self.skip("the maximum number is reached");
            try_again()
        };
        if self.recorder.begin().is_none() {
            return full();
        }
        let Ok(at) = clock::now() else { return try_again() };
        let is_short = body.size_hint().upper().is_some_and(|length| length <= SHORT_BODY);
        // The semaphore is never closed.
        let _held = if is_short { None } else { self.bodies.acquire().await.ok() };
        let body = match timeout(BODY_TIMEOUT, Limited::new(body, LONGEST_BODY).collect()).await {
            Err(_) => {
                self.skip("its body took more than 30 s");
                return empty(StatusCode::REQUEST_TIMEOUT);
            }
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                self.skip("its body is longer than 16 MiB");
                return empty(StatusCode::PAYLOAD_TOO_LARGE);
            }
            Ok(Err(_)) => {
                self.skip("its body is incomplete");
                return empty(StatusCode::BAD_REQUEST);
            }
            Ok(Ok(body)) => body.to_bytes(),
        };
        // Not before the body is complete: slow senders would take the permits of all others.
        let Some(permit) = self.recorder.begin() else { return full() };
        let recording = self.clone();
        // A task of its own, which ends even if the sender disconnects.
        let recorded = tokio::task::spawn_blocking(move || {
            let redacted = recording.redaction.head(at, &head.method, &head.headers, &body);
            match recording.recorder.record(permit, &redacted.to_bytes(), &body) {
                Ok(number) => recording.report(number, &head.method, body.len()),
                Err(error) => recording.skip(&format!("it could not be written: {error}")),
            }
        });
        // The answer is the same either way.
        let _ = recorded.await;
        try_again()
    }

    fn report(&self, number: u16, method: &Method, length: usize) {
        let path = shell_word(&self.recorder.folder().path_of(number).to_string_lossy());
        let options = &self.options;
        self.lines
            .print(format!("{number:04}  {method}  {length} bytes\n  medhook verify {options}--capture {path}\n",));
        if self.recorder.is_full() {
            self.lines.print(
                "the maximum number is reached: later deliveries are answered 503, and not recorded\n".to_owned(),
            );
        }
    }

    /// Reports a delivery that is not recorded.
    fn skip(&self, reason: &str) {
        if self.unrecorded.fetch_add(1, Ordering::Relaxed) < MOST_LINES {
            self.lines.print(format!("a delivery was not recorded: {reason}\n"));
        }
    }
}

/// Returns an answer for which providers retry.
fn try_again() -> Response<Full<Bytes>> {
    let mut answer = empty(StatusCode::SERVICE_UNAVAILABLE);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("60"));
    answer
}

/// Returns a future that ends at SIGINT, SIGTERM or SIGHUP.
fn end_signal() -> Result<impl Future<Output = ()>, Failure> {
    let cannot = |error: io::Error| Failure::because("cannot register signal handlers", error);
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(cannot)?;
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    {
        let _ = cannot;
        Ok(async { drop(tokio::signal::ctrl_c().await) })
    }
}

//! Answers the requests for the operator's page.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod query;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use medhook::{Bytes, StoreError};
use tokio::sync::Semaphore;
use tokio::task::block_in_place;
use tokio::time::timeout;

use self::query::{LoginForm, View};
use super::access::{Access, AccessEvent, Caching, LoginProblem, local_path, protected};
use super::observed::Observed;
use super::page::{self, Frame};
use crate::peer::PeerAddress;
use crate::receive::budget::Budget;

/// The operator's page.
pub(in crate::receive) struct Page {
    access: Arc<Access>,
    observed: Arc<Observed>,
    frame: Frame,
    /// One view of what is in memory is rendered at a time, so that viewers leave the processors to deliveries.
    rendering: Semaphore,
    /// Views that the store did not answer. An open page asks for one every few seconds.
    store_failures: Budget<()>,
}

/// The longest accepted form, and the time in which it must arrive.
const LONGEST_FORM: usize = 8192;
const FORM: Duration = Duration::from_secs(5);

impl Page {
    /// Creates the page. `config` is the file that the commands on it name.
    pub(in crate::receive) fn new(access: Arc<Access>, observed: Arc<Observed>, config: PathBuf) -> Self {
        Page {
            access,
            observed,
            frame: Frame { config },
            rendering: Semaphore::new(1),
            store_failures: Budget::default(),
        }
    }

    /// Returns whether browsers must always use TLS for the host of a request.
    pub(super) fn is_strict(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        self.access.is_strict(uri, headers)
    }

    /// Logs what was counted and is due, or all of it at the end of the process.
    pub(super) fn log_counts(&self, is_end: bool) {
        self.access.log_counts(is_end);
        let failures = if is_end { self.store_failures.rest() } else { self.store_failures.due() };
        for ((), count) in failures {
            tracing::warn!(count, "{STORE_FAILED}");
        }
    }

    /// Answers a request.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        // The server adds it to each request.
        let client = head.extensions.get().copied().unwrap_or(PeerAddress::new(Ipv4Addr::UNSPECIFIED.into()));
        // At any host, and without a session: they are the same in every receiver, and style the page that says 421.
        if let Some((content_type, content)) = page::asset(path) {
            return match check_method(&head, READ) {
                None => protected(content_of(StatusCode::OK, content_type, content.into()), Caching::Assets),
                Some(response) => response,
            };
        }
        let Some(host) = self.access.host(&head.uri, &head.headers) else {
            self.access.record(AccessEvent::UnknownHost, client);
            return self.message(
                StatusCode::MISDIRECTED_REQUEST,
                "This page is not served by the name in the address. Use localhost or an IP address, or add the name \
                 to `hosts` of [operations].",
            );
        };
        match path {
            "/login" => match check_method(&head, &[Method::GET, Method::HEAD, Method::POST]) {
                Some(response) => response,
                None if head.method == Method::POST => self.log_in(&head, body, client, &host).await,
                None => self.login_form(StatusCode::OK, None, LoginForm::next(&head.uri).as_deref().unwrap_or("/")),
            },
            "/logout" => check_method(&head, &[Method::POST]).unwrap_or_else(|| self.log_out(&head, client, &host)),
            _ if !self.access.has_session(&head.headers) => to_login(&head),
            _ => match check_method(&head, READ) {
                Some(response) => response,
                None => self.view(&head).await,
            },
        }
    }

    async fn log_in(
        &self,
        head: &Parts,
        body: Incoming,
        client: PeerAddress,
        host: &Authority,
    ) -> Response<Full<Bytes>> {
        if !self.access.is_own_form(&head.headers, host) {
            return self.foreign(client);
        }
        if !is_form(&head.headers) {
            let text = "A login is a form: application/x-www-form-urlencoded.";
            return self.message(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
        }
        let body = timeout(FORM, Limited::new(body, LONGEST_FORM).collect()).await;
        let Ok(Ok(body)) = body else {
            let text = "The form did not arrive completely, or is too long.";
            let mut response = self.message(StatusCode::BAD_REQUEST, text);
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            return response;
        };
        let form = LoginForm::parse(&body.to_bytes());
        let next = local_path(&form.next);
        match self.access.log_in(form.token.as_bytes(), client, &head.headers) {
            Ok(cookie) => see_other(next, Some(cookie)),
            Err(LoginProblem::WrongToken) => self.login_form(StatusCode::FORBIDDEN, Some("The token is wrong."), next),
            Err(LoginProblem::TooMany(wait)) => {
                let seconds = wait.as_secs().saturating_add(1);
                let problem = format!("There were too many wrong tokens. Try again in {seconds} s.");
                let mut response = self.login_form(StatusCode::TOO_MANY_REQUESTS, Some(&problem), next);
                response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
                response
            }
            Err(LoginProblem::Failed(failure)) => self.failed(&failure),
        }
    }

    fn log_out(&self, head: &Parts, client: PeerAddress, host: &Authority) -> Response<Full<Bytes>> {
        if !self.access.is_own_form(&head.headers, host) {
            return self.foreign(client);
        }
        match self.access.log_out(client, &head.headers) {
            Ok(cookie) => see_other("/login", Some(cookie)),
            Err(failure) => self.failed(&failure),
        }
    }

    /// Answers a request that has a session.
    async fn view(&self, head: &Parts) -> Response<Full<Bytes>> {
        let (observed, frame) = (&self.observed, &self.frame);
        match View::of(&head.uri) {
            Some(View::Overview) => self.rendered(|| page::overview(frame, &observed.overview())).await,
            Some(View::Deliveries(query)) => {
                let recent = || observed.recent(&query);
                self.rendered(|| page::deliveries(frame, &query, &observed.overview(), &recent())).await
            }
            Some(View::Events(query)) => match observed.events(&query).await {
                Ok(Some(events)) => html(StatusCode::OK, page::events(frame, &query, &events)),
                Ok(None) => self.message(StatusCode::NOT_FOUND, "No endpoint of this receiver has an inbox."),
                Err(error) => self.store_failed(&error),
            },
            Some(View::Event(id)) => match observed.event(id).await {
                Ok(Some(event)) => html(StatusCode::OK, page::event(frame, &event)),
                Ok(None) => {
                    let text = format!("Event {id} is not in the inbox; it never was, or was purged.");
                    self.message(StatusCode::NOT_FOUND, &text)
                }
                Err(error) => self.store_failed(&error),
            },
            None => self.message(StatusCode::NOT_FOUND, "There is no such page."),
        }
    }

    /// Renders a view of what is in memory. With 1,000 endpoints that takes milliseconds, so it does not run in a
    /// thread that also answers deliveries.
    async fn rendered(&self, view: impl FnOnce() -> String) -> Response<Full<Bytes>> {
        // The semaphore is never closed.
        let _permit = self.rendering.acquire().await.ok();
        html(StatusCode::OK, block_in_place(view))
    }

    fn login_form(&self, status: StatusCode, problem: Option<&str>, next: &str) -> Response<Full<Bytes>> {
        html(status, page::login(&self.frame, problem, local_path(next)))
    }

    fn message(&self, status: StatusCode, text: &str) -> Response<Full<Bytes>> {
        html(status, page::message(&self.frame, status, text))
    }

    fn foreign(&self, client: PeerAddress) -> Response<Full<Bytes>> {
        self.access.record(AccessEvent::ForeignForm, client);
        let text = "The form was sent by another site. Open this page in a new tab and log in there.";
        self.message(StatusCode::FORBIDDEN, text)
    }

    fn failed(&self, failure: &crate::failure::Failure) -> Response<Full<Bytes>> {
        tracing::error!(error = %failure, "a session of the operator's page was not opened or closed");
        self.message(StatusCode::INTERNAL_SERVER_ERROR, "This failed; the log of the receiver says why.")
    }

    fn store_failed(&self, error: &StoreError) -> Response<Full<Bytes>> {
        if self.store_failures.spend(&()) {
            tracing::warn!(%error, count = 1, "{STORE_FAILED}");
        }
        let text =
            "The store did not answer. Deliveries and their reasons are still shown; the log says why it failed.";
        self.message(StatusCode::SERVICE_UNAVAILABLE, text)
    }
}

const STORE_FAILED: &str = "the operator's page could not read the inbox";

const READ: &[Method] = &[Method::GET, Method::HEAD];

/// Returns whether the body of a request is declared to be a form.
fn is_form(headers: &HeaderMap) -> bool {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (kind, _) = declared.split_once(';').unwrap_or((declared, ""));
    kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Returns the answer to a request with another method than these.
fn check_method(head: &Parts, allowed: &[Method]) -> Option<Response<Full<Bytes>>> {
    if allowed.contains(&head.method) {
        return None;
    }
    let names: Vec<_> = allowed.iter().map(Method::as_str).collect();
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    if let Ok(names) = HeaderValue::try_from(names.join(", ")) {
        response.headers_mut().insert(header::ALLOW, names);
    }
    Some(protected(response, Caching::Never))
}

/// Returns the answer to a request without a session. It continues with the same view after the login.
fn to_login(head: &Parts) -> Response<Full<Bytes>> {
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let next: String = form_urlencoded::byte_serialize(local_path(target).as_bytes()).collect();
    see_other(&format!("/login?next={next}"), None)
}

fn see_other(path: &str, cookie: Option<HeaderValue>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SEE_OTHER;
    // A local path is printable ASCII.
    let path = HeaderValue::try_from(path).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(header::LOCATION, path);
    response.headers_mut().extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
    protected(response, Caching::Never)
}

fn html(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    protected(content_of(status, "text/html; charset=utf-8", text.into()), Caching::Never)
}

fn content_of(status: StatusCode, content_type: &'static str, content: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(content));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

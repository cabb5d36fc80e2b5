//! Explanations of unexpected answers, with the next step: what medhook means by a status, and whether the answer can
//! be from medhook at all.

use std::borrow::Cow;

use crate::http_client::{HttpAnswer, Target};
use crate::output::harmless;

/// Returns what an answer means that is neither expected for a genuine delivery nor for an invalid one. `to_compare`
/// says what of the signature the endpoint must agree with.
pub(super) fn explain(answer: &HttpAnswer, target: &Target, to_compare: &str) -> String {
    let text: Cow<'_, str> = match answer.status {
        200..300 => "the endpoint accepted an invalid delivery; with medhook, its route may lack the layer that verifies".into(),
        300..400 => return redirect(answer, target),
        400 if expects_tls(&answer.body) => return "the port expects TLS; use https://".to_owned(),
        400 => {
            "medhook answers it only to an incomplete body (body_incomplete); otherwise the application or a proxy \
             rejected the request"
                .into()
        },
        401 => format!(
            "a header, the signature or the time is not accepted, or the tenant is unknown; the endpoint's log has the \
             reason; compare the secret, the provider and the options of the signature with the endpoint's: \
             {to_compare}"
        )
        .into(),
        403 => {
            "a firewall, a proxy or the application rejected it, or `medhook receive` with `allow_from`, whose log then has \
             `address_not_allowed`"
                .into()
        }
        404 => "usually there is no route for this path or host; check --to".into(),
        405 => "the route does not accept POST; check the path of --to".into(),
        408 => "the body did not arrive in time (body_timeout)".into(),
        413 => "the body exceeds the limit of the receiver (too_large) or of a proxy".into(),
        415 => "medhook answers it only to an encoded body, which `send` does not send; the application wants another content-type".into(),
        500 => {
            "the handler failed or panicked (handler_panicked), or extracts a delivery on a route without the layer; the \
             endpoint's log has the cause"
                .into()
        }
        502 => {
            "usually a proxy, or `medhook receive` with `forward`, got no answer from the application; check that the \
             application is running"
                .into()
        }
        503 if answer.retry_after => {
            "the receiver cannot handle the event now (in_flight, store_unavailable, too_busy, draining), or a live \
             secret is configured as a test secret (secret_mode_mismatch); the endpoint's log has the reason; `medhook \
             capture` answers every delivery so"
                .into()
        }
        503 => {
            "not from medhook, whose 503 has a retry-after: a proxy without a running application, or the application"
                .into()
        }
        504 => "the handler did not finish in time (handler_timeout), or a proxy stopped waiting for the endpoint".into(),
        _ => return "medhook does not answer with this status; the application, a proxy or a firewall does".to_owned(),
    };
    let has_body = answer.size > 0 && [400, 401, 405, 408, 413, 503].contains(&answer.status);
    let elsewhere = "; this answer has a body, unlike a rejection by medhook, so the application or a proxy sent it";
    if has_body { format!("{text}{elsewhere}") } else { text.into_owned() }
}

/// Returns whether a 4xx says nothing about the signature of a delivery.
pub(super) fn is_unrelated(status: u16) -> bool {
    matches!(status, 404 | 405 | 408 | 410 | 411 | 413..=415 | 421 | 426 | 429 | 431)
}

fn redirect(answer: &HttpAnswer, target: &Target) -> String {
    let to = answer.location.as_ref().and_then(|location| target.redirect(location));
    let to = to.map(|to| format!(" to {}", harmless(to.as_bytes()))).unwrap_or_default();
    format!("a redirect{to}; providers do not follow redirects; use the URL at which the endpoint itself answers")
}

/// Returns whether a body is that of nginx, Go or Apache for a plain request at a port with TLS.
fn expects_tls(body: &[u8]) -> bool {
    let texts = [
        "plain HTTP request was sent to HTTPS port",
        "HTTP request to an HTTPS server",
        "speaking plain HTTP to an SSL-enabled server port",
    ];
    let body = String::from_utf8_lossy(body);
    texts.iter().any(|text| body.contains(text))
}

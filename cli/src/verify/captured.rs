//! Judges recordings in which `medhook capture` replaced the header with the secret by the result of its comparison.

use medhook::Reason;
use medhook::testing::Signing;
use medhook_conformance::Endpoint;

use super::causes::{Cause, Causes};
use super::headers::Head;
use super::steps::{Step, StepResult, Steps};
use crate::recording::{Compared, Form, Redacted};

/// Puts the secrets back that the capture recognized, and returns the names of their headers. A secret with the same
/// label but another length has been replaced since.
pub(super) fn restore(head: &mut Head, endpoint: &Endpoint) -> Vec<String> {
    let given = endpoint.secrets.iter().chain(&endpoint.test_secrets).chain(&endpoint.also_secrets);
    let given: Vec<_> = given.collect();
    let mut restored = Vec::new();
    head.redacted.retain(|Redacted { name, bytes, compared }| {
        let Compared::Matches(label) = compared else { return true };
        let same = given.iter().find(|(known, text)| *known == label && text.len() == *bytes);
        if let Some((_, text)) = same {
            head.headers.push((name.clone(), text.as_bytes().to_vec()));
            restored.push(name.clone());
        }
        same.is_none()
    });
    restored
}

/// Adds the source of a passed comparison, if the secret was put back.
pub(super) fn attribute(steps: &mut Steps, restored: &[String], endpoint: &Endpoint, signing: &Signing) {
    let needed = needed(endpoint, signing);
    let is_needed = |name: &&String| needed.contains(name);
    if let Some(name) = restored.iter().find(is_needed).filter(|_| steps.verify.has_passed()) {
        let source = format!(" (compared by the capture, which did not record the header {name})");
        steps.verify.detail.push_str(&source);
    }
}

/// Reports on a recording without the value of a header that the scheme needs. Returns `None` if every value is there.
pub(super) fn report(head: &Head, endpoint: &Endpoint, signing: &Signing) -> Option<(Steps, Causes)> {
    let needed = needed(endpoint, signing);
    let hidden = head.redacted.iter().find(|redacted| needed.contains(&redacted.name))?;
    let count = |name: &str| {
        let redacted = head.redacted.iter().filter(|redacted| redacted.name == name).count();
        head.values(name).count().saturating_add(redacted)
    };
    let wrong = needed.iter().find_map(|name| match count(name) {
        0 => Some((Reason::MissingHeader, format!("the header {name} is missing"))),
        1 => None,
        _ => Some((Reason::RepeatedHeader, format!("the header {name} is repeated"))),
    });
    let unchecked = |name| step(name, StepResult::Unchecked, None, "an earlier step failed");
    let mut steps = Steps {
        head: step("head", StepResult::Passed, None, "every required header is present once"),
        verify: unchecked("verify"),
        envelope: unchecked("envelope"),
        fresh: unchecked("fresh"),
        secret: None,
    };
    if let Some((reason, detail)) = wrong {
        steps.head = step("head", StepResult::Failed, Some(reason), detail);
        return Some((steps, Causes::default()));
    }
    let (verify, cause) = compared(hidden, endpoint, !matches!(signing, Signing::SharedSecret { .. }));
    steps.verify = verify;
    let is_valid = steps.verify.reason.map(|_| false);
    Some((steps, Causes { list: Vec::from_iter(cause), is_valid, tried: 0 }))
}

/// Reports the comparison of the capture.
fn compared(hidden: &Redacted, endpoint: &Endpoint, expects_mac: bool) -> (Step, Option<Cause>) {
    let Redacted { name, bytes, compared } = hidden;
    let mismatch = Some(Reason::SignatureMismatch);
    let (reason, detail, cause) = match compared {
        Compared::No => (
            None,
            "and compared them with no secret; pass the provider and its secret to medhook capture".to_owned(),
            None,
        ),
        Compared::Differs if expects_mac => (
            None,
            "which it did not record: they hold no HMAC, or medhook capture was started for a shared secret, and they \
             may be a secret; compare the scheme with the provider's, and give its options to both commands"
                .to_owned(),
            None,
        ),
        Compared::Differs => (
            mismatch,
            "which are none of the secrets given to medhook capture".to_owned(),
            Some(("other_secret", format!("the header {name} holds another secret"), false)),
        ),
        Compared::Matches(label) | Compared::Resembles(_, label) if expects_mac => (
            mismatch,
            format!("which hold secret {label}, but an HMAC is expected"),
            Some((
                "secret_instead_of_hmac",
                format!("the header {name} holds secret {label} itself, but an HMAC is expected"),
                !matches!(compared, Compared::Resembles(Form::CutOff | Form::Other, _)),
            )),
        ),
        Compared::Resembles(form, label) => (
            mismatch,
            format!("which are not secret {label}, but another form of it"),
            Some(changed(name, *form, label)),
        ),
        Compared::Matches(label) => {
            let given = endpoint.secrets.contains_key(label) || endpoint.also_secrets.contains_key(label);
            let problem = match given {
                true => "which was replaced since: its length differs",
                false => "which is not given here; pass it with --secret-env or --secret-file",
            };
            (None, format!("which were secret {label}, {problem}"), None)
        }
    };
    let result = if reason.is_some() { StepResult::Failed } else { StepResult::Unchecked };
    let detail = format!("the capture recorded {bytes} bytes in the header {name}, {detail}");
    (step("verify", result, reason, detail), cause.map(|(code, text, fits)| Cause { code, text, fits }))
}

/// Returns the cause for which a header does not hold the shared secret unchanged: its code, its text, and whether it
/// explains the delivery completely.
fn changed(name: &str, form: Form, label: &str) -> (&'static str, String, bool) {
    let holds = format!("the header {name} holds secret {label}");
    match form {
        Form::InQuotes => ("secret_in_quotes", format!("{holds} in quotation marks or spaces"), true),
        Form::AfterWord => ("secret_after_word", format!("{holds} after a word such as `Bearer`"), true),
        Form::InOtherCase => ("secret_in_other_case", format!("{holds} with letters in a different case"), true),
        Form::InBase64 => ("secret_in_base64", format!("{holds} encoded as base64"), true),
        Form::CutOff => {
            ("secret_cut_off", format!("the header {name} holds only the beginning of secret {label}"), false)
        }
        Form::Other => ("secret_in_other_form", format!("{holds}, or a part of it, with other text or encoded"), false),
    }
}

fn step(name: &'static str, result: StepResult, reason: Option<Reason>, detail: impl Into<String>) -> Step {
    Step { name, result, reason, detail: detail.into() }
}

/// Returns the names of the headers that the scheme reads, in lower case.
fn needed(endpoint: &Endpoint, signing: &Signing) -> Vec<String> {
    let mut names = signing.header_names();
    names.extend(endpoint.also_header.clone());
    names
}

//! Verifies recordings in which `medhook capture` replaced the header with the secret by the result of its comparison.

use medhook::Reason;
use medhook::testing::Signing;
use medhook_conformance::Endpoint;

use super::causes::authorization::token_alone;
use super::causes::options::option;
use super::causes::shared::hmac_to_set;
use super::causes::{Cause, Causes, secret_to_set};
use super::headers::Head;
use super::signature_form::{after_auth_scheme, auth_scheme};
use super::steps::{Step, StepResult, Steps};
use crate::recording::{Compared, Form, Redacted};

/// Puts the secrets back that the capture recognized, and returns the names of their headers. A secret with the same
/// label but another length has been replaced since.
pub(super) fn restore(head: &mut Head, endpoint: &Endpoint, signing: &Signing) -> Vec<String> {
    let given = endpoint.secrets.iter().chain(&endpoint.test_secrets).chain(&endpoint.also_secrets);
    let given: Vec<_> = given.collect();
    let mut restored = Vec::new();
    head.redacted.retain(|Redacted { name, bytes, compared }| {
        let Compared::Matches(label) = compared else { return true };
        let text = given.iter().find(|(known, _)| *known == label).map(|(_, text)| text.as_str());
        let same = text.and_then(|text| presented(signing, name, text)).filter(|value| value.len() == *bytes);
        let is_restored = same.is_some();
        if let Some(value) = same {
            head.headers.push((name.clone(), value.into_bytes()));
            restored.push(name.clone());
        }
        !is_restored
    });
    restored
}

/// Returns the value that a header has for a secret: in the header of a bearer token or of Basic authentication, its
/// form.
fn presented(signing: &Signing, name: &str, text: &str) -> Option<String> {
    match signing {
        Signing::SharedSecret { header, .. } if header.eq_ignore_ascii_case(name) => {
            signing.headers(text, "", "", b"").ok()?.into_iter().next().map(|(_, value)| value)
        }
        _ => Some(text.to_owned()),
    }
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
    let (verify, cause) = compared(hidden, endpoint, signing);
    steps.verify = verify;
    let is_valid = steps.verify.reason.map(|_| false);
    Some((steps, Causes { list: Vec::from_iter(cause), is_valid, tried: 0 }))
}

/// Reports the comparison of the capture.
fn compared(hidden: &Redacted, endpoint: &Endpoint, signing: &Signing) -> (Step, Option<Cause>) {
    let Redacted { name, bytes, compared } = hidden;
    let form = match signing {
        Signing::SharedSecret { form, header } if header.eq_ignore_ascii_case(name) => auth_scheme(form),
        _ => None,
    };
    let expects_mac = !matches!(signing, Signing::SharedSecret { .. });
    let mismatch = Some(Reason::SignatureMismatch);
    if let Some(cause) = given_after_word(compared, endpoint, signing) {
        let detail = format!("the capture recorded {bytes} bytes in the header {name}, which hold the word once");
        return (step("verify", StepResult::Failed, mismatch, detail), Some(cause));
    }
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
        // Receivers accept the name of the authentication scheme in either case, and several spaces after it.
        Compared::Resembles(_, label) if form.is_some() => (
            None,
            format!("which hold secret {label} in another form than medhook capture compares"),
            Some((
                "secret_in_other_form",
                format!("the header {name} holds secret {label}, or a part of it, with other text or encoded"),
                false,
            )),
        ),
        Compared::Differs if form == Some("Basic") => (
            None,
            "which are not the configured user name and any of the secrets given to medhook capture".to_owned(),
            Some(("other_secret", format!("the header {name} holds another user name or secret"), false)),
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
                format!(
                    "the header {name} holds secret {label} itself, but an HMAC is expected{}",
                    secret_to_set(endpoint)
                ),
                !matches!(compared, Compared::Resembles(Form::CutOff | Form::Other, _)),
            )),
        ),
        Compared::Signs(label) => (
            mismatch,
            format!("which are an HMAC of the body under secret {label}, but the secret itself is expected"),
            Some((
                "hmac_instead_of_secret",
                format!(
                    "the header {name} holds an HMAC of the body under secret {label}: the sender signs, but the \
                     endpoint expects the secret itself{}",
                    hmac_to_set(endpoint)
                ),
                !expects_mac,
            )),
        ),
        Compared::Resembles(form, label) => (
            mismatch,
            format!("which are not secret {label}, but another form of it"),
            Some(changed(name, *form, label, endpoint.custom.is_some())),
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

/// Returns a cause if the secret was given with the word `Bearer`, which the form adds.
fn given_after_word(compared: &Compared, endpoint: &Endpoint, signing: &Signing) -> Option<Cause> {
    let (Signing::SharedSecret { form, .. }, Compared::Resembles(Form::Other, label)) = (signing, compared) else {
        return None;
    };
    after_auth_scheme(auth_scheme(form)?, endpoint.secrets.get(label)?)?;
    let fix = Some(token_alone(form, GIVEN_AFTER_WORD)).filter(|fix| !fix.is_empty())?;
    let text = format!("secret {label} was given after the word `Bearer`, which is not part of it{fix}");
    Some(Cause { code: GIVEN_AFTER_WORD, text, fits: false })
}

const GIVEN_AFTER_WORD: &str = "secret_given_after_word";

/// Returns the cause for which a header does not hold the shared secret unchanged: its code, its text, and whether it
/// explains the delivery completely.
fn changed(name: &str, form: Form, label: &str, is_custom: bool) -> (&'static str, String, bool) {
    let bearer = || format!("; if it is `Bearer`, set {} instead of `header`", option("form", "bearer"));
    let fix = if is_custom && name == "authorization" { bearer() } else { String::new() };
    let holds = format!("the header {name} holds secret {label}");
    match form {
        Form::InQuotes => ("secret_in_quotes", format!("{holds} in quotation marks or spaces"), true),
        Form::AfterWord => ("secret_after_word", format!("{holds} after a word such as `Bearer`{fix}"), true),
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

#[cfg(test)]
mod tests {
    use medhook::SharedSecret;
    use medhook_conformance::CustomProvider;

    use super::*;

    #[test]
    fn an_authorization_that_the_capture_recognized_is_put_back_in_its_form() {
        let basic = SharedSecret::basic("acme");
        for (scheme, value) in [(SharedSecret::bearer(), "Bearer secret"), (basic, "Basic YWNtZTpzZWNyZXQ=")] {
            let signing = Signing::of(scheme);
            let mut endpoint = Endpoint::custom("custom", CustomProvider::new(signing.clone()));
            endpoint.secrets.insert("current".to_owned(), "secret".to_owned());
            let recorded = |bytes, compared| {
                let mut head = Head::default();
                head.redacted.push(Redacted { name: "authorization".to_owned(), bytes, compared });
                head
            };
            let matches = || Compared::Matches("current".to_owned());
            let mut head = recorded(value.len(), matches());
            assert_eq!(restore(&mut head, &endpoint, &signing), ["authorization"]);
            assert_eq!(head.text("authorization"), Some(value));
            // The secret was replaced by a shorter one since.
            let mut head = recorded(value.len() + 1, matches());
            assert!(restore(&mut head, &endpoint, &signing).is_empty() && head.headers.is_empty());
            // `bearer` in lower case is accepted by receivers, so this need not be a mistake.
            let head = recorded(value.len(), Compared::Resembles(Form::AfterWord, "current".to_owned()));
            let (steps, causes) = report(&head, &endpoint, &signing).unwrap();
            assert_eq!(steps.verify.result, StepResult::Unchecked);
            assert!(causes.list.iter().all(|cause| cause.code == "secret_in_other_form" && !cause.fits));
        }
    }

    fn explained(scheme: SharedSecret, secret: &str, compared: Compared) -> (Step, Cause) {
        let signing = Signing::of(scheme);
        let mut endpoint = Endpoint::custom("custom", CustomProvider::new(signing.clone()));
        endpoint.secrets.insert("current".to_owned(), secret.to_owned());
        let (step, cause) =
            super::compared(&Redacted { name: signing.header(), bytes: 64, compared }, &endpoint, &signing);
        (step, cause.unwrap())
    }

    #[test]
    fn a_recognized_value_names_the_option() {
        let current = || "current".to_owned();
        for (scheme, secret, compared, code, option) in [
            (
                SharedSecret::new("x-key"),
                "secret",
                Compared::Signs(current()),
                "hmac_instead_of_secret",
                "set `scheme = \"hmac-sha256\"`",
            ),
            (
                SharedSecret::bearer(),
                "Bearer secret",
                Compared::Resembles(Form::Other, current()),
                "secret_given_after_word",
                "with `form = \"bearer\"`, give the token alone",
            ),
            (
                SharedSecret::new("authorization"),
                "secret",
                Compared::Resembles(Form::AfterWord, current()),
                "secret_after_word",
                "set `form = \"bearer\"` instead of `header`",
            ),
        ] {
            let (step, cause) = explained(scheme, secret, compared);
            assert_eq!((step.reason, cause.code), (Some(Reason::SignatureMismatch), code));
            assert!(cause.text.contains(option), "{}", cause.text);
        }
    }
}

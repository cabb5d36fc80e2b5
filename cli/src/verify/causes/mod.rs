//! Finds the causes of a failed verification by trying the common mistakes. A mistake that explains the delivery
//! completely is a cause; one that the headers, the body or the time only suggest is a possible cause. docs/verify.md
//! lists the codes.
//!
//! - `search`: combines the tables `secrets` (by `keys` and `key_form`), `messages`, `templates` (with `sent_times`)
//!   and `bodies`, and compares the signatures with those in `tags`; `public_keys` and `mac_sha512` verify
//! - `shared`, `authorization`, `held`: compare shared secrets
//! - `options`, `template_options`: the options that causes name
//! - `mode`, `times`, `hints`: everything else
//! - `json`, `escapes`, `numbers`, `charset`, `wrapped`, `dumps`: how bodies are rewritten

pub(in crate::verify) mod authorization;
mod bodies;
mod cause;
mod charset;
mod dumps;
mod escapes;
mod held;
mod hints;
mod json;
mod key_form;
mod keys;
mod mac_sha512;
mod messages;
mod mode;
mod numbers;
pub(in crate::verify) mod options;
mod public_keys;
mod search;
mod secrets;
mod sent_times;
pub(in crate::verify) mod shared;
mod tags;
mod template_options;
mod templates;
mod times;
mod wrapped;

use medhook::Reason;
use medhook_conformance::Endpoint;

pub(super) use self::cause::Cause;
use self::cause::add;
use self::key_form::KeyForm;
use super::case::Case;
use super::problems::{self, Problem};
use super::steps::Steps;
use super::time_form::TimeForm;

/// The causes that were found.
#[derive(Default)]
pub(super) struct Causes {
    pub(super) list: Vec<Cause>,
    /// Whether the signature is valid; `None` if that is unknown.
    pub(super) is_valid: Option<bool>,
    /// The number of combinations that were tried.
    pub(super) tried: usize,
}

impl Causes {
    /// Finds the causes for which a delivery was not accepted.
    pub(super) fn find(case: &Case<'_>, steps: &Steps) -> Self {
        let mut causes = Causes::default();
        if steps.verify.has_passed() {
            causes.is_valid = Some(true);
            causes.list.extend(mode::of_verified(case, steps));
            causes.list.extend(times::find(case, steps, true));
            return causes;
        }
        let is_explained = if case.is_shared_secret() { causes.compare(case) } else { causes.search(case) };
        causes.add_problems(case, steps, is_explained);
        let is_valid = causes.is_valid == Some(true);
        // A problem of the head is not reported twice.
        let times = times::find(case, steps, is_valid).into_iter();
        let mut possible: Vec<_> =
            times.filter(|cause| causes.list.iter().all(|known| known.code != cause.code)).collect();
        if !is_explained {
            possible.extend(hints::of_value(case));
            possible.extend(hints::of_secrets(case));
            possible.extend(mode::of_unverified(case));
        }
        possible.into_iter().for_each(|cause| add(&mut causes.list, cause));
        // No unit of the header's time fits a time that is signed in another form.
        let is_rewritten = causes.list.iter().any(|cause| cause.code == "time_rewritten");
        if is_rewritten && case.endpoint.custom.is_some() {
            let is_unit = |code: &str| {
                [TimeForm::Milliseconds, TimeForm::Microseconds, TimeForm::Nanoseconds, TimeForm::Rfc3339]
                    .iter()
                    .any(|form| form.code() == code)
                    || code == "timestamp_in_seconds"
            };
            causes.list.retain(|cause| !is_unit(cause.code));
        }
        // A missing header, for example, says more than that no other header holds a signature.
        causes.list.sort_by_key(|cause| (!cause.fits, cause.code == "no_signature_found"));
        causes
    }

    /// Searches for the mistakes of an HMAC, and returns whether they explain it.
    fn search(&mut self, case: &Case<'_>) -> bool {
        let outcome = search::search(case);
        self.tried = outcome.tried;
        self.is_valid = (outcome.is_valid || outcome.is_comparable).then_some(outcome.is_valid);
        if let Some(explanation) = outcome.explanation {
            self.list = explanation;
            return true;
        }
        let is_bare = case.secrets.iter().any(|secret| {
            let text = secret.expose_secret().as_bytes();
            let required = case.required_headers();
            required.iter().flat_map(|name| case.head.values(name)).any(|value| ends_with_word(value, text))
        });
        if is_bare {
            self.list.push(Cause::fitting(
                "secret_instead_of_hmac",
                format!("the header holds the secret itself, but an HMAC is expected{}", secret_to_set(case.endpoint)),
            ));
            return true;
        }
        if !outcome.has_tags {
            let name = keys::name(KeyForm::of(case).algorithm);
            let text = format!("no header holds a value that could be an {name}");
            self.list.push(Cause::possible("no_signature_found", text));
        }
        if outcome.is_cut {
            let text = "the body is so long that not every combination was tried";
            self.list.push(Cause::possible("not_all_tried", text));
        }
        self.list.extend(hints::of_body(case));
        false
    }

    /// Searches for the mistakes of a shared secret, and returns whether they explain it.
    fn compare(&mut self, case: &Case<'_>) -> bool {
        let outcome = shared::compare(case);
        (self.list, self.is_valid, self.tried) = (outcome.causes, outcome.is_valid, outcome.tried);
        self.is_valid == Some(true) || self.list.iter().any(|cause| cause.fits)
    }

    /// Adds the problems for which the head or the length was rejected. They explain the delivery completely if nothing
    /// is wrong with the signature, or if that is explained as well.
    fn add_problems(&mut self, case: &Case<'_>, steps: &Steps, is_explained: bool) {
        let reason = steps
            .head
            .reason
            .or(steps.verify.reason.filter(|reason| [Reason::TooLarge, Reason::AmbiguousBody].contains(reason)));
        let Some(reason) = reason else { return };
        for Problem { code, text } in problems::of_head(case, reason) {
            // The search found what is wrong with the form.
            if ["malformed_signature", "malformed_authorization"].contains(&code) && is_explained {
                continue;
            }
            let fits = is_explained && reason != Reason::MissingHeader;
            add(&mut self.list, Cause { code, text, fits });
        }
        let own = case.signature_header();
        if case.is_standard() && !case.head.has(&own) {
            let is_named = |prefix: &&String| case.head.has(&format!("{prefix}signature"));
            for prefix in messages::families(case).iter().filter(is_named) {
                let hint = messages::prefix_hint(case, prefix);
                let text = format!("the headers are named {prefix}*, but {own} is expected{hint}");
                let is_svix = prefix == "svix-";
                add(
                    &mut self.list,
                    Cause::possible(if is_svix { "svix_headers" } else { "other_header_prefix" }, text),
                );
            }
        }
    }
}

/// Returns what to set if a custom provider sends its secret instead of signing.
pub(in crate::verify) fn secret_to_set(endpoint: &Endpoint) -> String {
    let scheme = || format!(": set {}", options::option("scheme", "shared-secret"));
    endpoint.custom.as_ref().map_or_else(String::new, |_| scheme())
}

fn ends_with_word(value: &[u8], word: &[u8]) -> bool {
    !word.is_empty()
        && value
            .strip_suffix(word)
            .is_some_and(|before| before.is_empty() || before.ends_with(b" ") || before.ends_with(b"="))
}

#[cfg(test)]
mod tests {
    use super::ends_with_word;

    #[test]
    fn an_empty_secret_is_in_no_header() {
        assert!(ends_with_word(b"secret", b"secret") && ends_with_word(b"Bearer secret", b"secret"));
        assert!(!ends_with_word(b"v1,c2VjcmV0", b"") && !ends_with_word(b"key=", b"") && !ends_with_word(b"", b""));
    }
}

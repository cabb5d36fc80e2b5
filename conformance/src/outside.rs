//! The cases of one provider, signed for another endpoint than the list's.

use medhook::registry::{PROVIDERS, SchemeChoice, UnsignedValue};
use medhook::testing::Signing;
use medhook::{Encoding, Outcome, Reason};

use crate::case::{Case, Transfer};
use crate::change::{Change, State};
use crate::custom_cases;
use crate::draft::{Draft, after_signing};
use crate::endpoint::Endpoint;
use crate::error::CaseError;
use crate::list::{self, List};
use crate::recipe::{Recipe, make_all};
use crate::written::id_header;

/// Returns every case of an endpoint's provider, signed for that endpoint as it would be sent at this Unix time, in
/// seconds. Ids begin with `mark`, which must not contain a dot, and differ from case to case.
///
/// The endpoint's secrets have the labels of the list: `current`, `old` for a second one, and `test` for Fasten's test
/// mode. A case that needs a secret that the endpoint does not have cannot be played, nor can one about the inside of a
/// receiver.
///
/// # Errors
/// Returns the errors of [`cases`](crate::cases()).
pub fn cases_outside(endpoint: &Endpoint, mark: &str, now: i64) -> Result<Vec<Prepared>, CaseError> {
    prepare(endpoint, mark, now, false)
}

/// Returns the same as [`cases_outside`] for a receiver in this process, with the settings of the listed endpoint that
/// has the provider's name: its limit for bodies is the default one, and it can be shut down. Cases for endpoints with
/// other settings cannot be played.
///
/// # Errors
/// Returns the errors of [`cases`](crate::cases()).
pub fn cases_inside(endpoint: &Endpoint, mark: &str, now: i64) -> Result<Vec<Prepared>, CaseError> {
    prepare(endpoint, mark, now, true)
}

fn prepare(endpoint: &Endpoint, mark: &str, now: i64, inside: bool) -> Result<Vec<Prepared>, CaseError> {
    let list = match &endpoint.custom {
        Some(custom) => Some(custom_cases::list(endpoint, custom)?),
        None => list::of(&endpoint.provider)?,
    };
    let Some(List { endpoints, rows, .. }) = list else {
        return Ok(Vec::new());
    };
    let mut prepared = Vec::new();
    for (number, (row, (recipe, case))) in rows.iter().zip(make_all(&rows, &endpoints, now)?).enumerate() {
        let in_row = |problem: String| CaseError(format!("{}: {problem}", row.place));
        let listed = endpoints.get(recipe.endpoint).ok_or_else(|| in_row("no such endpoint".to_owned()))?;
        let adaptation = Adaptation { listed, endpoint, mark: format!("{mark}{number}-"), now, inside };
        prepared.push(match adaptation.remade(&recipe, case.clone()).map_err(in_row)? {
            Ok(case) => Prepared { case, skipped: None },
            Err(reason) => Prepared { case, skipped: Some(reason) },
        });
    }
    Ok(prepared)
}

/// A case that is signed for an endpoint, or that cannot be played there.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Prepared {
    /// The case, ready to be sent if it can be.
    pub case: Case,
    /// The reason why the case cannot be played. `None` if it can.
    pub skipped: Option<&'static str>,
}

/// Signs cases of a listed endpoint for another endpoint.
struct Adaptation<'s> {
    listed: &'s Endpoint,
    endpoint: &'s Endpoint,
    mark: String,
    now: i64,
    /// Whether the receiver runs in this process.
    inside: bool,
}

/// A result, or the reason why a case cannot be played.
type Remade<T> = Result<T, &'static str>;

impl Adaptation<'_> {
    fn remade(&self, recipe: &Recipe<'_>, case: Case) -> Result<Remade<Case>, String> {
        if self.inside && case.endpoint != self.endpoint.provider {
            return Ok(Err("for an endpoint with other settings"));
        }
        let changes = self.fits(recipe).and_then(|()| {
            let rejected = case.expected.reason.is_some_and(|reason| reason.outcome() == Outcome::Rejected);
            if !self.inside && case.expected.reason == Some(Reason::TooLarge) {
                return Err("depends on the endpoint's own limit for bodies");
            }
            recipe.changes.iter().map(|change| self.adapted(change, rejected)).collect::<Remade<Vec<_>>>()
        });
        let changes = match changes {
            Ok(changes) => changes,
            Err(reason) => return Ok(Err(reason)),
        };
        // A missing secret is replaced by a change; otherwise the case would not fit.
        let secret = recipe.secret.filter(|label| self.endpoint.secret(Some(label)).is_some());
        let mut draft = Draft::new(self.endpoint, recipe.body, secret, self.now)?;
        draft.mark(&self.mark);
        for change in &changes {
            draft.before_signing(change)?;
        }
        draft.make_unique(&self.mark);
        if draft.has_an_id_without(&self.mark) {
            return Ok(Err("its id could be taken for a real one"));
        }
        if draft.lacks_a_checked_time() {
            return Ok(Err("it has no time, and the endpoint checks the age of events"));
        }
        let (headers, body, signed) = draft.sign()?;
        let mut remade = Case { headers, body, transfer: Transfer::Whole, ..case };
        remade.method = "POST".to_owned();
        for change in &changes {
            after_signing(change, &mut remade, &signed)?;
        }
        Ok(Ok(remade))
    }

    /// Checks that the listed endpoint has the settings of ours that matter from outside. A pinned kind does not
    /// matter: a genuine delivery is accepted, whatever its kind.
    fn fits(&self, recipe: &Recipe<'_>) -> Remade<()> {
        let Adaptation { listed, endpoint, .. } = self;
        if listed.scheme != endpoint.scheme && !recipe.changes.iter().all(|change| self.fits_any_scheme(change)) {
            return Err("for endpoints of the other scheme");
        }
        if listed.also_header.is_some() != endpoint.also_header.is_some() {
            return Err("for endpoints with another number of headers that hold a secret");
        }
        if listed.body_limit.is_some() || listed.body_timeout_ms.is_some() {
            return Err("depends on the endpoint's own limits for bodies");
        }
        if listed.event_age.is_some() {
            return Err("for endpoints that check the age of events");
        }
        let needed = recipe.changes.iter().rev().find_map(|change| match change {
            Change::Secret(label) => Some(label.as_str()),
            _ => None,
        });
        match needed.or(recipe.secret) {
            Some(label) if endpoint.secret(Some(label)).is_none() => Err(match label {
                "test" => "needs the secret of the test mode",
                "old" => "needs a second secret that is current, too",
                _ => "needs a secret of another form",
            }),
            _ => Ok(()),
        }
    }

    /// Returns whether a change has the same result under every scheme.
    fn fits_any_scheme(&self, change: &Change) -> bool {
        match change {
            Change::Header(name, _) | Change::And(name, _) => signature_header(self.listed).as_ref() != Some(name),
            Change::Set(..)
            | Change::Replace(..)
            | Change::Text(_)
            | Change::Bytes(_)
            | Change::Wrap(..)
            | Change::Nest(..)
            | Change::Long(..)
            | Change::Pad(_)
            | Change::Event(_)
            | Change::Method(_)
            | Change::Chunked(_)
            | Change::State(_) => true,
            _ => false,
        }
    }

    /// Returns a change adapted to our endpoint. Every kind of change is decided on here.
    fn adapted(&self, change: &Change, rejected: bool) -> Remade<Change> {
        Ok(match change {
            Change::ForeignSecret(text) => Change::ForeignSecret(self.foreign(text)?),
            Change::Set(pointer, json) if pointer == "/id" => Change::Set(pointer.clone(), self.marked(json)),
            Change::Long(pointer, _) if pointer == "/id" => change.clone(),
            Change::Replace(_, text) | Change::Text(text) | Change::Wrap(text, _) if text.contains("\"id\"") => {
                return Err("its id could be taken for a real one");
            }
            Change::Wrap(_, text) if text.contains("\"id\"") => return Err("its id could be taken for a real one"),
            Change::Hex => {
                self.same_scheme()?;
                Change::Hex
            }
            Change::MessageId(id) if !id.is_empty() => Change::MessageId(format!("{}{id}", self.mark)),
            Change::Attempt(offset) => Change::Attempt(clear_of_the_limit(*offset, rejected)),
            Change::Event(offset) => Change::Event(clear_of_the_limit(*offset, rejected)),
            Change::Scheme(SchemeChoice::HmacSha256) if self.listed.scheme == Some(SchemeChoice::HmacSha256) => {
                return Err("depends on how the endpoint's HMAC is encoded");
            }
            Change::Scheme(scheme) if *scheme != SchemeChoice::HmacSha256 => return Err("it would send the secret"),
            Change::Base64 => {
                self.same_scheme()?;
                Change::Base64
            }

            Change::Without(name) => Change::Without(self.renamed(name)),
            Change::Header(name, _) | Change::And(name, _) if is_attempt_id(name) => {
                return Err("it could do harm at an endpoint that trusts the header");
            }
            Change::Header(name, template) => {
                self.shows_no_secret(template)?;
                self.same_writing(name)?;
                Change::Header(self.renamed(name), self.renamed_in(name, template))
            }
            Change::And(name, template) => {
                self.shows_no_secret(template)?;
                Change::And(self.renamed(name), self.renamed_in(name, template))
            }
            Change::Edit(name, from, to) => {
                self.same_writing(name)?;
                Change::Edit(self.renamed(name), from.clone(), to.clone())
            }
            Change::UpperCase(name) => {
                self.same_writing(name)?;
                Change::UpperCase(self.renamed(name))
            }
            Change::Lengthen(name, length) => Change::Lengthen(self.renamed(name), *length),
            Change::Cut(name, length) => {
                self.same_writing(name)?;
                Change::Cut(self.renamed(name), *length)
            }
            Change::Spoil(name, place) => Change::Spoil(self.renamed(name), *place),
            Change::Trim(name, text) => {
                self.same_writing(name)?;
                Change::Trim(self.renamed(name), text.clone())
            }

            Change::Declares(_) => return Err("depends on the endpoint's own limit for bodies"),
            Change::HangsUp => return Err("a sender that disconnects gets no answer"),
            Change::Stalls => return Err("depends on the endpoint's own time limit for bodies"),
            Change::State(State::Usual | State::Handled | State::InFlight) => change.clone(),
            Change::State(State::Draining) if self.inside => change.clone(),
            Change::State(_) => return Err("a receiver cannot be brought into this state from outside"),
            Change::Handler(_) => return Err("a handler's answer cannot be chosen from outside"),

            Change::Secret(_)
            | Change::Scheme(_)
            | Change::Set(..)
            | Change::Long(..)
            | Change::Replace(..)
            | Change::Text(_)
            | Change::Wrap(..)
            | Change::Bytes(_)
            | Change::Nest(..)
            | Change::Pad(_)
            | Change::MessageId(_)
            | Change::Timestamp(_)
            | Change::Flip(_)
            | Change::Append(_)
            | Change::SignedAs(_)
            | Change::Resplit(_)
            | Change::Redate(_)
            | Change::Among(_)
            | Change::Stretch(_)
            | Change::Method(_)
            | Change::Chunked(_) => change.clone(),
        })
    }

    /// Returns a foreign secret. One that differs from the listed secret in its last letter becomes one that differs so
    /// from ours.
    fn foreign(&self, text: &str) -> Remade<String> {
        let (Some(listed), Some(ours)) = (self.listed.secret(None), self.endpoint.secret(None)) else {
            return Err("needs a secret");
        };
        if let Some(more) = text.strip_prefix(listed) {
            return Ok(format!("{ours}{more}"));
        }
        if listed.starts_with(text) {
            return ours
                .char_indices()
                .next_back()
                .and_then(|(end, _)| ours.get(..end))
                .map(str::to_owned)
                .ok_or("needs a secret");
        }
        Ok(text.to_owned())
    }

    /// Returns the JSON of an id, with our mark if it is a text.
    fn marked(&self, json: &str) -> String {
        match serde_json::from_str(json) {
            Ok(serde_json::Value::String(text)) if !text.is_empty() => {
                json.replacen('"', &format!("\"{}", self.mark), 1)
            }
            _ => json.to_owned(),
        }
    }

    fn shows_no_secret(&self, template: &str) -> Remade<()> {
        let listed = [&self.listed.secrets, &self.listed.test_secrets, &self.listed.also_secrets];
        let shown =
            listed.into_iter().flat_map(|secrets| secrets.values()).any(|secret| template.contains(secret.as_str()));
        if shown { Err("it would send a secret, or have no meaning with yours") } else { Ok(()) }
    }

    /// Checks that the endpoint's scheme is known to the list, as that of a custom provider is.
    fn same_scheme(&self) -> Remade<()> {
        let is_same = self.endpoint.custom.is_some();
        if is_same { Ok(()) } else { Err("depends on how the endpoint's HMAC is encoded") }
    }

    /// Checks that both endpoints write signatures the same way, which changes of their text depend on.
    fn same_writing(&self, name: &str) -> Remade<()> {
        let written = |endpoint: &Endpoint| (endpoint.prefix.clone(), endpoint.encoding.unwrap_or(Encoding::Hex));
        if signature_header(self.listed).as_deref() == Some(name) && written(self.listed) != written(self.endpoint) {
            return Err("for endpoints with another prefix or encoding");
        }
        Ok(())
    }

    fn renamed(&self, name: &str) -> String {
        let pairs = [
            (signature_header(self.listed), signature_header(self.endpoint)),
            (self.listed.also_header.clone(), self.endpoint.also_header.clone()),
        ];
        let known = pairs.into_iter().find(|(listed, _)| listed.as_deref() == Some(name));
        known.and_then(|(_, ours)| ours).unwrap_or_else(|| name.to_owned())
    }

    fn renamed_in(&self, header: &str, template: &str) -> String {
        let is_id = self.endpoint.signing().ok().and_then(|signing| id_header(&signing)).as_deref() == Some(header);
        if (is_id || header.ends_with("-id")) && !template.is_empty() && !template.starts_with('{') {
            return format!("{}{template}", self.mark);
        }
        let names = [signature_header(self.listed), self.listed.also_header.clone()];
        names.into_iter().flatten().fold(template.to_owned(), |text, name| {
            text.replace(&format!("{{{name}}}"), &format!("{{{}}}", self.renamed(&name)))
        })
    }
}

/// Returns whether a provider sends the id of an attempt in this header, which nothing signs.
fn is_attempt_id(name: &str) -> bool {
    let unsigned = PROVIDERS.iter().flat_map(|facts| facts.unsigned_headers);
    unsigned.filter(|header| header.value == UnsignedValue::AttemptId).any(|header| header.name == name)
}

fn signature_header(endpoint: &Endpoint) -> Option<String> {
    let signing = endpoint.signing().ok()?;
    (!matches!(signing, Signing::StandardWebhooks(_))).then(|| signing.header().to_ascii_lowercase())
}

/// Moves a time that is exactly at a limit to the side that the case is about: clocks differ, and deliveries take time.
fn clear_of_the_limit(offset: i64, rejected: bool) -> i64 {
    let margin = if rejected { 60_i64 } else { -10 };
    offset.saturating_add(margin.saturating_mul(offset.signum()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::{Cases, cases_at};
    use crate::custom::CustomProvider;

    const NOW: i64 = 1_800_000_000;

    fn played(endpoint: &Endpoint) -> Vec<Case> {
        let outside = cases_outside(endpoint, "mark-", NOW).unwrap();
        outside.into_iter().filter(|outside| outside.skipped.is_none()).map(|outside| outside.case).collect()
    }

    /// Returns an endpoint of the list with other secrets and settings.
    fn own(list: &Cases, name: &str) -> Endpoint {
        let mut endpoint = list.endpoints[name].clone();
        let secrets = ["bXktb3duLXNlY3JldC1vZi1lbm91Z2gtbGVuZ3Ro", "bXktb3duLW90aGVyLXNlY3JldC1vZi1sZW5ndGg"];
        endpoint.secrets = ["current", "old"].map(str::to_owned).into_iter().zip(secrets.map(str::to_owned)).collect();
        endpoint.test_secrets.clear();
        endpoint
    }

    #[test]
    fn no_secret_of_the_list_and_no_header_of_another_endpoint_is_sent() {
        let list = cases_at(NOW).unwrap();
        for name in ["azodha", "azodha-secret", "cair", "cair-secret", "fasten", "healthsync", "mediquo"] {
            let mut endpoint = own(&list, name);
            if endpoint.header.is_some() {
                endpoint.header = Some("x-own".to_owned());
            }
            let cases = played(&endpoint);
            assert!(cases.len() > 50, "{name}: {}", cases.len());
            for case in cases {
                for (header, value) in &case.headers {
                    assert!(!header.starts_with("x-cair") && !header.starts_with("x-azodha"), "{}", case.name);
                    let of_provider = list.endpoints.values().filter(|listed| listed.provider == endpoint.provider);
                    let mut listed = of_provider.flat_map(|listed| listed.secrets.values());
                    assert!(!listed.any(|secret| value.contains(secret.as_str())), "{}", case.name);
                }
            }
        }
    }

    #[test]
    fn an_hmac_endpoint_is_never_shown_its_secret() {
        let list = cases_at(NOW).unwrap();
        for name in ["azodha", "cair", "fasten", "healthsync"] {
            let endpoint = own(&list, name);
            for case in played(&endpoint) {
                for secret in endpoint.secrets.values() {
                    assert!(!case.headers.iter().any(|(_, value)| value.contains(secret.as_str())), "{}", case.name);
                }
            }
        }
    }

    #[test]
    fn a_custom_endpoint_is_played_the_cases_of_its_scheme_with_its_own_secrets() {
        let list = cases_at(NOW).unwrap();
        let base64 = Signing::of(medhook::HmacSha256Body::new("x-own").prefix("v1=").encoding(Encoding::Base64));
        for (signing, at_least, rejected) in [
            (Signing::standard_webhooks(), 95, "acme: a fresher timestamp than the signed one"),
            (Signing::hmac_sha256("x-own"), 50, "acme: a signature one digit too short"),
            (base64, 40, "acme: the first bit of the body flipped in transit"),
            (Signing::shared_secret("x-own"), 40, "acme: no shared secret"),
        ] {
            let mut custom = CustomProvider::new(signing.clone());
            custom.id_pointer = Some("/id".to_owned());
            let endpoint = Endpoint { secrets: own(&list, "fasten").secrets, ..Endpoint::custom("acme", custom) };
            let cases = played(&endpoint);
            assert!(cases.len() >= at_least, "{signing:?}: {}", cases.len());
            let case = cases.iter().find(|case| case.name == rejected).unwrap();
            assert_eq!(case.expected.outcome, Outcome::Rejected, "{rejected}");
            let is_secret = matches!(signing, Signing::SharedSecret { .. });
            for case in &cases {
                let text = String::from_utf8_lossy(&case.body).into_owned();
                assert!(!text.contains("\"id\":\"sample\""), "every event has an id of its own: {text}");
                let mut shown = endpoint.secrets.values().filter(|_| !is_secret);
                let holds = |secret: &String| case.headers.iter().any(|(_, value)| value.contains(secret.as_str()));
                assert!(!shown.any(holds), "{}", case.name);
            }
        }
    }

    #[test]
    fn times_at_a_limit_are_moved_to_their_side_of_it() {
        assert_eq!([-300, 300].map(|offset| clear_of_the_limit(offset, false)), [-290, 290]);
        assert_eq!([-301, 301].map(|offset| clear_of_the_limit(offset, true)), [-361, 361]);
    }

    #[test]
    fn the_inside_of_a_receiver_is_left_out() {
        let outside = cases_outside(&own(&cases_at(NOW).unwrap(), "healthsync"), "mark-", NOW).unwrap();
        let skipped = |name: &str| outside.iter().find(|outside| outside.case.name == name).unwrap().skipped;
        assert!(skipped("healthsync: the store is down").is_some());
        assert!(skipped("healthsync: the handler answers 500").is_some());
        assert!(skipped("healthsync: a body one byte over 1 MiB").is_some());
        assert!(skipped("healthsync: the bare secret instead of a signature").is_some());
        assert!(skipped("healthsync: the same delivery was handled").is_none());
    }
}

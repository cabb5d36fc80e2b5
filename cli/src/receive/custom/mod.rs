//! Reads a custom provider: its `scheme`, its `handshake`s, and where its events have their parts, `unsigned` ones
//! included.

mod handshake;
mod scheme;
mod unsigned;

use medhook::testing::Signing;
use medhook::{Custom, Freshness, SchemeConfig, Secrets, SharedSecretForm};

use self::handshake::HandshakeOptions;
pub(super) use self::handshake::{TOKEN, check_keys_after};
pub(super) use self::scheme::missing as missing_scheme;
use self::unsigned::UnsignedParts;
use super::keys::{TableKeys, cut};
use super::take_secrets::TakeSecrets;
use crate::failure::Failure;

/// The keys that only custom providers have, besides those of their schemes.
const CUSTOM: &[&str] = &["provider_name", "id_pointer", "kind_pointer", "known_kinds", "time_pointer", "handshake"];

/// Returns every key that only custom providers have.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    [CUSTOM, scheme::SCHEME, unsigned::UNSIGNED].into_iter().flatten().copied()
}

/// The options of a custom provider, without its secrets.
#[derive(Debug, Clone)]
pub(super) struct CustomOptions {
    pub(super) name: String,
    pub(super) scheme: SchemeConfig,
    pub(super) id_pointer: Option<String>,
    pub(super) kind_pointer: Option<String>,
    pub(super) time_pointer: Option<String>,
    pub(super) known_kinds: Vec<&'static str>,
    handshakes: Vec<HandshakeOptions>,
    unsigned: UnsignedParts,
}

/// Takes the options of a custom provider, and the secrets of its handshake. `name` is the endpoint's.
pub(super) fn take(
    keys: &mut TableKeys,
    name: &str,
    secrets: &mut TakeSecrets<'_>,
) -> Result<(CustomOptions, Option<Secrets>), Failure> {
    let name = keys.name("provider_name")?.unwrap_or_else(|| name.to_owned());
    let scheme = scheme::take(keys)?;
    // Before the pointers, which it must not be combined with.
    let unsigned = UnsignedParts::take(keys)?;
    let (handshakes, token) = handshake::take(keys, secrets)?;
    let options = CustomOptions {
        name,
        scheme,
        id_pointer: pointer(keys, "id_pointer")?,
        kind_pointer: pointer(keys, "kind_pointer")?,
        time_pointer: pointer(keys, "time_pointer")?,
        // Leaked on purpose: the file is read once, and the kinds are used until the process ends.
        known_kinds: keys.texts("known_kinds")?.into_iter().map(|kind| &*kind.leak()).collect(),
        handshakes,
        unsigned,
    };
    Ok((options, token))
}

fn pointer(keys: &mut TableKeys, key: &str) -> Result<Option<String>, Failure> {
    match keys.text(key)? {
        Some(pointer) if !pointer.starts_with('/') => {
            let problem = format_args!("{:?} is not a JSON pointer, which must begin with `/`", cut(&pointer));
            Err(keys.wrong(key, problem))
        }
        pointer => Ok(pointer),
    }
}

impl CustomOptions {
    /// Returns the provider with its secrets, and those of its handshake.
    pub(super) fn provider(&self, secrets: Secrets, token: Option<&Secrets>) -> Custom {
        let mut custom = Custom::new(&self.name, self.scheme.clone(), secrets);
        if let Some(pointer) = &self.id_pointer {
            custom = custom.id_pointer(pointer);
        }
        if let Some(pointer) = &self.kind_pointer {
            custom = custom.kind_pointer(pointer);
        }
        if let Some(pointer) = &self.time_pointer {
            custom = custom.time_pointer(pointer);
        }
        for handshake in self.handshakes.iter().filter_map(|handshake| handshake.handshake(token)) {
            custom = custom.handshake(handshake);
        }
        self.unsigned.apply(custom).known_kinds(self.known_kinds.iter().copied())
    }

    /// Returns whether the events are CloudEvents in structured mode.
    pub(super) fn is_structured(&self) -> bool {
        self.unsigned.is_structured()
    }

    /// Returns whether an unsigned header can have the id of an event.
    pub(super) fn has_unsigned_id(&self) -> bool {
        self.unsigned.has_id()
    }

    /// Returns the scheme as the receiver verifies it, without its secrets.
    pub(super) fn signing(&self) -> Signing {
        let mut signing = Signing::from(&self.scheme);
        let answers_challenges = self.handshakes.iter().any(HandshakeOptions::is_hmac);
        if let Signing::Signature(settings) = &mut signing {
            settings.needs_json |= answers_challenges && settings.needs_json_with_challenges();
        }
        signing
    }

    /// Returns whether the whole value of the header `Authorization` must be the secret.
    pub(super) fn compares_authorization(&self) -> bool {
        matches!(
            Signing::from(&self.scheme),
            Signing::SharedSecret { header, form: SharedSecretForm::Verbatim }
                if header.eq_ignore_ascii_case("authorization")
        )
    }

    /// Returns the problem of `max_age`, as set or missing, if there is one.
    pub(super) fn age_problem(&self, is_set: bool) -> Option<&'static str> {
        let freshness = Signing::from(&self.scheme).freshness();
        let is_in_body = self.time_pointer.is_some() || self.is_structured();
        match (freshness, is_set) {
            (None, false) => Some(
                "missing; with `timestamp_of = \"event\"` set it to the longest time between an event and the provider's \
                 last retry, such as \"48h\"",
            ),
            (None | Some(Freshness::EventTime { .. }), _) | (_, false) => None,
            _ if is_in_body => None,
            (Some(Freshness::AttemptTime { .. }), true) => Some(
                "the signed time is that of the attempt, which must be within 300 s; remove it, or set `time_pointer`, \
                 or `timestamp_of = \"event\"` if the provider signs the time of the event",
            ),
            _ => Some("the events have no signed time; remove it, or set `time_pointer`"),
        }
    }
}

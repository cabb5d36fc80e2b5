//! Reads the provider of an endpoint: one from the registry, or a custom one.

use medhook::registry::{
    self, Decoding, OptionName, PROVIDERS, ProviderFacts, ProviderOptions, SchemeChoice, SecretMode,
};
use medhook::{Builder, Dedupe, Delivery, Encoding, Freshness, Receiver, Secrets};

use super::custom::{self, CustomOptions};
use super::keys::TableKeys;
use super::secrets::Group;
use super::take_secrets::TakeSecrets;
use crate::dialect::{LONGEST_PREFIX, OptionMistake, SignatureEncoding, TOO_LONG, event_time, header_name};
use crate::failure::Failure;
use crate::provider::other_senders;
use crate::sources::Validation;

/// The builder of a receiver, configured with its provider.
pub(super) struct Provided {
    pub(super) builder: Builder,
    pub(super) source: Source,
    pub(super) freshness: Option<Freshness>,
    pub(super) groups: Vec<Group>,
    pub(super) classify: Classify,
}

/// The provider and its options, for commands that build no receiver, and to replace secrets.
#[derive(Clone)]
pub(super) enum Source {
    Known(&'static ProviderFacts, ProviderOptions),
    Custom(CustomOptions),
}

impl Source {
    /// Drops the secrets from the options.
    pub(super) fn without_secrets(mut self) -> Self {
        if let Source::Known(_, options) = &mut self {
            (options.secrets, options.test_secrets, options.also_secrets) = (None, None, None);
        }
        self
    }

    /// Returns the problem of `max_age`, as set or missing, if there is one.
    fn age_problem(&self, is_set: bool) -> Option<&'static str> {
        match self {
            Source::Known(facts, _) => (is_set && !facts.policy.has_event_time)
                .then_some("the events of this provider have no time; remove it"),
            Source::Custom(options) => options.age_problem(is_set),
        }
    }

    /// Returns whether an unsigned header can have the id of an event.
    fn has_unsigned_id(&self) -> bool {
        match self {
            Source::Known(..) => false,
            Source::Custom(options) => options.has_unsigned_id(),
        }
    }

    /// Returns the provider's name, and whether it is documented to retry.
    pub(super) fn retries(&self) -> (&str, bool) {
        match self {
            Source::Known(facts, _) => (facts.name, facts.retries.is_some()),
            Source::Custom(options) => (&options.name, false),
        }
    }
}

/// Decodes a delivery as an application would, and returns the result for the report.
pub(super) type Classify = fn(&Delivery) -> Decoding;

/// Keys that only some providers have, besides [`OptionName::ALL`] and those of `custom`.
const OTHER_KEYS: &[&str] = &["max_age", "dedupe"];

/// Returns every key that only some providers have.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    OptionName::ALL.iter().map(|option| option.as_str()).chain(OTHER_KEYS.iter().copied()).chain(custom::keys())
}

/// Takes the provider, its secrets and all keys that only some providers have.
///
/// `reuse` is whether the endpoint may share its secrets with others.
pub(super) fn take(keys: &mut TableKeys, name: &str, reuse: bool, validation: Validation) -> Result<Provided, Failure> {
    let mut choices: Vec<(&str, Option<&'static ProviderFacts>)> =
        PROVIDERS.iter().map(|facts| (facts.name, Some(*facts))).collect();
    choices.push(("custom", None));
    let others = keys.text_of("provider").map(other_senders);
    let provider = keys.choice("provider", &choices).map_err(|failure| match others {
        Some(others) => failure.advising(others),
        None => failure,
    })?;
    let provider = keys.needed("provider", provider)?;
    let mut groups = Vec::new();
    let mut take = TakeSecrets { reuse, validation, groups: &mut groups };
    let secrets = take.under(keys, "secrets")?;
    let secrets = keys.needed("secrets", secrets)?;
    let dedupe = keys
        .choice("dedupe", &[("id", By::Id), ("bytes", By::Bytes), ("off", By::Nothing), ("natural", By::NaturalKey)])?;

    let (mut builder, source, classify): (Builder, Source, Classify) = match provider {
        Some(facts) => {
            let options = options(keys, facts, secrets, &mut take)?;
            let builder = Receiver::configured(name, facts, &options);
            let builder = builder.map_err(|error| keys.wrong(error.option.as_str(), error.problem))?;
            (builder, Source::Known(facts, options), decode_known)
        }
        None => {
            let (options, token) = custom::take(keys, name, &mut take)?;
            let builder = Receiver::builder(name, options.provider(secrets, token.as_ref()));
            (builder, Source::Custom(options), decode_custom)
        }
    };

    let freshness = keys.duration("max_age")?.map(event_time);
    if let Some(problem) = source.age_problem(freshness.is_some()) {
        return Err(keys.wrong("max_age", problem));
    }
    if let Some(limit) = freshness {
        builder = builder.freshness(limit);
    }
    builder = match (dedupe, provider.and_then(|facts| facts.natural_key)) {
        (None | Some(By::Id), _) => builder,
        (Some(By::Bytes), _) => builder.dedupe(Dedupe::by_bytes()),
        (Some(By::Nothing), _) => builder.dedupe(Dedupe::off()),
        (Some(By::NaturalKey), Some(natural_key)) => builder.dedupe(Dedupe::by(natural_key)),
        (Some(By::NaturalKey), None) => {
            let with_key = PROVIDERS.iter().filter(|facts| facts.natural_key.is_some()).map(|facts| facts.name);
            let with_key = with_key.collect::<Vec<_>>().join(" and ");
            return Err(keys.wrong("dedupe", format_args!("\"natural\" is only available for {with_key}")));
        }
    };
    if let Some(max_repeats) = keys.number("max_repeats")? {
        let has_effect = match dedupe {
            None | Some(By::Id | By::NaturalKey) => true,
            // An unsigned id is used before the bytes.
            Some(By::Bytes) => source.has_unsigned_id(),
            Some(By::Nothing) => false,
        };
        if !has_effect {
            return Err(keys.wrong("max_repeats", "has no effect with this `dedupe`; remove it"));
        }
        builder = builder.max_repeats(max_repeats);
    }
    Ok(Provided { builder, source, freshness, groups, classify })
}

#[derive(Debug, Clone, Copy)]
enum By {
    Id,
    Bytes,
    Nothing,
    NaturalKey,
}

/// Takes the options of a provider.
fn options(
    keys: &mut TableKeys,
    facts: &ProviderFacts,
    secrets: Secrets,
    take: &mut TakeSecrets<'_>,
) -> Result<ProviderOptions, Failure> {
    let mut options = ProviderOptions::new(secrets);
    for option in facts.required_options.iter().chain(facts.optional_options) {
        let key = option.as_str();
        match option {
            OptionName::TestSecrets => options.test_secrets = take.under(keys, key)?,
            OptionName::AlsoSecrets => options.also_secrets = take.under(keys, key)?,
            OptionName::Mode => {
                let modes = [("live", SecretMode::Live), ("test", SecretMode::Test), ("any", SecretMode::Any)];
                options.mode = keys.choice(key, &modes)?;
            }
            OptionName::Scheme => {
                let schemes =
                    [("hmac-sha256", SchemeChoice::HmacSha256), ("shared-secret", SchemeChoice::SharedSecret)];
                options.scheme = keys.choice(key, &schemes)?;
            }
            OptionName::Header => options.header = header(keys, key)?,
            OptionName::AlsoHeader => options.also_header = header(keys, key)?,
            OptionName::Prefix => options.prefix = prefix(keys)?,
            OptionName::Encoding => options.encoding = keys.word::<SignatureEncoding>(key)?.map(Encoding::from),
            OptionName::PinKind => options.pin_kind = keys.text(key)?,
            _ => {}
        }
    }
    for option in facts.required_options {
        let given = match option {
            OptionName::Scheme => options.scheme.is_some(),
            OptionName::Header => options.header.is_some(),
            _ => true,
        };
        keys.needed(option.as_str(), given.then_some(()))?;
    }
    Ok(options)
}

fn header(keys: &mut TableKeys, key: &'static str) -> Result<Option<String>, Failure> {
    let header = keys.text(key)?;
    if let Some(name) = &header {
        header_name(key, name).map_err(|OptionMistake { key, problem }| keys.wrong(key, problem))?;
    }
    Ok(header)
}

fn prefix(keys: &mut TableKeys) -> Result<Option<String>, Failure> {
    match keys.text("prefix")? {
        Some(prefix) if prefix.len() > LONGEST_PREFIX => Err(keys.wrong("prefix", TOO_LONG)),
        prefix => Ok(prefix),
    }
}

fn decode_known(delivery: &Delivery) -> Decoding {
    // The provider of this endpoint is in the registry, so the default is never used.
    let event = registry::provider(delivery.provider()).and_then(|facts| facts.decode(delivery).ok());
    event.map_or(Decoding::Undecodable, |event| event.decoding)
}

fn decode_custom(delivery: &Delivery) -> Decoding {
    match delivery.kind() {
        Some(kind) if delivery.kind_label() != kind => Decoding::Unknown,
        _ => Decoding::Documented,
    }
}

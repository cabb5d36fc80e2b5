//! Reads the provider of an endpoint: one from the registry, or a custom one.

use std::time::Duration;

use medhook::registry::{
    self, Decoding, OptionName, PROVIDERS, ProviderFacts, ProviderOptions, SchemeChoice, SecretMode,
};
use medhook::{
    Builder, Custom, Dedupe, Delivery, Encoding, Freshness, HmacSha256Body, Receiver, SchemeConfig, Secrets,
    SharedSecret, StandardWebhooks,
};

use super::keys::{TableKeys, cut};
use super::secrets::{self, Group};
use crate::failure::Failure;
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

    /// Returns the provider's name, and whether it is documented to retry.
    pub(super) fn retries(&self) -> (&str, bool) {
        match self {
            Source::Known(facts, _) => (facts.name, facts.retries.is_some()),
            Source::Custom(options) => (&options.name, false),
        }
    }
}

/// The options of a custom provider.
#[derive(Debug, Clone)]
pub(super) struct CustomOptions {
    pub(super) name: String,
    pub(super) scheme: SchemeConfig,
    pub(super) id_pointer: Option<String>,
    pub(super) kind_pointer: Option<String>,
    pub(super) time_pointer: Option<String>,
    pub(super) known_kinds: Vec<&'static str>,
}

/// Decodes a delivery as an application would, and returns the result for the report.
pub(super) type Classify = fn(&Delivery) -> Decoding;

/// Keys that only some providers have, besides [`OptionName::ALL`].
const OTHER_KEYS: &[&str] =
    &["max_age", "dedupe", "provider_name", "id_pointer", "kind_pointer", "known_kinds", "time_pointer"];

/// Returns every key that only some providers have.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    OptionName::ALL.iter().map(|option| option.as_str()).chain(OTHER_KEYS.iter().copied())
}

/// Takes the provider, its secrets and all keys that only some providers have.
///
/// `reuse` is whether the endpoint may share its secrets with others.
pub(super) fn take(keys: &mut TableKeys, name: &str, reuse: bool, validation: Validation) -> Result<Provided, Failure> {
    let mut choices: Vec<(&str, Option<&'static ProviderFacts>)> =
        PROVIDERS.iter().map(|facts| (facts.name, Some(*facts))).collect();
    choices.push(("custom", None));
    let provider = keys.choice("provider", &choices)?;
    let provider = keys.needed("provider", provider)?;
    let mut groups = Vec::new();
    let mut take = TakeSecrets { reuse, validation, groups: &mut groups };
    let secrets = take.under(keys, "secrets")?;
    let secrets = keys.needed("secrets", secrets)?;
    let dedupe = keys
        .choice("dedupe", &[("id", By::Id), ("bytes", By::Bytes), ("off", By::Nothing), ("natural", By::NaturalKey)])?;

    let has_event_time = match provider {
        Some(facts) => facts.policy.has_event_time,
        None => keys.has("time_pointer"),
    };
    let (mut builder, source, classify): (Builder, Source, Classify) = match provider {
        Some(facts) => {
            let options = options(keys, facts, secrets, &mut take)?;
            let builder = Receiver::configured(name, facts, &options);
            let builder = builder.map_err(|error| keys.wrong(error.option.as_str(), error.problem))?;
            (builder, Source::Known(facts, options), decode_known)
        }
        None => {
            let options = custom(keys, name)?;
            (Receiver::builder(name, options.provider(secrets)), Source::Custom(options), decode_custom)
        }
    };

    let mut freshness = None;
    if let Some(max_age) = keys.duration("max_age")? {
        if !has_event_time {
            return Err(keys.wrong(
                "max_age",
                "the events of this provider have no time; remove it, or set `time_pointer` for a custom provider",
            ));
        }
        let limit = Freshness::EventTime { max_age, max_skew: MAX_SKEW };
        builder = builder.freshness(limit);
        freshness = Some(limit);
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
        if matches!(dedupe, Some(By::Bytes | By::Nothing)) {
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

/// The clock skew allowed with `max_age`, which is the default for HealthSync.
const MAX_SKEW: Duration = Duration::from_secs(300);

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
            OptionName::Encoding => options.encoding = encoding(keys)?,
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

/// Takes lists of secrets, and keeps a [`Group`] of each.
struct TakeSecrets<'g> {
    reuse: bool,
    validation: Validation,
    groups: &'g mut Vec<Group>,
}

impl TakeSecrets<'_> {
    fn under(&mut self, keys: &mut TableKeys, key: &'static str) -> Result<Option<Secrets>, Failure> {
        if !keys.has(key) {
            return Ok(None);
        }
        let list = secrets::listed(keys, key)?;
        let group = Group { key, secrets: list.read(|entry| entry.read(self.validation))?, reuse: self.reuse, list };
        let secrets = secrets::together(&group.secrets).ok_or_else(|| group.list.none_is_set())??;
        self.groups.push(group);
        Ok(Some(secrets))
    }
}

fn header(keys: &mut TableKeys, key: &str) -> Result<Option<String>, Failure> {
    let header = keys.text(key)?;
    match &header {
        Some(name) if http::HeaderName::try_from(name.as_str()).is_err() => {
            // Not quoted, because a whole header line pasted here would include the secret.
            Err(keys.wrong(key, "must be the name of a header, without a value"))
        }
        _ => Ok(header),
    }
}

fn prefix(keys: &mut TableKeys) -> Result<Option<String>, Failure> {
    match keys.text("prefix")? {
        Some(prefix) if prefix.len() > 64 => Err(keys.wrong("prefix", "must be at most 64 bytes")),
        prefix => Ok(prefix),
    }
}

fn encoding(keys: &mut TableKeys) -> Result<Option<Encoding>, Failure> {
    keys.choice("encoding", &[("hex", Encoding::Hex), ("base64", Encoding::Base64), ("either", Encoding::Either)])
}

#[derive(Debug, Clone, Copy)]
enum CustomScheme {
    StandardWebhooks,
    HmacSha256,
    SharedSecret,
}

fn custom(keys: &mut TableKeys, name: &str) -> Result<CustomOptions, Failure> {
    let name = keys.name("provider_name")?.unwrap_or_else(|| name.to_owned());
    let choices = [
        ("standard-webhooks", CustomScheme::StandardWebhooks),
        ("hmac-sha256", CustomScheme::HmacSha256),
        ("shared-secret", CustomScheme::SharedSecret),
    ];
    let scheme = keys.choice("scheme", &choices)?;
    let needed_header = |keys: &mut TableKeys| {
        let header = header(keys, "header")?;
        keys.needed("header", header)
    };
    let scheme = match keys.needed("scheme", scheme)? {
        CustomScheme::StandardWebhooks => StandardWebhooks::new().into(),
        CustomScheme::HmacSha256 => {
            let scheme = HmacSha256Body::new(needed_header(keys)?).prefix(prefix(keys)?.unwrap_or_default());
            scheme.encoding(encoding(keys)?.unwrap_or(Encoding::Either)).into()
        }
        CustomScheme::SharedSecret => SharedSecret::new(needed_header(keys)?).into(),
    };
    Ok(CustomOptions {
        name,
        scheme,
        id_pointer: pointer(keys, "id_pointer")?,
        kind_pointer: pointer(keys, "kind_pointer")?,
        time_pointer: pointer(keys, "time_pointer")?,
        // Leaked on purpose: the file is read once, and the kinds are used until the process ends.
        known_kinds: keys.texts("known_kinds")?.into_iter().map(|kind| &*kind.leak()).collect(),
    })
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
    pub(super) fn provider(&self, secrets: Secrets) -> Custom {
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
        custom.known_kinds(self.known_kinds.iter().copied())
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

//! Reads the provider of an endpoint: one from the registry, or a custom one.

use std::time::Duration;

use medhook::registry::{
    self, Decoding, OptionName, PROVIDERS, ProviderFacts, ProviderOptions, SchemeChoice, SecretMode,
};
use medhook::{
    Builder, Custom, Dedupe, Delivery, Encoding, Freshness, HmacSha256Body, Receiver, Secrets, SharedSecret,
    StandardWebhooks,
};

use super::keys::{TableKeys, cut};
use super::secrets::{self, Group};
use crate::failure::Failure;

/// The builder of a receiver, configured with its provider.
pub(super) struct Provided {
    pub(super) builder: Builder,
    pub(super) groups: Vec<Group>,
    pub(super) classify: Classify,
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
pub(super) fn take(keys: &mut TableKeys, name: &str, reuse: bool) -> Result<Provided, Failure> {
    let mut choices: Vec<(&str, Option<&'static ProviderFacts>)> =
        PROVIDERS.iter().map(|facts| (facts.name, Some(*facts))).collect();
    choices.push(("custom", None));
    let provider = keys.choice("provider", &choices)?;
    let provider = keys.needed("provider", provider)?;
    let mut groups = Vec::new();
    let secrets = take_secrets(keys, "secrets", reuse, &mut groups)?;
    let secrets = keys.needed("secrets", secrets)?;
    let dedupe = keys
        .choice("dedupe", &[("id", By::Id), ("bytes", By::Bytes), ("off", By::Nothing), ("natural", By::NaturalKey)])?;

    let has_event_time = match provider {
        Some(facts) => facts.policy.has_event_time,
        None => keys.has("time_pointer"),
    };
    let (mut builder, classify): (Builder, Classify) = match provider {
        Some(facts) => {
            let options = options(keys, facts, secrets, reuse, &mut groups)?;
            let builder = Receiver::configured(name, facts, &options);
            (builder.map_err(|error| keys.wrong(error.option.as_str(), error.problem))?, decode_known)
        }
        None => (Receiver::builder(name, custom(keys, name, secrets)?), decode_custom),
    };

    if let Some(max_age) = keys.duration("max_age")? {
        if !has_event_time {
            return Err(keys.wrong(
                "max_age",
                "the events of this provider have no time; remove it, or set `time_pointer` for a custom provider",
            ));
        }
        builder = builder.freshness(Freshness::EventTime { max_age, max_skew: MAX_SKEW });
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
    Ok(Provided { builder, groups, classify })
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
    reuse: bool,
    groups: &mut Vec<Group>,
) -> Result<ProviderOptions, Failure> {
    let mut options = ProviderOptions::new(secrets);
    for option in facts.required_options.iter().chain(facts.optional_options) {
        let key = option.as_str();
        match option {
            OptionName::TestSecrets => options.test_secrets = take_secrets(keys, key, reuse, groups)?,
            OptionName::AlsoSecrets => options.also_secrets = take_secrets(keys, key, reuse, groups)?,
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

fn take_secrets(
    keys: &mut TableKeys,
    key: &str,
    reuse: bool,
    groups: &mut Vec<Group>,
) -> Result<Option<Secrets>, Failure> {
    if !keys.has(key) {
        return Ok(None);
    }
    let group = Group { secrets: secrets::listed(keys, key)?, reuse };
    let Some(secrets) = secrets::together(&group.secrets) else {
        return Err(keys.wrong(key, "must name at least one secret that is set"));
    };
    let secrets = secrets?;
    groups.push(group);
    Ok(Some(secrets))
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

fn custom(keys: &mut TableKeys, name: &str, secrets: Secrets) -> Result<Custom, Failure> {
    let provider_name = keys.name("provider_name")?.unwrap_or_else(|| name.to_owned());
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
    let mut custom = match keys.needed("scheme", scheme)? {
        CustomScheme::StandardWebhooks => Custom::new(provider_name, StandardWebhooks::new(), secrets),
        CustomScheme::HmacSha256 => {
            let scheme = HmacSha256Body::new(needed_header(keys)?).prefix(prefix(keys)?.unwrap_or_default());
            Custom::new(provider_name, scheme.encoding(encoding(keys)?.unwrap_or(Encoding::Either)), secrets)
        }
        CustomScheme::SharedSecret => Custom::new(provider_name, SharedSecret::new(needed_header(keys)?), secrets),
    };
    for (key, pointed) in POINTERS {
        if let Some(pointer) = keys.text(key)? {
            if !pointer.starts_with('/') {
                return Err(keys
                    .wrong(key, format_args!("{:?} is not a JSON pointer, which must begin with `/`", cut(&pointer))));
            }
            custom = pointed(custom, pointer);
        }
    }
    // Leaked on purpose: the file is read once, and the kinds are used until the process ends.
    Ok(custom.known_kinds(keys.texts("known_kinds")?.into_iter().map(|kind| &*kind.leak())))
}

type Pointed = fn(Custom, String) -> Custom;

const POINTERS: [(&str, Pointed); 3] = [
    ("id_pointer", Custom::id_pointer),
    ("kind_pointer", Custom::kind_pointer),
    ("time_pointer", Custom::time_pointer),
];

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

//! The provider of an endpoint: one that the registry knows, or a custom one.

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

/// A receiver up to what does not depend on its provider, and what belongs to it.
pub(super) struct Provided {
    pub(super) builder: Builder,
    pub(super) groups: Vec<Group>,
    pub(super) read: Classify,
}

/// Decodes a delivery as an application would, for the report.
pub(super) type Classify = fn(&Delivery) -> Decoding;

/// Keys that some providers have and others not, besides [`OptionName::ALL`].
const OTHER_KEYS: &[&str] =
    &["max_age", "dedupe", "provider_name", "id_pointer", "kind_pointer", "known_kinds", "time_pointer"];

/// Every key that depends on the provider.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    OptionName::ALL.iter().map(|option| option.as_str()).chain(OTHER_KEYS.iter().copied())
}

/// Takes the provider, its secrets and all keys that only some providers have.
///
/// `reuse` says whether its secrets may be another endpoint's, too.
pub(super) fn take(keys: &mut TableKeys, name: &str, reuse: bool) -> Result<Provided, Failure> {
    let mut choices: Vec<(&str, Option<&'static ProviderFacts>)> =
        PROVIDERS.iter().map(|facts| (facts.name, Some(*facts))).collect();
    choices.push(("custom", None));
    let provider = keys.choice("provider", &choices)?;
    let provider = keys.needed("provider", provider)?;
    let mut groups = Vec::new();
    let secrets = taken(keys, "secrets", reuse, &mut groups)?;
    let secrets = keys.needed("secrets", secrets)?;
    let dedupe = keys.choice("dedupe", &[("id", By::Id), ("off", By::Nothing), ("natural", By::NaturalKey)])?;

    let has_event_time = match provider {
        Some(facts) => facts.policy.has_event_time,
        None => keys.has("time_pointer"),
    };
    let (mut builder, read): (Builder, Classify) = match provider {
        Some(facts) => {
            let options = options(keys, facts, secrets, reuse, &mut groups)?;
            let builder = Receiver::configured(name, facts, &options);
            (builder.map_err(|error| keys.wrong(error.option.as_str(), error.problem))?, decode_known)
        }
        None => (Receiver::builder(name, custom(keys, name, secrets)?), decode_custom),
    };

    if let Some(max_age) = keys.duration("max_age")? {
        if !has_event_time {
            return Err(keys.wrong("max_age", "no event of this provider has a time that an age could be judged by"));
        }
        builder = builder.freshness(Freshness::EventTime { max_age, max_skew: MAX_SKEW });
    }
    builder = match (dedupe, provider.and_then(|facts| facts.natural_key)) {
        (None | Some(By::Id), _) => builder,
        (Some(By::Nothing), _) => builder.dedupe(Dedupe::off()),
        (Some(By::NaturalKey), Some(natural_key)) => builder.dedupe(Dedupe::by(natural_key)),
        (Some(By::NaturalKey), None) => {
            let with_key = PROVIDERS.iter().filter(|facts| facts.natural_key.is_some()).map(|facts| facts.name);
            let with_key = with_key.collect::<Vec<_>>().join(" and ");
            return Err(keys.wrong("dedupe", format_args!("\"natural\" is for {with_key}, whose events have no id")));
        }
    };
    Ok(Provided { builder, groups, read })
}

#[derive(Debug, Clone, Copy)]
enum By {
    Id,
    Nothing,
    NaturalKey,
}

/// How far ahead of ours a clock may be, where ages are judged by an event's time: as HealthSync's default has it.
const MAX_SKEW: Duration = Duration::from_secs(300);

/// Takes the options that this provider has.
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
            OptionName::TestSecrets => options.test_secrets = taken(keys, key, reuse, groups)?,
            OptionName::AlsoSecrets => options.also_secrets = taken(keys, key, reuse, groups)?,
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

fn taken(keys: &mut TableKeys, key: &str, reuse: bool, groups: &mut Vec<Group>) -> Result<Option<Secrets>, Failure> {
    if !keys.has(key) {
        return Ok(None);
    }
    let group = Group { secrets: secrets::listed(keys, key)?, reuse };
    let secrets = keys.needed(key, secrets::together(&group.secrets))??;
    groups.push(group);
    Ok(Some(secrets))
}

fn header(keys: &mut TableKeys, key: &str) -> Result<Option<String>, Failure> {
    let header = keys.text(key)?;
    match &header {
        Some(name) if http::HeaderName::try_from(name.as_str()).is_err() => {
            // Not quoted: whoever takes the whole line of a header puts its secret here.
            Err(keys.wrong(key, "no name of a header"))
        }
        _ => Ok(header),
    }
}

fn prefix(keys: &mut TableKeys) -> Result<Option<String>, Failure> {
    match keys.text("prefix")? {
        Some(prefix) if prefix.len() > 64 => Err(keys.wrong("prefix", "longer than 64 bytes")),
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
                return Err(keys.wrong(key, format_args!("{:?} is no JSON pointer: it begins with `/`", cut(&pointer))));
            }
            custom = pointed(custom, pointer);
        }
    }
    // They live as long as the process: a list in a file that is read once.
    Ok(custom.known_kinds(keys.texts("known_kinds")?.into_iter().map(|kind| &*kind.leak())))
}

type Pointed = fn(Custom, String) -> Custom;

const POINTERS: [(&str, Pointed); 3] = [
    ("id_pointer", Custom::id_pointer),
    ("kind_pointer", Custom::kind_pointer),
    ("time_pointer", Custom::time_pointer),
];

fn decode_known(delivery: &Delivery) -> Decoding {
    // No delivery of this endpoint is of a provider that the registry does not have.
    registry::provider(delivery.provider()).map_or(Decoding::Undecodable, |facts| facts.decode(delivery).decoding)
}

fn decode_custom(delivery: &Delivery) -> Decoding {
    match delivery.kind() {
        Some(kind) if delivery.kind_label() != kind => Decoding::Unknown,
        _ => Decoding::Documented,
    }
}

//! Who sends to an endpoint: the one place of `receive` where a provider is added.

use std::time::Duration;

use medhook::{
    Azodha, Builder, Cair, Custom, Dedupe, Delivery, Encoding, Fasten, Freshness, HealthSync, HmacSha256Body, MediQuo,
    Receiver, Secrets, SharedSecret, StandardWebhooks, azodha, cair, fasten, healthsync, mediquo,
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

/// Reads a delivery as an application would.
pub(super) type Classify = fn(&Delivery) -> DecodeClass;

/// Whether an event matched the documentation of its provider, for the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DecodeClass {
    /// The variant of its kind.
    Documented,
    /// A kind that is not documented.
    Unknown,
    /// A documented kind that could not be read, or no envelope at all.
    Undecodable,
}

/// Keys that some providers have and others not.
pub(super) const KEYS: &[&str] = &[
    "scheme",
    "header",
    "prefix",
    "encoding",
    "pin_kind",
    "mode",
    "test_secrets",
    "also_header",
    "also_secrets",
    "max_age",
    "dedupe",
    "sender",
    "id_pointer",
    "kind_pointer",
    "known_kinds",
    "time_pointer",
];

/// Takes the provider, its secrets and all keys that only some providers have.
///
/// `reuse` says whether its secrets may be another endpoint's, too.
pub(super) fn take(keys: &mut TableKeys, name: &str, reuse: bool) -> Result<Provided, Failure> {
    let provider = keys.choice("provider", PROVIDERS)?;
    let provider = keys.needed("provider", provider)?;
    let mut groups = vec![group(keys, "secrets", reuse)?];
    let secrets = keys.needed("secrets", groups.first().and_then(|group| secrets::together(&group.secrets)))??;
    let dedupe = keys.choice("dedupe", &[("id", By::Id), ("off", By::Nothing), ("natural", By::NaturalKey)])?;

    let timed = match provider {
        Which::Cair | Which::HealthSync | Which::MediQuo => true,
        Which::Custom => keys.has("time_pointer"),
        Which::Azodha | Which::Fasten => false,
    };

    let (mut builder, read): (Builder, Classify) = match provider {
        Which::Azodha => {
            let header = header(keys)?;
            let scheme =
                keys.choice("scheme", &[("hmac-sha256", SchemeKey::Mac), ("shared-secret", SchemeKey::Secret)])?;
            let mut azodha = match keys.needed("scheme", scheme)? {
                SchemeKey::Mac => {
                    let mut azodha = Azodha::hmac_sha256(header, secrets);
                    if let Some(prefix) = prefix(keys)? {
                        azodha = azodha.prefix(prefix);
                    }
                    azodha.encoding(encoding(keys)?)
                }
                SchemeKey::Secret => Azodha::shared_secret(header, secrets),
            };
            if let Some(kind) = keys.text("pin_kind")? {
                if azodha::Kind::from_name(&kind).is_none() {
                    return Err(
                        keys.wrong("pin_kind", no_kind(&kind, azodha::Kind::ALL.iter().map(|kind| kind.as_str())))
                    );
                }
                azodha = azodha.pin_kind(kind);
            }
            (Receiver::builder(name, azodha), reads!(azodha))
        }
        Which::Cair => {
            let header = header(keys)?;
            let scheme =
                keys.choice("scheme", &[("hmac-sha256", SchemeKey::Mac), ("shared-secret", SchemeKey::Secret)])?;
            let mut cair = match keys.needed("scheme", scheme)? {
                SchemeKey::Mac => {
                    let mut cair = Cair::hmac_sha256(header, secrets);
                    if let Some(prefix) = prefix(keys)? {
                        cair = cair.prefix(prefix);
                    }
                    cair.encoding(encoding(keys)?)
                }
                SchemeKey::Secret => Cair::shared_secret(header, secrets),
            };
            if let Some(name) = keys.text("pin_kind")? {
                let Some(kind) = cair::Kind::from_name(&name) else {
                    return Err(
                        keys.wrong("pin_kind", no_kind(&name, cair::Kind::ALL.iter().map(|kind| kind.as_str())))
                    );
                };
                cair = cair.pin_kind(kind);
            }
            (Receiver::builder(name, cair), reads!(cair))
        }
        Which::Fasten => {
            let mode =
                keys.choice("mode", &[("live", ModeKey::Live), ("test", ModeKey::Test), ("any", ModeKey::Any)])?;
            let fasten = match mode.unwrap_or(ModeKey::Live) {
                ModeKey::Test => Fasten::test(secrets),
                ModeKey::Any => Fasten::any_mode(secrets),
                ModeKey::Live if keys.has("test_secrets") => {
                    let tests = group(keys, "test_secrets", reuse)?;
                    let secrets_of_test = keys.needed("test_secrets", secrets::together(&tests.secrets))??;
                    groups.push(tests);
                    Fasten::live(secrets).and_test(secrets_of_test)
                }
                ModeKey::Live => Fasten::live(secrets),
            };
            (Receiver::builder(name, fasten), reads!(fasten))
        }
        Which::HealthSync => (Receiver::builder(name, HealthSync::new(secrets)), reads!(healthsync)),
        Which::MediQuo => {
            let mut mediquo = MediQuo::new(secrets);
            if let Some(header) = optional_header(keys, "header")? {
                mediquo = mediquo.header(header);
            }
            if let Some(header) = optional_header(keys, "also_header")? {
                let others = group(keys, "also_secrets", reuse)?;
                let also = keys.needed("also_secrets", secrets::together(&others.secrets))??;
                groups.push(others);
                mediquo = mediquo.also_header(header, also);
            }
            (Receiver::builder(name, mediquo), reads!(mediquo))
        }
        Which::Custom => (Receiver::builder(name, custom(keys, name, secrets)?), read_custom),
    };

    if let Some(max_age) = keys.duration("max_age")? {
        if !timed {
            return Err(keys.wrong("max_age", "no event of this provider has a time that an age could be judged by"));
        }
        builder = builder.freshness(Freshness::EventTime { max_age, max_skew: AHEAD });
    }
    builder = match (dedupe, provider) {
        (None | Some(By::Id), _) => builder,
        (Some(By::Nothing), _) => builder.dedupe(Dedupe::off()),
        (Some(By::NaturalKey), Which::Azodha) => builder.dedupe(Dedupe::by(azodha::natural_key)),
        (Some(By::NaturalKey), Which::MediQuo) => builder.dedupe(Dedupe::by(mediquo::natural_key)),
        (Some(By::NaturalKey), _) => {
            return Err(keys.wrong("dedupe", "\"natural\" is for azodha and mediquo, whose events have no id"));
        }
    };
    Ok(Provided { builder, groups, read })
}

#[derive(Debug, Clone, Copy)]
enum Which {
    Azodha,
    Cair,
    Custom,
    Fasten,
    HealthSync,
    MediQuo,
}

const PROVIDERS: &[(&str, Which)] = &[
    ("azodha", Which::Azodha),
    ("cair", Which::Cair),
    ("fasten", Which::Fasten),
    ("healthsync", Which::HealthSync),
    ("mediquo", Which::MediQuo),
    ("custom", Which::Custom),
];

#[derive(Debug, Clone, Copy)]
enum SchemeKey {
    Mac,
    Secret,
}

#[derive(Debug, Clone, Copy)]
enum ModeKey {
    Live,
    Test,
    Any,
}

#[derive(Debug, Clone, Copy)]
enum By {
    Id,
    Nothing,
    NaturalKey,
}

/// How far ahead of ours a clock may be, where ages are judged by an event's time: as HealthSync's default has it.
const AHEAD: Duration = Duration::from_secs(300);

fn group(keys: &mut TableKeys, key: &str, reuse: bool) -> Result<Group, Failure> {
    Ok(Group { secrets: secrets::listed(keys, key)?, reuse })
}

fn header(keys: &mut TableKeys) -> Result<String, Failure> {
    let header = optional_header(keys, "header")?;
    keys.needed("header", header)
}

fn optional_header(keys: &mut TableKeys, key: &str) -> Result<Option<String>, Failure> {
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

fn encoding(keys: &mut TableKeys) -> Result<Encoding, Failure> {
    let choices = [("hex", Encoding::Hex), ("base64", Encoding::Base64), ("either", Encoding::Either)];
    Ok(keys.choice("encoding", &choices)?.unwrap_or(Encoding::Either))
}

fn no_kind(name: &str, kinds: impl Iterator<Item = &'static str>) -> String {
    format!("{:?} is none of {}", cut(name), kinds.collect::<Vec<_>>().join(", "))
}

fn custom(keys: &mut TableKeys, name: &str, secrets: Secrets) -> Result<Custom, Failure> {
    let sender = keys.name("sender")?.unwrap_or_else(|| name.to_owned());
    let choices = [
        ("standard-webhooks", None),
        ("hmac-sha256", Some(SchemeKey::Mac)),
        ("shared-secret", Some(SchemeKey::Secret)),
    ];
    let scheme = keys.choice("scheme", &choices)?;
    let mut custom = match keys.needed("scheme", scheme)? {
        None => Custom::new(sender, StandardWebhooks::new(), secrets),
        Some(SchemeKey::Mac) => {
            let scheme = HmacSha256Body::new(header(keys)?).prefix(prefix(keys)?.unwrap_or_default());
            Custom::new(sender, scheme.encoding(encoding(keys)?), secrets)
        }
        Some(SchemeKey::Secret) => Custom::new(sender, SharedSecret::new(header(keys)?), secrets),
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

fn read_custom(delivery: &Delivery) -> DecodeClass {
    match delivery.kind() {
        Some(kind) if delivery.kind_label() != kind => DecodeClass::Unknown,
        _ => DecodeClass::Documented,
    }
}

macro_rules! reads {
    ($provider:ident) => {
        |delivery| match delivery.decode() {
            Ok($provider::Event::Unknown(_)) => DecodeClass::Unknown,
            Ok($provider::Event::Undecodable(_)) => DecodeClass::Undecodable,
            Ok(_) => DecodeClass::Documented,
            // Of another provider: no delivery of this endpoint is.
            Err(_) => DecodeClass::Undecodable,
        }
    };
}
use reads;

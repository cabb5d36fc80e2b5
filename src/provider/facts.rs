//! What is known about a provider, as data: each provider's folder declares it once, and everything else reads it here.

use std::time::Duration;

use bytes::Bytes;

use super::definition::{Policy, Provider, sealed};
use super::options::{OptionError, OptionName, ProviderOptions, SchemeChoice};
use crate::any_event::AnyEvent;
use crate::delivery::Delivery;
use crate::envelope::Envelope;
use crate::error::ConfigError;
use crate::scheme::SchemeConfig;
use crate::secret::{Secret, Secrets};

/// What is known about a provider. Its module's documentation has the source of each fact.
#[derive(Debug)]
#[non_exhaustive]
pub struct ProviderFacts {
    /// Its name in configurations, keys, logs and metrics.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// Its documented kinds.
    pub kinds: &'static [KindFacts],
    /// What it asks of its receivers, unless an option changes it.
    pub policy: Policy,
    /// The options that an endpoint of it needs, besides its secrets.
    pub required_options: &'static [OptionName],
    /// The options that an endpoint of it can have.
    pub optional_options: &'static [OptionName],
    /// Where its bodies say what.
    pub pointers: Pointers,
    /// How long it waits for an answer; `None` if that is not documented.
    pub answer_timeout: Option<Duration>,
    /// When it tries again; `None` if that is not documented.
    pub retries: Option<RetrySchedule>,
    /// Headers that it sends besides those of its scheme. Nothing signs them, and receivers ignore them.
    pub unsigned_headers: &'static [UnsignedHeader],
    /// The text that ids of its events start with.
    pub id_prefix: &'static str,
    /// A key for [`Dedupe::by`](crate::Dedupe::by) that tells events apart by their fields, where it has one.
    pub natural_key: Option<NaturalKey>,
    pub(crate) build: fn(&ProviderOptions) -> Result<Box<dyn Provider>, OptionError>,
    pub(crate) from_delivery: fn(&Delivery) -> AnyEvent,
    pub(crate) from_body: fn(Option<&str>, &Bytes) -> AnyEvent,
    #[cfg(feature = "testing")]
    pub(crate) test_data: super::test_data::TestData,
}

/// A documented kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct KindFacts {
    /// Its name on the wire.
    pub name: &'static str,
    /// Other names that mean the same kind.
    pub aliases: &'static [&'static str],
    /// The variant of the provider's `Event` and `Kind`.
    pub variant: &'static str,
}

/// Where the bodies of a provider say what, as JSON pointers; `None` where they do not say it, or not all in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Pointers {
    /// The event's id.
    pub id: Option<&'static str>,
    /// The kind.
    pub kind: Option<&'static str>,
    /// When the event happened or was sent.
    pub time: Option<&'static str>,
    /// Whether it is a test.
    pub mode: Option<&'static str>,
}

impl Pointers {
    pub(crate) const NONE: Pointers = Pointers { id: None, kind: None, time: None, mode: None };
}

/// When a provider tries again after an attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetrySchedule {
    /// The wait before each further attempt, counted from the failure of the one before.
    pub waits: &'static [Duration],
    /// What the documentation says, and where a guess begins.
    pub remark: &'static str,
}

/// A header that a provider sends and nothing signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnsignedHeader {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub value: UnsignedValue,
}

/// What an unsigned header holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnsignedValue {
    /// The kind, as in the body.
    Kind,
    /// An id of the attempt.
    AttemptId,
}

/// Makes a key of an event's fields; `None` where it cannot.
pub type NaturalKey = fn(&Envelope, &Bytes) -> Option<String>;

impl ProviderFacts {
    /// Whether an endpoint of it can have this option.
    #[must_use]
    pub fn takes(&self, option: OptionName) -> bool {
        option == OptionName::Secrets
            || self.required_options.contains(&option)
            || self.optional_options.contains(&option)
    }

    /// The documented kind of this name.
    #[must_use]
    pub fn kind(&self, name: &str) -> Option<&'static KindFacts> {
        self.kinds.iter().find(|kind| kind.name == name || kind.aliases.contains(&name))
    }

    /// The scheme of an endpoint with these options. It does not depend on the secrets, which may be absent.
    ///
    /// # Errors
    /// An option that is missing, or that the provider cannot use.
    pub fn scheme(&self, options: &ProviderOptions) -> Result<SchemeConfig, OptionError> {
        let mut options = options.clone();
        if options.secrets.is_none() && options.test_secrets.is_none() {
            options.secrets = Secret::new("stands in for a secret").ok().map(Secrets::new);
        }
        let scheme = self.provider(&options)?.scheme(sealed::Seal);
        // Every mistake that a provider finds in its scheme is one of the options'.
        scheme.map(|scheme| scheme.config).map_err(|error| OptionError::new(OptionName::Scheme, error.to_string()))
    }

    /// Decodes the event of a delivery of its own.
    #[must_use]
    pub fn decode(&self, delivery: &Delivery) -> AnyEvent {
        (self.from_delivery)(delivery)
    }

    /// Decodes a body, such as one that was stored. See [`Event::from_body`](crate::Event::from_body).
    #[must_use]
    pub fn decode_body(&self, kind: Option<&str>, body: &Bytes) -> AnyEvent {
        (self.from_body)(kind, body)
    }

    pub(crate) fn provider(&self, options: &ProviderOptions) -> Result<Box<dyn Provider>, OptionError> {
        let given: Vec<OptionName> = options.given().collect();
        if let Some(foreign) = given.iter().find(|option| !self.takes(**option)) {
            return Err(OptionError::new(*foreign, format!("is no option of {}", self.name)));
        }
        if let Some(missing) = self.required_options.iter().find(|option| !given.contains(option)) {
            return Err(OptionError::new(*missing, format!("is needed for {}", self.name)));
        }
        if options.scheme == Some(SchemeChoice::SharedSecret)
            && let Some(of_mac) = given.iter().find(|name| matches!(name, OptionName::Prefix | OptionName::Encoding))
        {
            return Err(OptionError::new(*of_mac, "is for HMAC-SHA256; a shared secret has none"));
        }
        if let Some(kind) = &options.pin_kind
            && self.kind(kind).is_none()
        {
            let shown: String = kind.chars().take(64).collect();
            let known: Vec<_> = self.kinds.iter().map(|kind| kind.name).collect();
            return Err(OptionError::new(OptionName::PinKind, format!("{shown:?} is none of {}", known.join(", "))));
        }
        (self.build)(options)
    }
}

impl From<OptionError> for ConfigError {
    fn from(error: OptionError) -> Self {
        ConfigError::new(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PROVIDERS, SecretMode, provider};
    use super::*;
    use crate::{Encoding, MemoryStore, Receiver};

    fn options() -> ProviderOptions {
        // Of a form that every scheme can read.
        ProviderOptions::new(Secret::new("whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz").unwrap())
    }

    /// Options with which the provider is complete.
    fn sufficient(facts: &ProviderFacts) -> ProviderOptions {
        let mut options = options();
        options.scheme = facts.takes(OptionName::Scheme).then_some(SchemeChoice::HmacSha256);
        options.header = facts.takes(OptionName::Scheme).then(|| "x-signature".to_owned());
        options
    }

    fn problem(name: &str, change: impl FnOnce(&mut ProviderOptions)) -> String {
        let facts = provider(name).unwrap();
        let mut options = sufficient(facts);
        change(&mut options);
        Receiver::configured("in", facts, &options).map(drop).unwrap_err().to_string()
    }

    #[test]
    fn each_provider_is_built_from_its_options_and_is_what_its_facts_say() {
        for facts in PROVIDERS {
            let built = facts.provider(&sufficient(facts)).unwrap();
            assert_eq!(built.name(), facts.name);
            assert_eq!(format!("{:?}", built.policy()), format!("{:?}", facts.policy), "{}", facts.name);
            let builder = Receiver::configured("in", facts, &sufficient(facts)).unwrap();
            assert!(builder.store(MemoryStore::new(1)).build().is_ok(), "{}", facts.name);
        }
        assert!(PROVIDERS.is_sorted_by_key(|facts| facts.name));
    }

    #[test]
    fn an_option_that_is_missing_foreign_or_unusable_is_named() {
        assert_eq!(problem("healthsync", |options| options.secrets = None), "`secrets` is needed");
        assert_eq!(problem("azodha", |options| options.header = None), "`header` is needed for azodha");
        assert_eq!(
            problem("fasten", |options| options.header = Some(String::new())),
            "`header` is no option of fasten"
        );
        assert_eq!(
            problem("cair", |options| {
                options.scheme = Some(SchemeChoice::SharedSecret);
                options.encoding = Some(Encoding::Hex);
            }),
            "`encoding` is for HMAC-SHA256; a shared secret has none"
        );
        let kinds = "AppointmentToCareTaskActivityLog, ";
        let unknown = problem("azodha", |options| options.pin_kind = Some("Appointment".to_owned()));
        assert!(unknown.starts_with(&format!("`pin_kind` \"Appointment\" is none of {kinds}")), "{unknown}");
        let secrets = options().secrets;
        assert_eq!(
            problem("fasten", |options| {
                options.mode = Some(SecretMode::Any);
                options.test_secrets = secrets.clone();
            }),
            "`test_secrets` goes with the mode live alone"
        );
        assert_eq!(
            problem("mediquo", |options| options.also_secrets = secrets),
            "`also_header` is needed for `also_secrets`"
        );
        assert_eq!(
            problem("mediquo", |options| options.also_header = Some("x-second".to_owned())),
            "`also_secrets` is needed"
        );
    }

    #[test]
    fn what_the_facts_say_agrees() {
        for facts in PROVIDERS {
            let names: Vec<_> = facts.kinds.iter().flat_map(|kind| [&[kind.name], kind.aliases].concat()).collect();
            let once: std::collections::BTreeSet<_> = names.iter().collect();
            assert!(!names.is_empty() && once.len() == names.len(), "{}: {names:?}", facts.name);
            let retries = facts.retries.map_or(Duration::ZERO, |schedule| schedule.waits.iter().sum());
            assert!(retries <= facts.policy.retry_horizon, "{}: {retries:?}", facts.name);
            assert!(facts.policy.retry_horizon <= facts.policy.retention, "{}", facts.name);
        }
    }

    #[cfg(feature = "testing")]
    #[test]
    fn pointers_lead_to_what_the_envelope_holds() {
        use crate::provider::pointed_at;

        for facts in PROVIDERS {
            let bodies = || facts.test_data.fixtures.iter().map(|(_, bytes)| Bytes::from_static(bytes));
            let Pointers { id, kind, time, mode } = facts.pointers;
            for pointer in [id, kind, time, mode].into_iter().flatten() {
                let found = bodies().filter(|body| pointed_at(body, pointer).is_some()).count();
                assert!(found > 0, "{}: {pointer}", facts.name);
            }
        }
    }
}

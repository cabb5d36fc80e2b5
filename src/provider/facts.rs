//! The facts about a provider, as data. Each provider's folder declares them once, and all other code reads them here.

use std::time::Duration;

use bytes::Bytes;

use super::definition::{Policy, Provider, sealed};
use super::equal_bytes::EqualBytes;
use super::options::{OptionError, OptionName, ProviderOptions, SchemeChoice};
use crate::any_event::AnyEvent;
use crate::delivery::{Delivery, WrongProvider};
use crate::envelope::Envelope;
use crate::error::ConfigError;
use crate::scheme::SchemeConfig;
use crate::secret::{Secret, Secrets};

/// The facts about a provider. The documentation of its module names the source of each fact.
#[derive(Debug)]
#[non_exhaustive]
pub struct ProviderFacts {
    /// The name in configurations, keys, logs and metrics.
    pub name: &'static str,
    /// The display name.
    pub title: &'static str,
    /// The documented kinds.
    pub kinds: &'static [KindFacts],
    /// The default policy of its receivers. Options may change it.
    pub policy: Policy,
    /// The options that an endpoint requires, besides its secrets.
    pub required_options: &'static [OptionName],
    /// The options that an endpoint may have.
    pub optional_options: &'static [OptionName],
    /// The places of the envelope's parts in a body.
    pub pointers: Pointers,
    /// The provider's response timeout; `None` if undocumented.
    pub answer_timeout: Option<Duration>,
    /// The kinds whose sender may expect a result in the answer, because the documentation does not say where it
    /// expects it. An answer that is sent before the handler runs contains none.
    pub may_expect_result: &'static [&'static str],
    /// The kinds whose event can be used for a limited time after it was sent, and this time.
    pub useful_for: &'static [(&'static str, Duration)],
    /// The retry schedule; `None` if undocumented.
    pub retries: Option<RetrySchedule>,
    /// Headers that the provider sends besides those of its scheme. They are unsigned, and receivers ignore them.
    pub unsigned_headers: &'static [UnsignedHeader],
    /// The prefix of event ids.
    pub id_prefix: &'static str,
    /// A key for [`Dedupe::by`](crate::Dedupe::by) that identifies events by their fields, if the provider has one.
    pub natural_key: Option<NaturalKey>,
    pub(crate) build: fn(&ProviderOptions) -> Result<Box<dyn Provider>, OptionError>,
    pub(crate) from_delivery: fn(&Delivery) -> Result<AnyEvent, WrongProvider>,
    pub(crate) from_body: fn(Option<&str>, &Bytes) -> AnyEvent,
    #[cfg(feature = "testing")]
    pub(crate) test_data: super::test_data::TestData,
}

/// A documented kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct KindFacts {
    /// The name on the wire.
    pub name: &'static str,
    /// Other names of the same kind.
    pub aliases: &'static [&'static str],
    /// The variant of the provider's `Event` and `Kind`.
    pub variant: &'static str,
    /// Whether deliveries with equal bytes, and without an id, are of the same event.
    pub equal_bytes: EqualBytes,
}

/// The places of the envelope's parts in a body, as JSON pointers. `None` if the bodies lack the part, or if its place
/// depends on the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Pointers {
    /// The event's id.
    pub id: Option<&'static str>,
    /// The kind.
    pub kind: Option<&'static str>,
    /// The time at which the event happened or was sent.
    pub time: Option<&'static str>,
    /// The mode: test or live.
    pub mode: Option<&'static str>,
}

impl Pointers {
    pub(crate) const NONE: Pointers = Pointers { id: None, kind: None, time: None, mode: None };
}

/// The times at which a provider retries a failed delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetrySchedule {
    /// The wait before each retry, counted from the failure of the previous attempt.
    pub waits: &'static [Duration],
    /// A summary of the documentation that names every guess.
    pub remark: &'static str,
}

/// A header that a provider sends unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnsignedHeader {
    /// The name of the header.
    pub name: &'static str,
    /// The meaning of its value.
    pub value: UnsignedValue,
}

/// The meaning of an unsigned header's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnsignedValue {
    /// The kind, as in the body.
    Kind,
    /// The id of the attempt.
    AttemptId,
}

/// A function that computes a key from an event's fields, or returns `None` if it cannot.
pub type NaturalKey = fn(&Envelope, &Bytes) -> Option<String>;

impl ProviderFacts {
    /// Returns whether an endpoint of this provider may have this option.
    #[must_use]
    pub fn takes(&self, option: OptionName) -> bool {
        option == OptionName::Secrets
            || self.required_options.contains(&option)
            || self.optional_options.contains(&option)
    }

    /// Returns the documented kind with this name or alias.
    #[must_use]
    pub fn kind(&self, name: &str) -> Option<&'static KindFacts> {
        self.kinds.iter().find(|kind| kind.name == name || kind.aliases.contains(&name))
    }

    /// Returns whether deliveries of a kind that have equal bytes, and no id, are of the same event. Events of an
    /// undocumented kind, or of none, may recur.
    #[must_use]
    pub fn equal_bytes(&self, kind: Option<&str>) -> EqualBytes {
        let kind = kind.and_then(|name| self.kind(name));
        kind.map_or(EqualBytes::MayRecur("nothing is known about undocumented kinds"), |kind| kind.equal_bytes)
    }

    /// Returns the scheme of an endpoint with these options. It does not depend on the secrets, which may be absent.
    ///
    /// # Errors
    /// Returns an error if a required option is missing, or if the provider does not accept an option.
    pub fn scheme(&self, options: &ProviderOptions) -> Result<SchemeConfig, OptionError> {
        let mut options = options.clone();
        if options.secrets.is_none() && options.test_secrets.is_none() {
            options.secrets = Secret::new("placeholder").ok().map(Secrets::new);
        }
        let scheme = self.provider(&options)?.scheme(sealed::Seal);
        // Every error that a provider reports for its scheme comes from an option.
        scheme.map(|scheme| scheme.config).map_err(|error| OptionError::new(OptionName::Scheme, error.to_string()))
    }

    /// Decodes the event of a delivery. Deviations from the documentation are logged and counted, as by
    /// [`Delivery::decode`].
    ///
    /// # Errors
    /// Returns an error if the delivery is from another provider.
    pub fn decode(&self, delivery: &Delivery) -> Result<AnyEvent, WrongProvider> {
        (self.from_delivery)(delivery)
    }

    /// Decodes the event of a body, for example of a stored one. See [`Event::from_body`](crate::Event::from_body).
    #[must_use]
    pub fn decode_body(&self, kind: Option<&str>, body: &Bytes) -> AnyEvent {
        (self.from_body)(kind, body)
    }

    pub(crate) fn provider(&self, options: &ProviderOptions) -> Result<Box<dyn Provider>, OptionError> {
        let given: Vec<OptionName> = options.given().collect();
        if let Some(unsupported) = given.iter().find(|option| !self.takes(**option)) {
            return Err(OptionError::new(*unsupported, format!("is not an option of {}", self.name)));
        }
        if let Some(missing) = self.required_options.iter().find(|option| !given.contains(option)) {
            return Err(OptionError::new(*missing, format!("is required for {}", self.name)));
        }
        if options.scheme == Some(SchemeChoice::SharedSecret)
            && let Some(hmac_only) = given.iter().find(|name| matches!(name, OptionName::Prefix | OptionName::Encoding))
        {
            return Err(OptionError::new(*hmac_only, "only applies to the scheme hmac-sha256"));
        }
        if let Some(kind) = &options.pin_kind
            && self.kind(kind).is_none()
        {
            let shown: String = kind.chars().take(64).collect();
            let known: Vec<_> = self.kinds.iter().map(|kind| kind.name).collect();
            return Err(OptionError::new(OptionName::PinKind, format!("{shown:?} is not one of {}", known.join(", "))));
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
        // Every scheme can decode this secret.
        ProviderOptions::new(Secret::new("whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz").unwrap())
    }

    /// Returns options with everything that the provider requires.
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
    fn each_provider_is_built_from_its_options_and_matches_its_facts() {
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
    fn errors_name_the_missing_unsupported_or_invalid_option() {
        assert_eq!(problem("healthsync", |options| options.secrets = None), "`secrets` is required");
        assert_eq!(problem("azodha", |options| options.header = None), "`header` is required for azodha");
        assert_eq!(
            problem("fasten", |options| options.header = Some(String::new())),
            "`header` is not an option of fasten"
        );
        assert_eq!(
            problem("cair", |options| {
                options.scheme = Some(SchemeChoice::SharedSecret);
                options.encoding = Some(Encoding::Hex);
            }),
            "`encoding` only applies to the scheme hmac-sha256"
        );
        let kinds = "AppointmentToCareTaskActivityLog, ";
        let unknown = problem("azodha", |options| options.pin_kind = Some("Appointment".to_owned()));
        assert!(unknown.starts_with(&format!("`pin_kind` \"Appointment\" is not one of {kinds}")), "{unknown}");
        let secrets = options().secrets;
        assert_eq!(
            problem("fasten", |options| {
                options.mode = Some(SecretMode::Any);
                options.test_secrets = secrets.clone();
            }),
            "`test_secrets` can only be combined with `mode` live"
        );
        assert_eq!(
            problem("mediquo", |options| options.also_secrets = secrets),
            "`also_header` is required with `also_secrets`"
        );
        assert_eq!(
            problem("mediquo", |options| options.also_header = Some("x-second".to_owned())),
            "`also_secrets` is required"
        );
    }

    #[test]
    fn facts_of_each_provider_are_consistent() {
        for facts in PROVIDERS {
            let names: Vec<_> = facts.kinds.iter().flat_map(|kind| [&[kind.name], kind.aliases].concat()).collect();
            let once: std::collections::BTreeSet<_> = names.iter().collect();
            assert!(!names.is_empty() && once.len() == names.len(), "{}: {names:?}", facts.name);
            let retries = facts.retries.map_or(Duration::ZERO, |schedule| schedule.waits.iter().sum());
            assert!(retries <= facts.policy.retry_horizon, "{}: {retries:?}", facts.name);
            assert!(facts.policy.retry_horizon <= facts.policy.retention, "{}", facts.name);
        }
    }

    #[test]
    fn an_explicit_live_mode_needs_live_secrets() {
        let options = |mode| ProviderOptions { mode, test_secrets: options().secrets, ..ProviderOptions::default() };
        let facts = provider("fasten").unwrap();
        assert!(facts.provider(&options(None)).is_ok());
        let error = facts.provider(&options(Some(SecretMode::Live))).unwrap_err();
        assert_eq!(error.to_string(), "`secrets` is required");
    }

    #[cfg(feature = "testing")]
    #[test]
    fn every_pointer_matches_a_fixture() {
        use crate::pointer::pointed_at;

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

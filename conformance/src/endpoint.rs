//! The endpoints that cases are for: a receiver's settings, and what a sender needs to know.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use medhook::registry::{self, ProviderFacts, ProviderOptions, SchemeChoice, SecretMode};
use medhook::testing::{Signing, marked, replaced_at};
use medhook::{Builder, Custom, Encoding, Freshness, Receiver, SchemeConfig, Secret, Secrets};
use serde::Deserialize;

use crate::body::dated;
use crate::custom::CustomProvider;
use crate::error::EndpointError;

/// The settings of a case's receiver, with the secrets that its sender needs.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Endpoint {
    /// The provider's name. In the list, it is the name of the file's folder.
    #[serde(skip)]
    pub provider: String,
    /// Its secrets, by label. The first in the order of labels signs, unless a case says otherwise. Those of Ed25519
    /// are private keys, `whsk_` and base64; the receiver has the public keys.
    pub secrets: BTreeMap<String, String>,
    /// Secrets of the test mode, beside those of the live mode or alone, where the provider has modes.
    #[serde(default)]
    pub test_secrets: BTreeMap<String, String>,
    /// The scheme of deliveries, where the provider agrees on it with each endpoint.
    #[serde(default)]
    pub scheme: Option<SchemeChoice>,
    /// The header with the signature or the shared secret, where it can be chosen.
    #[serde(default)]
    pub header: Option<String>,
    /// Text before an HMAC.
    #[serde(default)]
    pub prefix: Option<String>,
    /// The encoding of an HMAC. By default hex or base64.
    #[serde(default)]
    pub encoding: Option<Encoding>,
    /// The kind that is pinned.
    #[serde(default)]
    pub pin_kind: Option<String>,
    /// A second header that must hold one of `also_secrets`, of which the first is sent.
    #[serde(default)]
    pub also_header: Option<String>,
    /// The second header's secrets, by label.
    #[serde(default)]
    pub also_secrets: BTreeMap<String, String>,
    /// The maximum age and clock skew of an event, in seconds, if they differ from the provider's.
    #[serde(default)]
    pub event_age: Option<(u64, u64)>,
    /// The longest body, in bytes.
    #[serde(default)]
    pub body_limit: Option<usize>,
    /// The time limit for a body, in milliseconds.
    #[serde(default)]
    pub body_timeout_ms: Option<u64>,
    /// The accepted age, if it differs from the provider's.
    #[serde(skip)]
    pub freshness: Option<Freshness>,
    /// The mode of `secrets`, if it is not the provider's default.
    #[serde(skip)]
    pub mode: Option<SecretMode>,
    /// The provider, if the registry does not know it.
    #[serde(skip)]
    pub custom: Option<CustomProvider>,
}

impl Endpoint {
    /// Creates an endpoint of this provider with its default settings and without secrets.
    #[must_use]
    pub fn new(provider: &str) -> Self {
        Endpoint {
            provider: provider.to_owned(),
            secrets: BTreeMap::new(),
            test_secrets: BTreeMap::new(),
            scheme: None,
            header: None,
            prefix: None,
            encoding: None,
            pin_kind: None,
            also_header: None,
            also_secrets: BTreeMap::new(),
            event_age: None,
            body_limit: None,
            body_timeout_ms: None,
            freshness: None,
            mode: None,
            custom: None,
        }
    }

    /// Creates an endpoint of a custom provider, without secrets.
    #[must_use]
    pub fn custom(provider: &str, custom: CustomProvider) -> Self {
        Endpoint { custom: Some(custom), ..Endpoint::new(provider) }
    }

    /// Returns the builder of the endpoint's receiver, without a store and a clock.
    ///
    /// # Errors
    /// Returns an error if the provider is unknown, or if a secret or an option is missing or cannot be used.
    pub fn builder(&self, name: &str) -> Result<Builder, EndpointError> {
        let mut builder = match &self.custom {
            Some(custom) => Receiver::builder(name, self.custom_provider(custom)?),
            None => Receiver::configured(name, self.facts()?, &self.options()?)?,
        };
        if let Some(freshness) = self.own_freshness() {
            builder = builder.freshness(freshness);
        }
        if let Some(bytes) = self.body_limit {
            builder = builder.body_limit(bytes);
        }
        if let Some(millis) = self.body_timeout_ms {
            builder = builder.body_timeout(Duration::from_millis(millis));
        }
        Ok(builder)
    }

    /// Returns the scheme that signs deliveries to the endpoint.
    ///
    /// # Errors
    /// Returns an error if the provider is unknown, or if an option is missing or cannot be used.
    pub fn signing(&self) -> Result<Signing, EndpointError> {
        match &self.custom {
            Some(custom) => Ok(custom.signing.clone()),
            None => Ok(Signing::from(&self.facts()?.scheme(&self.options()?)?)),
        }
    }

    /// Returns the facts about the endpoint's provider.
    ///
    /// # Errors
    /// Returns an error if the provider is unknown, or a custom one.
    pub fn facts(&self) -> Result<&'static ProviderFacts, EndpointError> {
        let unknown = || EndpointError(format!("no provider {:?} is known to the list", self.provider));
        self.known().ok_or_else(unknown)
    }

    /// Returns the facts about its provider, unless it is a custom one.
    #[must_use]
    pub fn known(&self) -> Option<&'static ProviderFacts> {
        if self.custom.is_some() { None } else { registry::provider(&self.provider) }
    }

    /// Returns the accepted age of its deliveries.
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        let default = || match (&self.custom, self.known()) {
            (Some(custom), _) => custom.signing.freshness().unwrap_or(Freshness::Unchecked),
            (_, Some(facts)) => facts.policy.freshness,
            _ => Freshness::Unchecked,
        };
        self.own_freshness().unwrap_or_else(default)
    }

    /// Returns the JSON pointer to the event's id.
    #[must_use]
    pub fn id_pointer(&self) -> Option<&str> {
        match &self.custom {
            Some(custom) => custom.id_pointer.as_deref(),
            None => self.known()?.pointers.id,
        }
    }

    /// Returns the JSON pointer to the time of the event.
    #[must_use]
    pub fn time_pointer(&self) -> Option<&str> {
        match &self.custom {
            Some(custom) => custom.time_pointer.as_deref(),
            None => self.known()?.pointers.time,
        }
    }

    fn own_freshness(&self) -> Option<Freshness> {
        let (max_age, max_skew) = self.event_age.unwrap_or_default();
        let (max_age, max_skew) = (Duration::from_secs(max_age), Duration::from_secs(max_skew));
        self.freshness.or(self.event_age.map(|_| Freshness::EventTime { max_age, max_skew }))
    }

    fn custom_provider(&self, custom: &CustomProvider) -> Result<Custom, EndpointError> {
        let received = self.secrets.iter().map(|(label, text)| (label.clone(), custom.signing.receiver_secret(text)));
        let secrets = secrets(&received.collect())?.ok_or_else(|| EndpointError("it has no secrets".to_owned()))?;
        let mut provider = Custom::new(&self.provider, SchemeConfig::from(&custom.signing), secrets);
        if let Some(pointer) = &custom.id_pointer {
            provider = provider.id_pointer(pointer);
        }
        if let Some(pointer) = &custom.kind_pointer {
            provider = provider.kind_pointer(pointer);
        }
        if let Some(pointer) = &custom.time_pointer {
            provider = provider.time_pointer(pointer);
        }
        Ok(provider.known_kinds(custom.known_kinds.iter().copied()))
    }

    fn options(&self) -> Result<ProviderOptions, EndpointError> {
        let mut options = ProviderOptions::default();
        options.secrets = secrets(&self.secrets)?;
        options.test_secrets = secrets(&self.test_secrets)?;
        options.scheme = self.scheme;
        options.header.clone_from(&self.header);
        options.prefix.clone_from(&self.prefix);
        options.encoding = self.encoding;
        options.mode = self.mode;
        options.pin_kind.clone_from(&self.pin_kind);
        options.also_header.clone_from(&self.also_header);
        options.also_secrets = secrets(&self.also_secrets)?;
        Ok(options)
    }

    /// Returns a body of the endpoint's provider, changed to that of another event: its time, if it has one, becomes
    /// this Unix time in seconds, and it is [`marked`].
    #[must_use]
    pub fn renewed(&self, body: &Bytes, mark: &str, unix: i64) -> Bytes {
        let body = self.time_pointer().map_or_else(|| body.clone(), |pointer| dated(body, pointer, unix));
        self.marked(&body, mark)
    }

    /// Returns a body of the endpoint's provider with this mark as its id, or with other whitespace if it has no id.
    pub(crate) fn marked(&self, body: &Bytes, mark: &str) -> Bytes {
        let id = |pointer: &str| replaced_at(body, pointer, |_| serde_json::Value::from(mark).to_string().into_bytes());
        let own = self.custom.as_ref().and_then(|custom| custom.id_pointer.as_deref()).and_then(id);
        own.unwrap_or_else(|| marked(if self.custom.is_some() { "" } else { &self.provider }, body, mark))
    }

    /// Returns the second header, with its first secret.
    #[must_use]
    pub fn also(&self) -> Option<(String, String)> {
        let (_, secret) = self.also_secrets.iter().next()?;
        Some((self.also_header.clone()?, secret.clone()))
    }

    pub(crate) fn secret(&self, label: Option<&str>) -> Option<&str> {
        let mut all = self.secrets.iter().chain(&self.test_secrets);
        match label {
            Some(label) => all.find(|(known, _)| *known == label),
            None => all.next(),
        }
        .map(|(_, secret)| secret.as_str())
    }
}

/// Writes the provider only, not the secrets.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("provider", &self.provider).finish_non_exhaustive()
    }
}

fn secrets(list: &BTreeMap<String, String>) -> Result<Option<Secrets>, EndpointError> {
    let mut list =
        list.iter().map(|(label, secret)| Secret::new(secret.as_str()).and_then(|secret| secret.labeled(label)));
    let Some(first) = list.next().transpose()? else {
        return Ok(None);
    };
    Ok(Some(list.try_fold(Secrets::new(first), |secrets, secret| secrets.also(secret?))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_that_is_not_sound_is_one_clear_line() {
        let problem = |provider: &str, rest: &str| {
            let mut endpoint: Endpoint =
                toml::from_str(&format!("secrets = {{ current = \"text\" }}\n{rest}")).unwrap();
            provider.clone_into(&mut endpoint.provider);
            endpoint.builder("name").unwrap_err().to_string()
        };
        assert_eq!(problem("unlisted", ""), "no provider \"unlisted\" is known to the list");
        assert_eq!(problem("azodha", ""), "`scheme` is required for azodha");
        assert_eq!(problem("azodha", "scheme = \"hmac-sha256\""), "`header` is required for azodha");
    }
}

//! Replaces the secrets of a receiver while it runs.

use std::sync::{Arc, PoisonError};

use super::Receiver;
use super::builder::secret_warnings;
use super::current::Current;
use crate::error::ConfigError;
use crate::generation::Generation;
use crate::handshake::{KeyedHandshakes, token_warnings};
use crate::observe;
use crate::provider::{Provider, ProviderFacts, ProviderOptions, sealed};

impl Receiver {
    /// Replaces the secrets while the receiver runs, for a rotation without a restart. `provider` is the provider of
    /// the receiver with its new secrets, built as for [`builder`](Receiver::builder).
    ///
    /// All clones of the receiver, and so its layers and workers, use the new secrets from now on. A delivery whose
    /// body is still arriving is verified with the secrets that were current when it began, and then handled as any
    /// other. Permits, drain, deduplication, the watch for silence and the inbox are not affected. Events in the inbox
    /// were verified before they were stored, and are not verified again.
    ///
    /// The replaced secrets are not accepted any more. List the old and the new one together
    /// ([`Secrets::also`](crate::Secrets::also)) until the provider signs with the new one. The
    /// [guide](crate::guide::rotation) has the steps.
    ///
    /// Returns the warnings about the new secrets, such as one that is too short. They are logged, too. The new labels
    /// are logged at `INFO`, under the target `medhook::secrets` (feature `tracing`), and
    /// `medhook_secrets_replaced_total` is counted (feature `metrics`).
    ///
    /// ```
    /// # use medhook::{HealthSync, NoDedupe, Secret, testing};
    /// use medhook::{Receiver, Secrets};
    ///
    /// # const OLD: &str = "a-long-random-text-1";
    /// # const NEW: &str = "a-long-random-text-2";
    /// # let accepts = |receiver: &Receiver, secret: &str| {
    /// #     let request = testing::healthsync("document.uploaded").secret(secret);
    /// #     let request = request.request("/");
    /// #     receiver.verify(request.headers(), request.body().clone()).is_ok()
    /// # };
    /// let old = Secret::new(OLD)?.labeled("2025")?;
    /// let new = Secret::new(NEW)?.labeled("2026")?;
    /// let receiver = Receiver::builder("healthsync", HealthSync::new(old.clone()));
    /// let receiver = receiver.store(NoDedupe).build()?;
    /// let in_a_layer = receiver.clone();
    ///
    /// // Before the new secret is set at the provider:
    /// receiver.replace_secrets(HealthSync::new(Secrets::new(new.clone()).also(old)?))?;
    /// assert!(accepts(&in_a_layer, OLD) && accepts(&in_a_layer, NEW));
    /// // Once the provider signs with it:
    /// receiver.replace_secrets(HealthSync::new(new))?;
    /// assert!(!accepts(&in_a_layer, OLD) && accepts(&in_a_layer, NEW));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error, and keeps the current secrets, if the scheme cannot use a new one, or if anything but secrets
    /// differs from the receiver's provider: its name, its scheme, a header, a pointer or a pinned kind. The mode of a
    /// secret is replaced with it.
    pub fn replace_secrets(&self, provider: impl Provider) -> Result<Vec<String>, ConfigError> {
        self.replace(Arc::new(provider)).map_err(|error| self.within(error))
    }

    /// Replaces the secrets as [`replace_secrets`](Receiver::replace_secrets) does, for a provider that a configuration
    /// names. `options` are those of [`configured`](Receiver::configured), with the new secrets.
    ///
    /// # Errors
    /// Returns the errors of [`configured`](Receiver::configured) and [`replace_secrets`](Receiver::replace_secrets).
    pub fn replace_configured_secrets(
        &self,
        facts: &ProviderFacts,
        options: &ProviderOptions,
    ) -> Result<Vec<String>, ConfigError> {
        let provider = facts.provider(options).map_err(ConfigError::from);
        provider.and_then(|provider| self.replace(provider.into())).map_err(|error| self.within(error))
    }

    fn within(&self, error: ConfigError) -> ConfigError {
        error.within(format_args!("receiver {}", self.name()))
    }

    fn replace(&self, provider: Arc<dyn Provider>) -> Result<Vec<String>, ConfigError> {
        check_same(&*self.current().provider, &*provider)?;
        let sealed::SchemeWithSecrets { config, secrets } = provider.scheme(sealed::Seal)?;
        let handshakes = provider.handshakes(sealed::Seal);
        let (config, scheme, keyed) = KeyedHandshakes::keyed(handshakes, config, &secrets)?;
        let mut warnings = secret_warnings(self.name(), &config, &secrets, &scheme);
        warnings.extend(token_warnings(self.name(), handshakes));
        let endpoint = self.0.endpoint.clone();
        let mut current = self.0.current.write().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that a concurrent replacement continues these records of use.
        let mode = |secret| provider.mode_of_secret(secret);
        let generation = Arc::new(Generation::new(endpoint, scheme, keyed, mode, Some(&current.generation)));
        let new = Current { provider, generation: generation.clone() };
        let old = std::mem::replace(&mut *current, new);
        // The old secrets are dropped after the lock is released.
        drop(current);
        drop(old);
        observe::secrets_replaced(&generation);
        observe::warnings(&warnings);
        Ok(warnings)
    }
}

/// Checks that two providers differ in nothing but their secrets.
fn check_same(current: &dyn Provider, new: &dyn Provider) -> Result<(), ConfigError> {
    if current.name() != new.name() {
        return Err(ConfigError::new(format!(
            "cannot replace the secrets of provider {} with those of provider {}",
            current.name(),
            new.name()
        )));
    }
    let (current_scheme, new_scheme) = (current.scheme(sealed::Seal)?, new.scheme(sealed::Seal)?);
    let differs = if !current_scheme.config.is_same_but_for_secrets(&new_scheme.config) {
        "the scheme or its headers differ"
    } else if current.policy() != new.policy() || current.settings(sealed::Seal) != new.settings(sealed::Seal) {
        "an option of the provider differs"
    } else {
        return Ok(());
    };
    Err(ConfigError::new(format!("only secrets can be replaced, but {differs}; build a new receiver")))
}

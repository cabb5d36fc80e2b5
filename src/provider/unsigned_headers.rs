//! Options of [`Custom`] that read an id or a kind from a header that the provider does not sign.

use super::cloud_events::CloudEvents;
use super::custom::Custom;

impl Custom {
    /// Sets the header that contains the event's id, for a provider that signs no id.
    ///
    /// The header is not signed, so an attacker who captured a delivery can repeat it with any other id. The id never
    /// decides alone: the [event key](crate::Delivery::event_key) is computed from it and all bytes of the body. Two
    /// events with equal bytes and different ids are therefore two events, and a repeated delivery cannot make an event
    /// with other bytes look handled. If the ids can be guessed, it can make a later event with the same bytes look
    /// handled. A captured delivery with another id is handled again, as without an id, but not without limit: all ids
    /// of one body together are handled [`max_repeats`](crate::Builder::max_repeats) + 1 times in 24 hours, genuine
    /// ones included, and [`possible_duplicate`](crate::Delivery::possible_duplicate) returns the earlier deliveries of
    /// the bytes. Retries of one event are duplicates and do not count. If the provider sends many events with equal
    /// bytes, set `max_repeats` to the most that it sends in a day.
    ///
    /// A header that is missing, occurs more than once, is longer than 256 bytes or not visible ASCII is no id. The
    /// delivery is then handled as one without an id, and counted and logged as a pointer that found nothing. An id
    /// that [`id_pointer`](Custom::id_pointer) finds, or that the scheme signs, is used instead of the header.
    /// [`Delivery::unsigned_id`](crate::Delivery::unsigned_id) returns the id from the header.
    ///
    /// Terra sends `x-terra-trace-id`, which is the same for all attempts
    /// ([tryterra/agent-skills](https://github.com/tryterra/agent-skills), `webhooks-dedupe`, commit 1583d25):
    ///
    /// ```
    /// # use medhook::{Custom, HmacSha256Body, Secret};
    /// # let scheme = HmacSha256Body::new("x-signature");
    /// # let secret = Secret::new("a long random text")?;
    /// let terra = Custom::new("terra", scheme, secret)
    ///     .unsigned_id_header("x-terra-trace-id")
    ///     .kind_pointer("/type");
    /// # Ok::<(), medhook::ConfigError>(())
    /// ```
    #[must_use]
    pub fn unsigned_id_header(mut self, header: impl Into<String>) -> Self {
        self.unsigned.id = Some(header.into());
        self
    }

    /// Sets the header that contains the kind, for a provider whose bodies have none.
    ///
    /// The header is not signed: an attacker who captured a delivery can repeat it with another kind. The kind selects
    /// how a body is decoded, so a body must be safe to decode as any of the kinds. In logs and metrics it is a label
    /// only if it is one of the [known kinds](Custom::known_kinds). A kind that [`kind_pointer`](Custom::kind_pointer)
    /// finds is used instead of the header. A header without a usable value is treated as for
    /// [`unsigned_id_header`](Custom::unsigned_id_header).
    ///
    /// Medplum sends a resource as the body, and in `x-medplum-interaction` whether it was created, updated or deleted
    /// ([medplum/medplum](https://github.com/medplum/medplum), `packages/server/src/workers/subscription.ts`, commit
    /// 006a04b):
    ///
    /// ```
    /// # use medhook::{Custom, HmacSha256Body, Secret};
    /// # let secret = Secret::new("a long random text")?;
    /// let medplum = Custom::new("medplum", HmacSha256Body::new("x-signature"), secret)
    ///     .unsigned_kind_header("x-medplum-interaction")
    ///     .known_kinds(["create", "update", "delete"]);
    /// # Ok::<(), medhook::ConfigError>(())
    /// ```
    #[must_use]
    pub fn unsigned_kind_header(mut self, header: impl Into<String>) -> Self {
        self.unsigned.kind = Some(header.into());
        self
    }

    /// Reads the envelope as [CloudEvents 1.0](https://github.com/cloudevents/spec) define it, in one of its two modes.
    #[must_use]
    pub fn cloud_events(mut self, mode: CloudEvents) -> Self {
        self.unsigned.cloud_events = Some(mode);
        self
    }
}

#[cfg(test)]
mod tests;

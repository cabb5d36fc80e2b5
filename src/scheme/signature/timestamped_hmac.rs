//! HMACs of a timestamp and the body.

use std::time::Duration;

use super::layout::SignatureLayout;
use super::settings::{SignatureAlgorithm, SignatureSettings, TimestampPlace};
use super::timestamp::TimestampUnit;
use crate::{Encoding, Freshness, SecretEncoding};

/// A scheme with the HMAC of a timestamp and the body. The key is the UTF-8 bytes of the secret.
///
/// The timestamp is an element of the signature's header ([`elements`](TimestampedHmac::elements)) or has a header of
/// its own ([`headers`](TimestampedHmac::headers)). The signed message is a [template](TimestampedHmac::signed). The
/// MAC covers the characters of the headers as they were received.
///
/// By default the timestamp is the time of the attempt, and must be within 300 s.
///
/// ```
/// use medhook::{Encoding, TimestampedHmac};
///
/// // Stripe: `Stripe-Signature: t=1492774577,v1=5257a869..,v1=6ffbb59b..`
/// let stripe = TimestampedHmac::elements("stripe-signature", "t", "v1");
/// // Slack: `X-Slack-Signature: v0=a2114d57..`
/// let slack = TimestampedHmac::headers("x-slack-signature", "x-slack-request-timestamp")
///     .prefix("v0=")
///     .signed("v0:{timestamp}:{body}")
///     .encoding(Encoding::Hex);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimestampedHmac(pub(in crate::scheme) SignatureSettings);

impl TimestampedHmac {
    /// Creates the scheme for a header with the timestamp and the signatures as elements that are separated by commas,
    /// such as `t=1732780800,v1=3f4c..`. The header may have several elements with signatures, of which one must be
    /// valid, and other elements, which are ignored; at most 32 in all. If the name of the signatures' element is
    /// empty, every element but the timestamp is a signature.
    pub fn elements(header: impl Into<String>, timestamp: impl Into<String>, signature: impl Into<String>) -> Self {
        let timestamp = timestamp.into();
        let layout = SignatureLayout::Elements { timestamp: Some(timestamp.clone()), signature: signature.into() };
        TimestampedHmac::with(header.into(), layout, TimestampPlace::Element(timestamp))
    }

    /// Creates the scheme for a header with the signature, and another one with the timestamp.
    pub fn headers(signature: impl Into<String>, timestamp: impl Into<String>) -> Self {
        let layout = SignatureLayout::Value { prefix: String::new(), separator: None };
        TimestampedHmac::with(signature.into(), layout, TimestampPlace::Header(timestamp.into()))
    }

    fn with(header: String, layout: SignatureLayout, timestamp: TimestampPlace) -> Self {
        TimestampedHmac(SignatureSettings {
            layout,
            timestamp: Some(timestamp),
            signed: "{timestamp}.{body}".to_owned(),
            ..SignatureSettings::of_body(SignatureAlgorithm::HmacSha256, header)
        })
    }

    /// Creates the scheme of [Terra](https://docs.tryterra.co): `terra-signature: t=..,v1=..`, in hex, over
    /// `{timestamp}.{body}`, within 300 s, as in Terra's own libraries.
    #[must_use]
    pub fn terra() -> Self {
        TimestampedHmac::elements("terra-signature", "t", "v1").encoding(Encoding::Hex)
    }

    /// Creates the scheme of [WHOOP](https://developer.whoop.com/docs/developing/webhooks): `X-WHOOP-Signature` in
    /// base64 over the milliseconds of `X-WHOOP-Signature-Timestamp` and the body, without a separator. The secret is
    /// the client secret of the app.
    ///
    /// WHOOP retries for about an hour, and does not document whether a retry has a new timestamp, so times of up to
    /// two hours ago are accepted, as [times of the event](TimestampedHmac::timestamp_of_event).
    #[must_use]
    pub fn whoop() -> Self {
        let scheme = TimestampedHmac::headers("x-whoop-signature", "x-whoop-signature-timestamp");
        let scheme = scheme.timestamp_unit(TimestampUnit::Milliseconds).signed("{timestamp}{body}");
        scheme.encoding(Encoding::Base64).of_unknown_attempt()
    }

    /// Creates the scheme of [Oura](https://cloud.ouraring.com/v2/docs): `x-oura-signature` in hex over the seconds of
    /// `x-oura-timestamp` and the body, without a separator. The secret is the client secret of the app.
    ///
    /// Oura retries for about an hour, and does not document whether a retry has a new timestamp, so times of up to two
    /// hours ago are accepted, as [times of the event](TimestampedHmac::timestamp_of_event).
    #[must_use]
    pub fn oura() -> Self {
        let scheme = TimestampedHmac::headers("x-oura-signature", "x-oura-timestamp").signed("{timestamp}{body}");
        scheme.encoding(Encoding::Hex).of_unknown_attempt()
    }

    fn of_unknown_attempt(mut self) -> Self {
        let (max_age, max_skew) = (Duration::from_secs(2 * 3600), Duration::from_secs(300));
        self.0.freshness = Some(Freshness::EventTime { max_age, max_skew });
        self.timestamp_of_event()
    }

    /// Sets the template of what is signed: literal text, `{timestamp}`, `{body}` or `{body_base64}` (the body in
    /// padded base64), and `{id}` with [`id_header`](TimestampedHmac::id_header). The default is `{timestamp}.{body}`.
    ///
    /// Without a character between the timestamp and the body, the same signature would be valid for a delivery whose
    /// timestamp ends earlier or later. Two guards prevent that: the timestamp must have exactly 10 digits (13 of
    /// milliseconds, or the fixed form of RFC 3339), and the body must begin with `{` or `[`. A body that does not is
    /// rejected as [`Reason::AmbiguousBody`](crate::Reason::AmbiguousBody).
    #[must_use]
    pub fn signed(mut self, template: impl Into<String>) -> Self {
        self.0.signed = template.into();
        self
    }

    /// Sets the text that must precede each signature exactly, if the timestamp has a header of its own. The default is
    /// none. With [`elements`](TimestampedHmac::elements), building the receiver is an error.
    #[must_use]
    pub fn prefix(mut self, text: impl Into<String>) -> Self {
        if let SignatureLayout::Value { prefix, .. } = &mut self.0.layout {
            *prefix = text.into();
        } else {
            self.0.not_of_elements = Some("prefix");
        }
        self
    }

    /// Accepts several signatures, separated by this character, if the timestamp has a header of its own. Each has the
    /// prefix, and one of them must be valid. At most 32 are accepted. With [`elements`](TimestampedHmac::elements),
    /// building the receiver is an error: they are separated by commas, no other separator is supported.
    #[must_use]
    pub fn separator(mut self, character: char) -> Self {
        if let SignatureLayout::Value { separator, .. } = &mut self.0.layout {
            *separator = Some(character);
        } else {
            self.0.not_of_elements = Some("separator");
        }
        self
    }

    /// Sets the encoding of a signature. The default is [`Encoding::Either`].
    #[must_use]
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.0.encoding = encoding;
        self
    }

    /// Sets the encoding of the key in the secret. The default is [`SecretEncoding::Text`].
    #[must_use]
    pub fn secret_encoding(mut self, encoding: SecretEncoding) -> Self {
        self.0.secret_encoding = encoding;
        self
    }

    /// Sets the form of the timestamp. The default is [`TimestampUnit::Seconds`].
    #[must_use]
    pub fn timestamp_unit(mut self, unit: TimestampUnit) -> Self {
        self.0.unit = unit;
        self
    }

    /// Uses HMAC-SHA512 instead of HMAC-SHA256.
    #[must_use]
    pub fn sha512(mut self) -> Self {
        self.0.algorithm = SignatureAlgorithm::HmacSha512;
        self
    }

    /// Reads the id of the event from this header, which the template must sign as `{id}`. The id must not contain the
    /// character that follows it in the template.
    #[must_use]
    pub fn id_header(mut self, header: impl Into<String>) -> Self {
        self.0.id_header = Some(header.into());
        self
    }

    /// Declares that the timestamp is the time of the event, which is the same for all attempts, not the time of the
    /// attempt. It is checked by [`Freshness::EventTime`], which must then be set, with a `max_age` that covers the
    /// provider's last retry.
    #[must_use]
    pub fn timestamp_of_event(mut self) -> Self {
        self.0.is_event_time = true;
        self
    }
}

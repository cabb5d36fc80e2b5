//! The options of an endpoint, as the config file names them, and the scheme that they mean.

use std::time::Duration;

use medhook::{
    Ed25519Body, Encoding, Freshness, HmacSha256Body, HmacSha512Body, SchemeConfig, SecretEncoding, SharedSecret,
    StandardWebhooks, TimestampUnit, TimestampedHmac,
};
use serde::Deserialize;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    pub(crate) scheme: String,
    pub(crate) header: Option<String>,
    header_prefix: Option<String>,
    prefix: Option<String>,
    pub(crate) separator: Option<char>,
    pub(crate) encoding: Option<Encoding>,
    secret_encoding: Option<SecretEncoding>,
    pub(crate) preset: Option<String>,
    timestamp_element: Option<String>,
    signature_element: Option<String>,
    pub(crate) timestamp_header: Option<String>,
    timestamp_unit: Option<TimestampUnit>,
    timestamp_of: Option<String>,
    signed: Option<String>,
    hash: Option<String>,
    pub(crate) id_header: Option<String>,
    form: Option<String>,
    username: Option<String>,
    max_age: Option<String>,
}

/// Calls the method with the value, if there is one.
macro_rules! with {
    ($scheme:expr, $($method:ident: $value:expr),*) => {{
        let mut scheme = $scheme;
        $(if let Some(value) = $value { scheme = scheme.$method(value); })*
        scheme
    }};
}

impl Options {
    pub(crate) fn scheme(&self) -> SchemeConfig {
        let options = self.clone();
        let header = || self.header.clone().expect("a header");
        macro_rules! body {
            ($Scheme:ident) => {
                with!($Scheme::new(header()), prefix: options.prefix, separator: options.separator,
                    encoding: options.encoding, secret_encoding: options.secret_encoding)
                .into()
            };
        }
        match self.scheme.as_str() {
            "standard-webhooks" => {
                let scheme = with!(StandardWebhooks::new(), header_prefix: options.header_prefix,
                    secret_encoding: options.secret_encoding);
                if self.is_event_time() { scheme.timestamp_of_event() } else { scheme }.into()
            }
            "hmac-sha256" => body!(HmacSha256Body),
            "hmac-sha512" => body!(HmacSha512Body),
            "ed25519" => body!(Ed25519Body),
            "timestamped-hmac" => self.timestamped().into(),
            "shared-secret" => match (self.form.as_deref(), self.username.as_deref()) {
                (Some("bearer"), None) => SharedSecret::bearer().into(),
                (Some("basic"), Some(username)) => SharedSecret::basic(username).into(),
                (None, None) => SharedSecret::new(header()).into(),
                other => panic!("{other:?}"),
            },
            other => panic!("no scheme {other}"),
        }
    }

    fn timestamped(&self) -> TimestampedHmac {
        let options = self.clone();
        let header = || self.header.clone().expect("a header");
        let scheme = match (self.preset.as_deref(), options.timestamp_element, options.timestamp_header) {
            (Some("terra"), None, None) => TimestampedHmac::terra(),
            (Some("whoop"), None, None) => TimestampedHmac::whoop(),
            (Some("oura"), None, None) => TimestampedHmac::oura(),
            (None, Some(time), None) => {
                TimestampedHmac::elements(header(), time, options.signature_element.expect("an element"))
            }
            (None, None, Some(time)) => TimestampedHmac::headers(header(), time),
            other => panic!("{other:?}"),
        };
        let scheme = with!(scheme, prefix: options.prefix, separator: options.separator, encoding: options.encoding,
            secret_encoding: options.secret_encoding, timestamp_unit: options.timestamp_unit, signed: options.signed,
            id_header: options.id_header);
        let scheme = if self.is_event_time() { scheme.timestamp_of_event() } else { scheme };
        match self.hash.as_deref() {
            Some("sha-512") => scheme.sha512(),
            None | Some("sha-256") => scheme,
            Some(other) => panic!("no hash {other}"),
        }
    }

    fn is_event_time(&self) -> bool {
        self.timestamp_of.as_deref() == Some("event")
    }

    pub(crate) fn freshness(&self) -> Option<Freshness> {
        let hours = self.max_age.as_deref()?.strip_suffix('h').expect("hours");
        let max_age = Duration::from_secs(3600 * hours.parse::<u64>().expect("hours"));
        let max_skew = Duration::from_secs(300);
        Some(match self.is_event_time() {
            true => Freshness::EventTime { max_age, max_skew },
            false => Freshness::AttemptTime { max_age, max_skew },
        })
    }

    /// Returns whether the scheme signs the body.
    pub(crate) fn signs_body(&self) -> bool {
        self.scheme != "shared-secret"
    }

    /// Returns whether a delivery is verified by this header.
    pub(crate) fn reads(&self, header: &str) -> bool {
        match (self.scheme.as_str(), &self.preset) {
            ("timestamped-hmac", None) => {
                [&self.header, &self.timestamp_header, &self.id_header].into_iter().flatten().any(|name| name == header)
            }
            _ => true,
        }
    }
}

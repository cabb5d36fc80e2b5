//! The options of a scheme, from arguments or from a config file.

use super::words::{AuthorizationForm, HashName, KeyEncoding, SchemeName, SignatureEncoding, TimestampOf, UnitName};
use crate::preset::Preset;

/// The options of a scheme, which have the same names as arguments and as keys of a config file.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Signature (for custom, and for providers that let each endpoint choose)")]
pub(crate) struct SchemeOptions {
    /// Scheme that authenticates deliveries
    #[arg(long, value_enum, conflicts_with = "config")]
    pub(crate) scheme: Option<SchemeName>,
    /// Header that holds the signature or the shared secret
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub(crate) header: Option<String>,
    /// Text before the signature in the header, such as `sha256=`
    #[arg(long, value_name = "TEXT", conflicts_with = "config")]
    pub(crate) prefix: Option<String>,
    /// Encoding of the signature
    #[arg(long, value_enum, conflicts_with = "config")]
    pub(crate) encoding: Option<SignatureEncoding>,
    /// Character between several signatures in the header (custom)
    #[arg(long, value_name = "CHARACTER", conflicts_with = "config")]
    pub(crate) separator: Option<String>,
    /// Encoding of the key in the secret (custom)
    #[arg(long, value_enum, conflicts_with = "config")]
    pub(crate) secret_encoding: Option<KeyEncoding>,
    /// Beginning of the names of headers, such as `svix-` (custom, standard-webhooks)
    #[arg(long, value_name = "TEXT", conflicts_with = "config")]
    pub(crate) header_prefix: Option<String>,
    /// Settings of this provider (custom, timestamped-hmac)
    #[arg(long, value_enum, conflicts_with = "config")]
    pub(crate) preset: Option<Preset>,
    /// Element of the header that holds the timestamp, such as `t` (custom, timestamped-hmac)
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub(crate) timestamp_element: Option<String>,
    /// Elements of the header that hold signatures, such as `v1`; may be empty (custom, timestamped-hmac)
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub(crate) signature_element: Option<String>,
    /// Header that holds the timestamp (custom, timestamped-hmac)
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub(crate) timestamp_header: Option<String>,
    /// Form of the timestamp (custom, timestamped-hmac)
    #[arg(long, value_enum, conflicts_with = "config")]
    pub(crate) timestamp_unit: Option<UnitName>,
    /// Whether the signed time is that of the attempt or of the event (custom)
    #[arg(long, value_enum, conflicts_with = "config")]
    pub(crate) timestamp_of: Option<TimestampOf>,
    /// Template of what is signed, by default `{timestamp}.{body}` (custom, timestamped-hmac)
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "config")]
    pub(crate) signed: Option<String>,
    /// Hash of the HMAC (custom, timestamped-hmac)
    #[arg(long, value_enum, conflicts_with = "config")]
    pub(crate) hash: Option<HashName>,
    /// Header that holds the signed id of the event (custom, timestamped-hmac)
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub(crate) id_header: Option<String>,
    /// Form of the secret in the header Authorization, instead of --header (custom, shared-secret)
    #[arg(long, value_enum, conflicts_with = "config")]
    pub(crate) form: Option<AuthorizationForm>,
    /// User name of --form basic (custom)
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub(crate) username: Option<String>,
}

impl SchemeOptions {
    /// Returns the options besides the scheme, and whether each is given.
    pub(super) fn given(&self) -> impl Iterator<Item = (&'static str, bool)> {
        [
            ("header", self.header.is_some()),
            ("prefix", self.prefix.is_some()),
            ("encoding", self.encoding.is_some()),
            ("separator", self.separator.is_some()),
            ("secret_encoding", self.secret_encoding.is_some()),
            ("header_prefix", self.header_prefix.is_some()),
            ("preset", self.preset.is_some()),
            ("timestamp_element", self.timestamp_element.is_some()),
            ("signature_element", self.signature_element.is_some()),
            ("timestamp_header", self.timestamp_header.is_some()),
            ("timestamp_unit", self.timestamp_unit.is_some()),
            ("timestamp_of", self.timestamp_of.is_some()),
            ("signed", self.signed.is_some()),
            ("hash", self.hash.is_some()),
            ("id_header", self.id_header.is_some()),
            ("form", self.form.is_some()),
            ("username", self.username.is_some()),
        ]
        .into_iter()
    }
}

/// The place where options are given, which decides how messages name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OptionSource {
    File,
    Arguments,
}

impl OptionSource {
    /// Returns the name of an option.
    pub(super) fn key(self, key: &str) -> String {
        match self {
            OptionSource::File => format!("`{key}`"),
            OptionSource::Arguments => format!("--{}", key.replace('_', "-")),
        }
    }

    /// Returns an option with its value.
    pub(super) fn pair(self, key: &str, value: &str) -> String {
        match self {
            OptionSource::File => format!("`{key} = {value:?}`"),
            OptionSource::Arguments => format!("{} {value}", self.key(key)),
        }
    }
}

/// A mistake in one of the options. It contains no value that can be a secret.
#[derive(Debug)]
pub(crate) struct OptionMistake {
    pub(crate) key: &'static str,
    pub(crate) problem: String,
}

impl OptionMistake {
    pub(super) fn new(key: &'static str, problem: impl Into<String>) -> Self {
        OptionMistake { key, problem: problem.into() }
    }
}

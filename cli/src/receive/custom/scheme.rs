//! Reads the scheme of a custom provider, with all its options.

use medhook::SchemeConfig;

use crate::dialect::{OptionMistake, OptionSource, SchemeOptions};
use crate::failure::Failure;
use crate::receive::keys::TableKeys;

/// The keys of schemes, besides those that other providers have, too.
pub(super) const SCHEME: &[&str] = &[
    "separator",
    "secret_encoding",
    "header_prefix",
    "preset",
    "timestamp_element",
    "signature_element",
    "timestamp_header",
    "timestamp_unit",
    "timestamp_of",
    "signed",
    "hash",
    "id_header",
    "form",
    "username",
];

const FOR_PRESET: &str = "missing; `preset` needs `scheme = \"timestamped-hmac\"`";

/// Returns the problem of a missing scheme.
pub(in crate::receive) fn missing(keys: &TableKeys) -> Option<Failure> {
    match (keys.has("scheme"), keys.has("preset")) {
        (true, _) => None,
        (false, true) => Some(keys.wrong("scheme", FOR_PRESET)),
        (false, false) => keys.needed("scheme", None::<()>).err(),
    }
}

/// Takes the scheme and its options, which must apply to it.
pub(super) fn take(keys: &mut TableKeys) -> Result<SchemeConfig, Failure> {
    let options = SchemeOptions {
        scheme: keys.word("scheme")?,
        header: keys.text("header")?,
        prefix: keys.text("prefix")?,
        encoding: keys.word("encoding")?,
        separator: keys.text("separator")?,
        secret_encoding: keys.word("secret_encoding")?,
        header_prefix: keys.text("header_prefix")?,
        preset: keys.word("preset")?,
        timestamp_element: keys.text("timestamp_element")?,
        signature_element: keys.text("signature_element")?,
        timestamp_header: keys.text("timestamp_header")?,
        timestamp_unit: keys.word("timestamp_unit")?,
        timestamp_of: keys.word("timestamp_of")?,
        signed: keys.text("signed")?,
        hash: keys.word("hash")?,
        id_header: keys.text("id_header")?,
        form: keys.word("form")?,
        username: keys.text("username")?,
    };
    let scheme = match (options.scheme, options.preset) {
        (None, Some(_)) => return Err(keys.wrong("scheme", FOR_PRESET)),
        (scheme, _) => keys.needed("scheme", scheme)?,
    };
    let scheme = options.build(scheme, OptionSource::File);
    scheme.map_err(|OptionMistake { key, problem }| keys.wrong(key, problem))
}

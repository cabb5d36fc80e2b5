//! The lines for the options of a provider: those that must be set, and, as comments, those that can be.

use std::fmt::Write;

use medhook::registry::{OptionName, ProviderFacts};

use super::comments::{FILL_IN, commented};
use super::given::{GivenValues, needs, schemes_of};
use crate::provider::NamedProvider;

/// Writes the options of an endpoint, besides its secrets.
pub(super) fn write_options(text: &mut String, provider: NamedProvider, values: &GivenValues) {
    if needs(provider, OptionName::Scheme) {
        scheme(text, provider, values);
    }
    match provider {
        NamedProvider::Known(facts) => facts.optional_options.iter().for_each(|option| known(text, facts, *option)),
        NamedProvider::Custom => text.push_str(CUSTOM_OPTIONS),
    }
}

fn scheme(text: &mut String, provider: NamedProvider, values: &GivenValues) {
    let (scheme, header) = (values.scheme(provider), values.header(provider));
    commented(text, "How deliveries are authenticated, as chosen in the provider's portal:");
    for (name, meaning) in [
        ("standard-webhooks", "the signature of Standard Webhooks, in its own headers"),
        ("hmac-sha256", "a header has the HMAC-SHA256 of the body"),
        ("shared-secret", "a header has the secret itself, so the body is not signed; prefer an HMAC"),
    ] {
        if schemes_of(provider).contains(&name) {
            let _ = writeln!(text, "#   {name:?}: {meaning}");
        }
    }
    match scheme {
        Some(scheme) => _ = writeln!(text, "scheme   = {scheme:?}"),
        None => _ = writeln!(text, "# scheme   = \"hmac-sha256\" # {FILL_IN}: one of these schemes"),
    }
    match header {
        Some(header) if scheme != Some("standard-webhooks") => _ = writeln!(text, "header   = {header:?}"),
        None if scheme != Some("standard-webhooks") => {
            _ = writeln!(text, "# header   = \"..\" # {FILL_IN}: the header of the signature or the secret");
        }
        _ => {}
    }
}

fn known(text: &mut String, facts: &ProviderFacts, option: OptionName) {
    match option {
        OptionName::Mode => text.push_str("mode     = \"live\" # of the events that the secrets sign: or \"test\"\n"),
        OptionName::TestSecrets => {
            commented(text, "Secrets of the test mode, if it has the same URL:");
            let _ = writeln!(text, "# test_secrets = [{{ env = \"{}_TEST_SECRET\" }}]", facts.name.to_uppercase());
        }
        OptionName::Prefix => text.push_str("# prefix   = \"sha256=\" # the text before the HMAC, if there is one\n"),
        OptionName::Encoding => text.push_str("# encoding = \"either\" # of the HMAC: or only \"hex\" or \"base64\"\n"),
        OptionName::PinKind => {
            let kinds: Vec<_> = facts.kinds.iter().map(|kind| kind.name).collect();
            commented(
                text,
                &format!(
                    "The kind that this URL is configured for in the provider's portal: one of {}.",
                    kinds.join(", ")
                ),
            );
            let _ = writeln!(text, "# pin_kind = {:?}", kinds.first().unwrap_or(&""));
        }
        OptionName::Header => {
            text.push_str("# header   = \"..\" # if the secret is in another header than documented\n")
        }
        OptionName::AlsoHeader => {
            commented(text, "A second header, and the secret that it must hold:");
            text.push_str("# also_header = \"..\"\n");
        }
        OptionName::AlsoSecrets => {
            let _ = writeln!(text, "# also_secrets = [{{ env = \"{}_ALSO_SECRET\" }}]", facts.name.to_uppercase());
        }
        // `secrets`, and the scheme with its header, are written for every endpoint that has them.
        _ => {}
    }
}

const CUSTOM_OPTIONS: &str = "\
# prefix   = \"sha256=\" # the text before the HMAC, if there is one
# encoding = \"either\" # of the HMAC: or only \"hex\" or \"base64\"
# provider_name = \"acme\" # in logs and keys; set it before the first event
# Where bodies have these parts, as JSON pointers. Without an id, a retry with other bytes is handled again:
# id_pointer   = \"/id\"
# kind_pointer = \"/type\"
# time_pointer = \"/created_at\"
# max_age  = \"1h\" # with time_pointer: the maximum age of an event
";

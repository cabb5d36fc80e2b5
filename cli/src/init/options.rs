//! The lines for the options of a provider: those that must be set, and, as comments, those that can be.

use std::fmt::Write;

use medhook::registry::{OptionName, ProviderFacts};

use super::comments::{FILL_IN, commented};
use super::custom::{has_header, meaning, write_preset, write_scheme_options};
use super::given::{GivenValues, needs, schemes_of};
use crate::provider::NamedProvider;

/// Writes the options of an endpoint, besides its secrets.
pub(super) fn write_options(text: &mut String, provider: NamedProvider, values: &GivenValues) {
    match values.preset(provider) {
        Some(preset) => write_preset(text, &preset),
        None if needs(provider, OptionName::Scheme) => scheme(text, provider, values),
        None => {}
    }
    match provider {
        NamedProvider::Known(facts) => facts.optional_options.iter().for_each(|option| known(text, facts, *option)),
        NamedProvider::Custom => {
            if values.preset(provider).is_none() {
                write_scheme_options(text, values.scheme(provider));
            }
            text.push_str(CUSTOM_OPTIONS);
        }
    }
}

fn scheme(text: &mut String, provider: NamedProvider, values: &GivenValues) {
    let (scheme, header) = (values.scheme(provider), values.header(provider));
    commented(text, "How deliveries are authenticated, as chosen in the provider's portal:");
    for name in schemes_of(provider) {
        let _ = writeln!(text, "#   {name:?}: {}", meaning(name));
    }
    match scheme {
        Some(scheme) => _ = writeln!(text, "scheme   = {scheme:?}"),
        None => _ = writeln!(text, "# scheme   = \"hmac-sha256\" # {FILL_IN}: one of these schemes"),
    }
    match header {
        Some(header) if has_header(scheme) => _ = writeln!(text, "header   = {header:?}"),
        None if has_header(scheme) => {
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
# provider_name = \"acme\" # in logs and keys; set it before the first event
# Where bodies have these parts, as JSON pointers. Without an id, a retry with other bytes is handled again:
# id_pointer   = \"/id\"
# kind_pointer = \"/type\"
# time_pointer = \"/created_at\"
# max_age  = \"1h\" # with time_pointer: the maximum age of an event
# cloud_events = \"structured\" # instead of the pointers, if bodies are CloudEvents
# handshake = { type = \"head\" } # a request that is answered at once: docs/receive.md has the types
";

//! `medhook secret`: makes secrets.

use std::io::Write;

use base64ct::{Base64, Encoding};
use clap::{Args, Subcommand, ValueEnum};
use medhook::registry::{OptionName, ProviderOptions, SchemeChoice};
use medhook::testing::Signing;

use crate::endpoint::{Provider, provider_parser};
use crate::failure::Failure;
use crate::random;
use crate::verdict::Verdict;

/// Make a secret for an endpoint.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = "Example:\n  medhook secret new healthsync > healthsync.secret")]
pub(crate) struct SecretCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    New(NewSecret),
}

/// Make a random 256-bit secret in the format of the scheme.
///
/// A Standard Webhooks secret is `whsec_` followed by base64; for any other scheme it
/// is 64 hexadecimal digits. Only the secret is written to standard output, so that it
/// can be redirected to a file (use `umask 077` to make it private), for --secret-file
/// or for `file` in a config file.
///
/// Fasten Connect issues the secret of each endpoint in its portal: use that secret in
/// production and a generated one in tests. With Ed25519 the secret is the public key of
/// the provider.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:\n  \
        medhook secret new fasten > fasten.secret\n  \
        medhook secret new --scheme hmac-sha256 > laboratory.secret"
)]
struct NewSecret {
    /// Provider whose secret format to use
    #[arg(value_parser = provider_parser(), required_unless_present = "scheme", conflicts_with = "scheme")]
    provider: Option<Provider>,
    /// Scheme, for a provider that is not in the list
    #[arg(long, value_enum)]
    scheme: Option<Scheme>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scheme {
    /// Standard Webhooks
    StandardWebhooks,
    /// HMAC-SHA256
    HmacSha256,
    /// HMAC-SHA512
    HmacSha512,
    /// HMAC of a timestamp and the body
    TimestampedHmac,
    /// The secret itself, in a header
    SharedSecret,
}

/// Runs the command.
pub(crate) fn run(command: &SecretCommand, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let Action::New(args) = &command.action;
    let standard_webhooks = match (args.provider, args.scheme) {
        (Some(provider), _) => uses_standard_webhooks(provider)?,
        (None, scheme) => scheme == Some(Scheme::StandardWebhooks),
    };
    let secret = if standard_webhooks { standard_webhooks_secret()? } else { random::secret()? };
    // A closed pipe is a failure here: a caller would go on without a secret.
    let written = writeln!(out, "{secret}").and_then(|()| out.flush());
    written.map_err(|error| Failure::because("cannot write to standard output", error))?;
    Ok(Verdict::Success)
}

fn uses_standard_webhooks(provider: Provider) -> Result<bool, Failure> {
    let mut options = ProviderOptions::default();
    if provider.required_options.contains(&OptionName::Scheme) {
        // The schemes to choose from read a secret alike: as text.
        options.scheme = Some(SchemeChoice::HmacSha256);
        options.header = Some("x-signature".to_owned());
    }
    let scheme = provider.scheme(&options).map_err(|error| Failure::new(error.to_string()))?;
    Ok(matches!(Signing::from(&scheme), Signing::StandardWebhooks(_)))
}

fn standard_webhooks_secret() -> Result<String, Failure> {
    Ok(format!("whsec_{}", Base64::encode_string(&random::bytes::<32>()?)))
}

#[cfg(test)]
mod tests {
    use medhook::registry::PROVIDERS;
    use medhook::{Custom, MemoryStore, Receiver, Secret, SharedSecret, StandardWebhooks, testing};
    use medhook_conformance::Endpoint;

    use super::*;

    fn new_secret(provider: Option<Provider>, scheme: Option<Scheme>) -> String {
        let command = SecretCommand { action: Action::New(NewSecret { provider, scheme }) };
        let mut out = Vec::new();
        run(&command, &mut out).unwrap();
        String::from_utf8(out).unwrap().strip_suffix('\n').unwrap().to_owned()
    }

    #[test]
    fn a_secret_that_cannot_be_written_is_a_failure() {
        struct Closed;

        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }

        let args = NewSecret { provider: None, scheme: Some(Scheme::HmacSha256) };
        let failure = run(&SecretCommand { action: Action::New(args) }, &mut Closed).err().unwrap();
        assert!(failure.to_string().starts_with("cannot write to standard output"), "{failure}");
    }

    #[test]
    fn a_receiver_accepts_each_providers_new_secret_without_a_warning() {
        for facts in PROVIDERS {
            let secret = new_secret(Some(facts), None);
            let mut endpoint = Endpoint::new(facts.name);
            endpoint.secrets.insert("new".to_owned(), secret.clone());
            if facts.required_options.contains(&OptionName::Scheme) {
                endpoint.scheme = Some(SchemeChoice::HmacSha256);
                endpoint.header = Some("x-signature".to_owned());
            }
            let receiver = endpoint.builder("in").unwrap().store(MemoryStore::new(10)).build().unwrap();
            assert_eq!(receiver.warnings(), [""; 0], "{}", facts.name);

            let sample = testing::sample(facts.name, facts.kinds[0].name).signing(endpoint.signing().unwrap());
            let (head, body) = sample.secret(&secret).request("/").into_parts();
            assert!(receiver.verify(&head.headers, body).is_ok(), "{}", facts.name);
        }
    }

    #[test]
    fn a_receiver_accepts_the_new_secret_of_a_scheme_without_a_warning() {
        let build = |custom| Receiver::builder("in", custom).store(MemoryStore::new(10)).build().unwrap();
        let secret = |scheme| Secret::new(new_secret(None, Some(scheme))).unwrap();
        let standard = Custom::new("laboratory", StandardWebhooks::new(), secret(Scheme::StandardWebhooks));
        let shared = Custom::new("laboratory", SharedSecret::new("x-key"), secret(Scheme::SharedSecret));
        for receiver in [build(standard), build(shared)] {
            assert_eq!(receiver.warnings(), [""; 0]);
        }
    }

    #[test]
    fn secrets_have_256_bits_in_the_form_of_their_scheme() {
        let standard = new_secret(None, Some(Scheme::StandardWebhooks));
        assert_eq!(Base64::decode_vec(standard.strip_prefix("whsec_").unwrap()).unwrap().len(), 32);
        let text = new_secret(None, Some(Scheme::HmacSha256));
        assert!(text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
        assert_ne!(text, new_secret(None, Some(Scheme::HmacSha256)));
    }
}

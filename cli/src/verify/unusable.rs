//! Secrets that no receiver starts with, which the steps cannot be run with.

use std::collections::BTreeMap;

use base64ct::{Base64, Encoding as _};
use medhook::testing::Signing;
use medhook::{ConfigError, Custom, Freshness, NoDedupe, Receiver, SchemeConfig, Secret, SecretEncoding};
use medhook_conformance::Endpoint;

use super::causes::Cause;
use crate::failure::Failure;
use crate::random;

/// Replaces these secrets by random ones. Returns the scheme of the endpoint, and a possible cause for each.
pub(super) fn replace(endpoint: &mut Endpoint) -> Result<(Signing, Vec<Cause>), Failure> {
    let mut causes = Vec::new();
    for secrets in [&mut endpoint.secrets, &mut endpoint.test_secrets, &mut endpoint.also_secrets] {
        replace_in(secrets, |_| Ok(()), |_| random::secret(), &mut causes)?;
    }
    let signing = endpoint.signing().map_err(|error| Failure::new(error.to_string()))?;
    for secrets in [&mut endpoint.secrets, &mut endpoint.test_secrets] {
        let accepted = |secret: &Secret| accepted(&signing, secret);
        replace_in(secrets, accepted, |text| replacement(&signing, text), &mut causes)?;
    }
    Ok((signing, causes))
}

fn replace_in(
    secrets: &mut BTreeMap<String, String>,
    accepted: impl Fn(&Secret) -> Result<(), String>,
    replacement: impl Fn(&str) -> Result<String, Failure>,
    causes: &mut Vec<Cause>,
) -> Result<(), Failure> {
    for (label, text) in secrets {
        let secret = Secret::unchecked(text).labeled(label).and_then(Secret::validated);
        let secret = secret.map_err(|error| error.to_string());
        if let Err(problem) = secret.and_then(|secret| accepted(&secret)) {
            causes.push(Cause {
                code: "secret_not_accepted",
                text: format!("no receiver starts with this secret: {problem}"),
                fits: false,
            });
            *text = replacement(text)?;
        }
    }
    Ok(())
}

/// Returns an error for a secret that a receiver of this scheme does not start with.
fn accepted(signing: &Signing, secret: &Secret) -> Result<(), String> {
    let custom = Custom::new("verify", SchemeConfig::from(signing), secret.clone());
    let receiver = Receiver::builder("verify", custom).freshness(Freshness::Unchecked).store(NoDedupe).build();
    let problem = |error: ConfigError| {
        let text = error.to_string();
        text.strip_prefix("receiver verify: ").unwrap_or(&text).to_owned()
    };
    receiver.map(drop).map_err(problem)
}

/// Returns a random secret that a receiver starts with, of the same kind as the given one.
fn replacement(signing: &Signing, given: &str) -> Result<String, Failure> {
    let is_public = |text: &str| text.starts_with("whpk_") || text.starts_with("whsk_");
    let mut secret = String::new();
    // About every second text of 32 bytes is a public key.
    for _ in 0..MOST_TRIES {
        let bytes: [u8; 32] = random::bytes()?;
        secret = match signing {
            Signing::StandardWebhooks(_) if is_public(given) => format!("whpk_{}", Base64::encode_string(&bytes)),
            Signing::StandardWebhooks(scheme) if scheme.key_encoding() == SecretEncoding::Hex => {
                base16ct::lower::encode_string(&bytes)
            }
            Signing::Signature(settings) if settings.secret_encoding == SecretEncoding::Hex => {
                base16ct::lower::encode_string(&bytes)
            }
            _ => Base64::encode_string(&bytes),
        };
        if accepted(signing, &Secret::unchecked(&secret)).is_ok() {
            break;
        }
    }
    Ok(secret)
}

const MOST_TRIES: usize = 100;

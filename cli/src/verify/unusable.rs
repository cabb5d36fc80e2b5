//! Secrets that no receiver starts with, which the steps cannot be run with.

use std::collections::BTreeMap;

use medhook::Secret;
use medhook::sign::Signer;
use medhook::testing::Signing;
use medhook_conformance::Endpoint;

use super::causes::Cause;
use crate::failure::Failure;
use crate::random;

/// Replaces these secrets by random ones. Returns the scheme of the endpoint, and a possible cause for each.
pub(super) fn replace(endpoint: &mut Endpoint) -> Result<(Signing, Vec<Cause>), Failure> {
    let mut causes = Vec::new();
    for secrets in [&mut endpoint.secrets, &mut endpoint.test_secrets, &mut endpoint.also_secrets] {
        replace_in(secrets, |_| Ok(()), &mut causes)?;
    }
    let signing = endpoint.signing().map_err(|error| Failure::new(error.to_string()))?;
    for secrets in [&mut endpoint.secrets, &mut endpoint.test_secrets] {
        replace_in(secrets, |secret| Signer::new(&signing, secret).map(drop), &mut causes)?;
    }
    Ok((signing, causes))
}

fn replace_in(
    secrets: &mut BTreeMap<String, String>,
    accepted: impl Fn(&Secret) -> Result<(), medhook::ConfigError>,
    causes: &mut Vec<Cause>,
) -> Result<(), Failure> {
    for (label, text) in secrets {
        let secret = Secret::unchecked(text).labeled(label).and_then(Secret::validated);
        if let Err(problem) = secret.and_then(|secret| accepted(&secret)) {
            causes.push(Cause {
                code: "secret_not_accepted",
                text: format!("no receiver starts with this secret: {problem}"),
                fits: false,
            });
            *text = random::secret()?;
        }
    }
    Ok(())
}

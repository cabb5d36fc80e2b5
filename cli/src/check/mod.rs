//! `medhook check`: plays the cases of `medhook-conformance` at any endpoint.
//!
//! - `site`: the endpoint, and the URLs that show what it handles
//! - `report`: the output

mod report;
mod site;

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use medhook::registry::SecretMode;
use medhook::{NoDedupe, Secret};
use medhook_conformance::{Endpoint, Plan, Player};

use self::report::CheckReport;
use self::site::CheckedSite;
use crate::endpoint::{
    Described, EndpointArgs, NamedProvider, TestSecretArgs, answer_timeout, entry, named_provider_parser,
};
use crate::failure::Failure;
use crate::http_client::Target;
use crate::output::{Screen, print_text};
use crate::random;
use crate::runtime::run_async;
use crate::sender::{Sender, signer};
use crate::verdict::Verdict;

/// Send every test case to an endpoint in any language, and report the failed ones.
///
/// A case fails if the endpoint accepts a forged delivery or rejects a genuine one. All
/// data is made up, and every id begins with `medhook-check-`. The endpoint processes it
/// like real data, so use a test endpoint. Altered, forged, stale and unsigned
/// deliveries must be answered 4xx, and genuine ones 2xx, even if their kind is unknown or
/// a field is not as documented. A 5xx does not count as a rejection: the endpoint may have
/// failed before it verified the signature, and a provider would retry.
///
/// The status alone does not show whether an event was handled. --count-url names a URL
/// that answers a GET with the number of events handled so far, in plain text. With this
/// number the check verifies that no forged delivery is handled and that copies, sequential
/// or concurrent, are handled once. The number must be up to date when the 2xx is sent.
/// --fail-next-url names a URL. A POST to it makes the handler fail for the next event, so
/// that the check can verify that the retry is handled.
///
/// Remarks are differences that only a sender with the secret could exploit. They do not
/// affect the exit code unless --strict is given. The exit code is 0 if no forged delivery
/// was accepted and no genuine one rejected, 1 if one was, and 2 if the results of some
/// cases are unclear.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    override_usage = "medhook check [OPTIONS] <URL> <PROVIDER>\n       \
        medhook check [OPTIONS] --config <FILE> --endpoint <NAME> [URL]",
    after_help = "Examples:\n  \
        medhook check http://127.0.0.1:3000/webhooks/fasten fasten --secret-env FASTEN_SECRET\n  \
        medhook check http://127.0.0.1:3000/in healthsync --secret-file healthsync.secret \\\n    \
        --count-url http://127.0.0.1:3000/count --fail-next-url http://127.0.0.1:3000/fail-next\n  \
        medhook check http://127.0.0.1:3000/acme custom --secret-env ACME_SECRET --scheme standard-webhooks\n  \
        medhook check --config medhook.toml --endpoint acme"
)]
pub(crate) struct CheckArgs {
    /// URL of the endpoint, http:// or https:// [default with --config: the receiver's]
    url: Option<String>,
    /// Provider whose deliveries to imitate
    #[arg(value_parser = named_provider_parser())]
    provider: Option<NamedProvider>,
    #[command(flatten)]
    endpoint: EndpointArgs,
    #[command(flatten)]
    test_keys: TestSecretArgs,
    /// URL that returns the number of handled events
    #[arg(long, value_name = "URL", help_heading = "Check")]
    count_url: Option<String>,
    /// URL that makes the handling of the next event fail (POST)
    #[arg(long, value_name = "URL", requires = "count_url", help_heading = "Check")]
    fail_next_url: Option<String>,
    /// Limit of the endpoint for bodies, in bytes [default: the config file's, or 1048576]
    #[arg(long, value_name = "BYTES", help_heading = "Check")]
    #[arg(value_parser = clap::value_parser!(u64).range(1_024..=256 * 1024 * 1024))]
    body_limit: Option<u64>,
    /// Number of copies sent at once
    #[arg(long, value_name = "N", default_value_t = 20, help_heading = "Check")]
    #[arg(value_parser = clap::value_parser!(u16).range(2..=200))]
    copies: u16,
    /// Seconds to wait for an answer [default: as long as the provider waits, or 30]
    #[arg(long, value_name = "SECONDS", help_heading = "Check")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: Option<u64>,
    /// Count remarks as faults
    #[arg(long, help_heading = "Check")]
    strict: bool,
    /// Print a line of JSON for each case, and one with the verdict
    #[arg(long, help_heading = "Check")]
    json: bool,
    /// Confirm that you operate this non-loopback endpoint
    #[arg(long, help_heading = "Check")]
    i_operate_this_endpoint: bool,
}

/// Runs the command.
pub(crate) fn run(args: &CheckArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let described = args.endpoint.read_to_sign(args.provider, Some(&args.test_keys))?;
    let target = |url: &String| Target::parse(url);
    let (at, count, fail_next) = (
        target(&described.url(args.url.as_ref(), "URL")?)?,
        args.count_url.as_ref().map(target).transpose()?,
        args.fail_next_url.as_ref().map(target).transpose()?,
    );
    let all_here = [Some(&at), count.as_ref(), fail_next.as_ref()].into_iter().flatten().all(Target::is_loopback);
    if !all_here && !args.i_operate_this_endpoint {
        return Err(Failure::new(
            "the URLs are not loopback addresses; pass --i-operate-this-endpoint to send some 200 deliveries, some of them forged",
        ));
    }
    let from_file = args.endpoint.has_config();
    let endpoint = endpoint(described, from_file)?;

    let signing = endpoint.signing().map_err(|error| Failure::new(error.to_string()))?;
    for (label, text) in &endpoint.secrets {
        let secret = Secret::new(text.as_str()).and_then(|secret| secret.labeled(label));
        signer(&signing, &secret.map_err(|error| Failure::new(error.to_string()))?, from_file)?;
    }
    // Secrets or headers that no receiver accepts are reported as such, and not as errors of the first case.
    let builder = endpoint.builder("check").map_err(|error| Failure::new(error.to_string()))?;
    builder.store(NoDedupe).build().map_err(|error| Failure::new(error.to_string()))?;
    let mark = format!("medhook-check-{}-", random::mark()?);
    let mut plan = Plan::outside(endpoint.clone(), mark.clone());
    let configured = endpoint.body_limit.map(|bytes| bytes as u64);
    plan.body_limit = args.body_limit.or(configured).unwrap_or(plan.body_limit);
    plan.copies = args.copies.into();
    let limit = args.timeout.map_or_else(|| answer_timeout(&endpoint), Duration::from_secs);
    let site = CheckedSite { sender: Sender { target: at, endpoint, limit }, count, fail_next };
    let mut player = Player::new(&site, plan)?;
    let mut report = CheckReport::new(args.json, args.strict, Screen::detect(), player.cases().len());
    print_text(out, &report.begun(&site.sender, &mark))?;
    run_async(player.play_all(&mut |finding| print_text(out, &report.found(finding))))?;
    print_text(out, &report.ended())?;
    Ok(report.verdict())
}

/// Returns the endpoint with its secrets.
fn endpoint(described: Described, from_file: bool) -> Result<Endpoint, Failure> {
    let Described { mut endpoint, secrets, test_secrets, .. } = described;
    if endpoint.mode == Some(SecretMode::Test) {
        return Err(Failure::new(
            "the cases are live events, which an endpoint with mode = \"test\" rejects; check one with live secrets",
        ));
    }
    if secrets.is_empty() {
        return Err(Failure::new("no live secret given; pass --secret-env VARIABLE or --secret-file PATH"));
    }
    endpoint.secrets = named(&secrets, "secret", ["current", "old"], from_file)?;
    endpoint.test_secrets = named(&test_secrets, "test-secret", ["test"], from_file)?;
    Ok(endpoint)
}

/// Labels secrets with the names that the cases use. A secret without such a name is not tried: of a config file, the
/// first ones are used.
fn named<const N: usize>(
    secrets: &[Secret],
    option: &str,
    names: [&str; N],
    from_file: bool,
) -> Result<BTreeMap<String, String>, Failure> {
    if secrets.len() > N && !from_file {
        return Err(Failure::new(format!(
            "--{option}-env, --{option}-file: more than {N}, the most that the cases use"
        )));
    }
    Ok(names.into_iter().zip(secrets).map(|(name, secret)| (name.to_owned(), entry(secret).1)).collect())
}

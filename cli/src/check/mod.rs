//! `medhook check`: the cases that this project holds itself to, played at any endpoint.
//!
//! - `site`: the endpoint, and what else its operator gives to look at it
//! - `report`: what is printed

mod report;
mod site;

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use medhook::Secret;
use medhook_conformance::{Plan, Player};

use self::report::CheckReport;
use self::site::CheckedSite;
use crate::endpoint::{Dialect, Provider, SecretArgs, TestSecretArgs, answer_timeout, entry, provider_parser};
use crate::failure::Failure;
use crate::http_client::Target;
use crate::output::{Screen, say};
use crate::random;
use crate::runtime::run_async;
use crate::sender::Sender;
use crate::verdict::Verdict;

/// Play every known case at an endpoint, of whatever language, and report what it
/// lets through, what it refuses that is genuine, and why it matters.
///
/// Everything sent is made up, and every id in it begins with `medhook-check-`, but
/// the endpoint takes it for real: point it at one that may. What is tampered with,
/// forged, stale or unsigned has to be answered 4xx; what is genuine 2xx, even if its
/// kind is not known or a field is not as documented. A 5xx to what is forged is no
/// rejection: it may have broken before it looked, and a sender would try again.
///
/// An answer does not say what was handled. With --count-url, a URL that answers a GET
/// with the number of events handled so far, in plain text, that is looked at as well:
/// that nothing forged is handled, and that copies, one after another or at once, are
/// handled once. The number must have risen by the time of the 2xx.
/// With --fail-next-url besides, a URL that makes the handling of the next event fail
/// after a POST to it: that an event that failed is handled when it comes again.
///
/// Strictness that guards against nobody without the secret is a remark, which counts
/// with --strict. The exit code is 0 if nothing was let through and nothing genuine
/// refused, 1 if something was, and 2 if that could not be told of all cases.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:\n  \
        medhook check http://127.0.0.1:3000/webhooks/fasten fasten --secret-env FASTEN_SECRET\n  \
        medhook check http://127.0.0.1:3000/in healthsync --secret-file healthsync.secret \\\n    \
        --count-url http://127.0.0.1:3000/count --fail-next-url http://127.0.0.1:3000/fail-next"
)]
pub(crate) struct CheckArgs {
    /// The endpoint, http:// or https://
    url: String,
    /// Whose endpoint it is
    #[arg(value_parser = provider_parser())]
    provider: Provider,
    #[command(flatten)]
    keys: SecretArgs,
    #[command(flatten)]
    test_keys: TestSecretArgs,
    #[command(flatten)]
    dialect: Dialect,
    /// Where the number of handled events is
    #[arg(long, value_name = "URL")]
    count_url: Option<String>,
    /// Where a POST makes the handling of the next event fail
    #[arg(long, value_name = "URL", requires = "count_url")]
    fail_next_url: Option<String>,
    /// The longest body that the endpoint takes, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024, value_parser = clap::value_parser!(u64).range(1_024..=256 * 1024 * 1024))]
    body_limit: u64,
    /// How many copies are sent at once
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(2..=200))]
    copies: u16,
    /// How long an answer may take, in seconds; by default as long as the provider waits
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: Option<u64>,
    /// Remarks count, too
    #[arg(long)]
    strict: bool,
    /// One line of JSON for each case, and one for the whole
    #[arg(long)]
    json: bool,
    /// It is not on this machine, and it is mine to send this to
    #[arg(long)]
    i_operate_this_endpoint: bool,
}

/// Runs the command.
pub(crate) fn run(args: &CheckArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let target = |url: &String| Target::parse(url);
    let (at, count, fail_next) = (
        target(&args.url)?,
        args.count_url.as_ref().map(target).transpose()?,
        args.fail_next_url.as_ref().map(target).transpose()?,
    );
    let all_here = [Some(&at), count.as_ref(), fail_next.as_ref()].into_iter().flatten().all(Target::is_loopback);
    if !all_here && !args.i_operate_this_endpoint {
        return Err(Failure::new(
            "this is not on this machine: some 200 deliveries, forged ones among them, need --i-operate-this-endpoint",
        ));
    }
    let mut endpoint = args.dialect.endpoint(args.provider)?;
    endpoint.secrets = named(&args.keys.read()?, "secret", ["current", "old"])?;
    endpoint.test_secrets = named(&args.test_keys.read(args.provider)?, "test-secret", ["test"])?;

    let mark = format!("medhook-check-{}-", random::mark()?);
    let mut plan = Plan::outside(endpoint.clone(), mark.clone());
    plan.body_limit = args.body_limit;
    plan.copies = args.copies.into();
    let patience = args.timeout.map_or_else(|| answer_timeout(args.provider), Duration::from_secs);
    let site = CheckedSite { sender: Sender { target: at, endpoint, patience }, count, fail_next };
    let mut player = Player::new(&site, plan)?;
    let mut report = CheckReport::new(args.json, args.strict, Screen::detect(), player.cases().len());
    say(out, &report.begun(&site.sender, &mark))?;
    run_async(player.play_all(&mut |finding| say(out, &report.found(finding))))?;
    say(out, &report.ended())?;
    Ok(report.verdict())
}

/// Secrets by the names that the cases have for them. One without a name would not be tried.
fn named<const N: usize>(
    secrets: &[Secret],
    option: &str,
    names: [&str; N],
) -> Result<BTreeMap<String, String>, Failure> {
    if secrets.len() > N {
        return Err(Failure::new(format!(
            "--{option}-env, --{option}-file: more than {N}, which is all that the cases try"
        )));
    }
    Ok(names.into_iter().zip(secrets).map(|(name, secret)| (name.to_owned(), entry(secret).1)).collect())
}

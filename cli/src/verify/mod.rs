//! `medhook verify`: verifies a recorded delivery step by step, and explains failures.
//!
//! - `headers`: parses the recorded head
//! - `case`: the recorded delivery and its endpoint
//! - `elements`: headers that are lists
//! - `signed`: what a signature covers
//! - `unusable`: secrets that no receiver starts with
//! - `steps`: runs the steps of a receiver
//! - `problems`, `signature_form`, `time_form`: describe headers and times that are not accepted, without their values
//! - `causes`: tries the common mistakes
//! - `report`: writes the result

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod captured;
mod case;
mod causes;
mod elements;
mod encodings;
mod headers;
mod input;
mod problems;
mod report;
#[cfg(test)]
mod scheme_tests;
mod separators;
mod signature_form;
mod signed;
mod steps;
mod time_form;
mod unusable;

use std::io::Write;

use medhook::{Bytes, Secret};
use medhook_conformance::Endpoint;

use self::case::Case;
use self::input::{Input, InputArgs};
use self::report::Report;
use crate::endpoint::{Described, EndpointArgs, NamedProvider, TestSecretArgs, labeled, named_provider_parser};
use crate::failure::Failure;
use crate::output::{harmless, print_text};
use crate::sources::Validation;
use crate::verdict::Verdict;

/// Verify a recorded delivery, and explain why it fails.
///
/// The --headers file has lines of `Name: value`, a command or the output of curl, a
/// HAR file, or JSON. The --body file has the exact bytes of the body. The steps are
/// those of a receiver: head, verify (signature), envelope, fresh (event age). If the
/// signature is invalid, the command tries common mistakes of the secret, the headers
/// and the body. A `cause` fully explains the failure. A `possible cause` is a guess
/// from the headers, the secret, the body or the time. docs/verify.md lists them.
///
/// Secrets, signatures and header values are never printed, except the value of
/// content-length and, for custom providers, names of elements and short prefixes. The
/// exit code is 0 if the delivery is verified, 1 if it is not, and 2 if it could not be
/// checked.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    override_usage = "medhook verify [OPTIONS] <PROVIDER> --headers <FILE> [--body <FILE>]\n       \
        medhook verify [OPTIONS] <PROVIDER> --capture <DIR/NNNN>\n       \
        medhook verify [OPTIONS] --config <FILE> --endpoint <NAME> --headers <FILE> [--body <FILE>]\n       \
        medhook verify [OPTIONS] --config <FILE> --endpoint <NAME> --capture <DIR/NNNN>",
    after_help = "Examples:\n  \
        medhook verify fasten --headers head.txt --body body.json --secret-env FASTEN_SECRET --at 2026-01-31T12:00:00Z\n  \
        medhook verify cair --headers head.txt --body body.json --secret-file cair.secret \\\n    \
        --scheme hmac-sha256 --header X-API-KEY\n  \
        medhook verify healthsync --capture captured/0001 --secret-env HEALTHSYNC_SECRET\n  \
        medhook verify --config medhook.toml --endpoint acme --headers head.txt --body body.json"
)]
pub(crate) struct VerifyArgs {
    /// Provider that sent the delivery
    #[arg(value_parser = named_provider_parser())]
    provider: Option<NamedProvider>,
    #[command(flatten)]
    input: InputArgs,
    /// Print the body as well, up to 16 KiB
    #[arg(long)]
    show_body: bool,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: EndpointArgs,
    #[command(flatten)]
    test_keys: TestSecretArgs,
}

/// Runs the command.
pub(crate) fn run(args: &VerifyArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let described = args.endpoint.read(args.provider, Some(&args.test_keys), Validation::None)?;
    let Described { mut endpoint, secrets: keys, test_secrets: test_keys, .. } = described;
    let secrets: Vec<_> = keys.iter().chain(&test_keys).cloned().collect();
    endpoint.secrets = labeled(&keys)?;
    endpoint.test_secrets = labeled(&test_keys)?;
    let input = args.input.read()?;
    let body = input.body.clone();
    let report = report(endpoint, &secrets, input)?;
    let shown = args.show_body.then(|| harmless(body.get(..body.len().min(16 * 1024)).unwrap_or_default()));
    print_text(out, &if args.json { report.as_json(shown) } else { report.as_text(shown) })?;
    Ok(report.verdict())
}

/// Verifies a recorded delivery.
fn report(mut endpoint: Endpoint, secrets: &[Secret], input: Input) -> Result<Report, Failure> {
    let (signing, unusable) = unusable::replace(&mut endpoint)?;
    let Input { mut head, body, at, notes } = input;
    let restored = captured::restore(&mut head, &endpoint, &signing);
    let case = Case { endpoint: &endpoint, signing: &signing, secrets, head: &head, body: &body, at };
    let mut report = match captured::report(&head, &endpoint, &signing) {
        Some((steps, causes)) => Report::new(&case, steps, causes),
        None => Report::of(&case)?,
    };
    captured::attribute(&mut report.steps, &restored, &endpoint, &signing);
    report.notes = notes;
    report.add_unusable(unusable);
    Ok(report)
}

/// Returns the headers of a file, and the names of those whose values were not recorded. For `tests/properties`.
#[allow(clippy::type_complexity, reason = "for one caller")]
pub(crate) fn headers_of(file: &[u8]) -> Result<(Vec<(String, Vec<u8>)>, Vec<String>), Failure> {
    let head = headers::parse(file)?;
    Ok((head.headers, head.redacted.into_iter().map(|redacted| redacted.name).collect()))
}

/// Returns whether a delivery is verified, and the output as text and as JSON. For `tests/properties`.
pub(crate) fn outputs(endpoint: Endpoint, file: &[u8], body: Bytes, at: i64) -> Result<(bool, [String; 2]), Failure> {
    let secrets = endpoint.secrets.iter().map(|(label, text)| Secret::unchecked(text).labeled(label));
    let secrets = secrets.collect::<Result<Vec<_>, _>>().map_err(|error| Failure::new(error.to_string()))?;
    let input = Input { head: headers::parse(file)?, body, at, notes: Vec::new() };
    let report = report(endpoint, &secrets, input)?;
    Ok((report.is_verified(), [report.as_text(None), report.as_json(None)]))
}

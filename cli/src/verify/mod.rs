//! `medhook verify`: a recorded delivery, step by step, and what probably happened to it.
//!
//! - `headers`: the recorded head
//! - `steps`: what held and what did not
//! - `guess`, `rewritten`: the common mistakes, tried

mod guess;
mod headers;
mod rewritten;
mod steps;

use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};

use medhook::Bytes;
use serde_json::json;

use self::guess::{Case, Guesses};
use self::headers::Head;
use self::steps::Steps;
use crate::clock;
use crate::endpoint::{Dialect, Provider, SecretArgs, TestSecretArgs, entry, provider_parser};
use crate::failure::Failure;
use crate::output::{harmless, say};
use crate::verdict::Verdict;

/// Look at a recorded delivery, and say what held, what did not, and what probably
/// happened.
///
/// The headers are lines of `Name: value`, as `curl -v` or a log has them; the body
/// is a file, byte for byte. The steps are those of a receiver: head, proof,
/// envelope, fresh. Where the proof does not hold, the common mistakes are tried:
/// the secret decoded the wrong way, a body that was written anew or has another
/// line break at its end, another header, prefix or encoding, and more.
///
/// No secret, no signature and no header's value but a body's length is ever
/// shown. The exit code is 0 if the delivery is verified, 1 if not, and 2 if that
/// cannot be told.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:\n  \
        medhook verify fasten --headers head.txt --body body.json --secret-env FASTEN_SECRET --at 2026-01-31T12:00:00Z\n  \
        medhook verify cair --headers head.txt --body body.json --secret-file cair.secret \\\n    \
        --scheme hmac-sha256 --header X-API-KEY"
)]
pub(crate) struct VerifyArgs {
    /// Who sends
    #[arg(value_parser = provider_parser())]
    provider: Provider,
    /// The file with the headers
    #[arg(long, value_name = "FILE")]
    headers: PathBuf,
    /// The file with the body
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
    /// When it arrived, in Unix seconds or like 2026-01-31T12:00:00Z; by default now
    #[arg(long, value_name = "TIME", value_parser = clock::parse, allow_negative_numbers = true)]
    at: Option<i64>,
    /// Show the body, too, up to 16 KiB
    #[arg(long)]
    show_body: bool,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    keys: SecretArgs,
    #[command(flatten)]
    test_keys: TestSecretArgs,
    #[command(flatten)]
    dialect: Dialect,
}

/// Runs the command.
pub(crate) fn run(args: &VerifyArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let mut endpoint = args.dialect.endpoint(args.provider)?;
    let test_keys = args.test_keys.read(args.provider)?;
    let keys = if test_keys.is_empty() { args.keys.read()? } else { args.keys.read_if_any()? };
    let secrets: Vec<_> = keys.iter().chain(&test_keys).cloned().collect();
    endpoint.secrets = labeled(&keys)?;
    endpoint.test_secrets = labeled(&test_keys)?;
    let signing = endpoint.signing().map_err(|error| Failure::new(error.to_string()))?;

    let head = Head::parse(&file(&args.headers, LONGEST_HEAD)?)?;
    let body = Bytes::from(file(&args.body, LONGEST_BODY)?);
    let at = args.at.map_or_else(clock::now, Ok)?;
    let steps = Steps::judge(&endpoint, &head, &body, at)?;
    let case = Case { endpoint: &endpoint, signing: &signing, secrets: &secrets, head: &head, body: &body, at };
    let guesses = if steps.all_held() { Guesses { lines: Vec::new(), tried: 0 } } else { case.guesses(&steps) };

    let shown = args.show_body.then(|| harmless(body.get(..body.len().min(16 * 1024)).unwrap_or_default()));
    let text = if args.json { as_json(&steps, &guesses, shown) } else { as_text(&steps, &guesses, shown) };
    say(out, &text)?;
    Ok(if steps.all_held() { Verdict::AllIsWell } else { Verdict::SomethingIsNot })
}

const LONGEST_HEAD: u64 = 1024 * 1024;

const LONGEST_BODY: u64 = 16 * 1024 * 1024;

fn file(path: &Path, longest: u64) -> Result<Vec<u8>, Failure> {
    let cannot = |error| Failure::because(format_args!("cannot read {}", path.display()), error);
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(longest.saturating_add(1)).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > longest {
        return Err(Failure::new(format!("{} is longer than {longest} bytes", path.display())));
    }
    Ok(bytes)
}

fn labeled(secrets: &[medhook::Secret]) -> Result<std::collections::BTreeMap<String, String>, Failure> {
    let map: std::collections::BTreeMap<_, _> = secrets.iter().map(entry).collect();
    if map.len() < secrets.len() {
        return Err(Failure::new("two secrets of one name"));
    }
    Ok(map)
}

fn as_text(steps: &Steps, guesses: &Guesses, body: Option<String>) -> String {
    let mut text = String::new();
    for step in steps.all() {
        let held = match step.held {
            Some(true) => "held",
            Some(false) => "NOT HELD",
            None => "-",
        };
        let reason = step.reason.map(|reason| format!("{reason}: ")).unwrap_or_default();
        text.push_str(&format!("{:<9} {held:<9} {reason}{}\n", step.name, step.detail));
    }
    text.push_str("claim     -         not judged: whether the event was handled before, only the receiver knows\n");
    if steps.all_held() {
        text.push_str("\nverified\n");
    } else {
        text.push_str("\nnot verified\n");
        for line in &guesses.lines {
            text.push_str(&format!("probably: {line}\n"));
        }
        if steps.proof.held != Some(true) && guesses.tried > 0 {
            text.push_str(&format!("{} combinations of secret, signature and body were tried\n", guesses.tried));
        }
        if guesses.lines.is_empty() {
            text.push_str("nothing that was tried explains it: another secret, or a body that was altered\n");
        }
    }
    if let Some(body) = body {
        text.push_str(&format!("\n{body}\n"));
    }
    text
}

fn as_json(steps: &Steps, guesses: &Guesses, body: Option<String>) -> String {
    let steps_as_json: Vec<_> = steps
        .all()
        .iter()
        .map(|step| {
            json!({
                "step": step.name,
                "held": step.held,
                "reason": step.reason.map(medhook::Reason::as_str),
                "detail": step.detail,
            })
        })
        .collect();
    let mut report = json!({
        "verified": steps.all_held(),
        "steps": steps_as_json,
        "probably": guesses.lines,
        "tried": guesses.tried,
    });
    if let (Some(body), Some(members)) = (body, report.as_object_mut()) {
        members.insert("body".to_owned(), body.into());
    }
    format!("{report}\n")
}

//! `medhook send`: sends signed deliveries to any endpoint.
//!
//! - `delivery`: builds the request as the provider would, or with one flaw
//! - `course`: sends it once or several times, and compares the answers with the expected ones
//! - `explain`: explains an unexpected answer

mod course;
mod delivery;
mod explain;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use medhook::registry::{RetrySchedule, SecretMode};
use medhook::testing::{Fixture, fixtures};
use medhook_conformance::{CustomProvider, Endpoint};

use self::delivery::{Content, Delivery, Flaw};
use crate::clock;
use crate::endpoint::{EndpointArgs, NamedProvider, answer_timeout};
use crate::failure::Failure;
use crate::http_client::Target;
use crate::output::print_text;
use crate::runtime::run_async;
use crate::verdict::Verdict;

/// Send a delivery to an endpoint, signed as the provider signs it.
///
/// KIND is a documented event kind or a variant of one; `--list` shows them all.
/// The body is sample data with a new event id and the current time, so that each
/// run sends a new event. With --body, the bytes of a file are sent unchanged.
/// Secrets are read from environment variables or files, never from arguments.
///
/// With --config and --endpoint, the provider, the secrets and the options are those
/// of an endpoint in a config file of `medhook receive`, and KIND and --to are
/// optional: by default a documented kind is sent to the receiver on this machine. A
/// sample of `custom` has an id, a kind and a time at the pointers, and nothing else.
///
/// Each attempt is printed with its answer, and an unexpected answer is explained.
/// The exit code is 0 if every answer was as expected: 2xx for a genuine delivery,
/// 4xx for a tampered, stale, unsigned or wrongly signed one. It is 1 if an answer
/// differed or timed out, and 2 if no connection could be made, a 4xx such as 404
/// does not show that the delivery was verified, or the arguments are invalid.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    override_usage = "medhook send [OPTIONS] --to <URL> <PROVIDER> <KIND>\n       \
        medhook send [OPTIONS] --to <URL> <PROVIDER> --body <FILE>\n       \
        medhook send [OPTIONS] --config <FILE> --endpoint <NAME> [KIND]\n       \
        medhook send --list [PROVIDER]",
    after_help = "Examples:\n  \
        medhook send --list\n  \
        medhook send healthsync document.uploaded --to http://127.0.0.1:3000/webhooks --secret-env HEALTHSYNC_SECRET\n  \
        medhook send cair CLAIM_STATUS_CHANGE --to https://staging.example.org/cair --secret-file cair.secret \\\n    \
        --scheme hmac-sha256 --header X-API-KEY --tamper\n  \
        medhook send fasten webhook.test --to http://127.0.0.1:3000/fasten --secret-env FASTEN_SECRET --retry --time-scale 3600\n  \
        medhook send custom --to http://127.0.0.1:3000/acme --secret-env ACME_SECRET --scheme hmac-sha256 \\\n    \
        --header X-Acme-Signature --id-pointer /id --kind-pointer /type\n  \
        medhook send --config medhook.toml --endpoint acme"
)]
pub(crate) struct SendArgs {
    /// Provider whose deliveries to imitate: azodha, cair, fasten, healthsync, mediquo or custom
    provider: Option<String>,
    /// Event kind, or a variant of one
    #[arg(conflicts_with = "body")]
    kind: Option<String>,
    /// URL of the endpoint, http:// or https:// [default with --config: the receiver's]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// List the available kinds, of one provider or of all
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    endpoint: EndpointArgs,
    #[command(flatten)]
    event: EventArgs,
    #[command(flatten)]
    flaws: Flaws,
    #[command(flatten)]
    course: Course,
}

/// Options that describe the event.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Event")]
struct EventArgs {
    /// Send the bytes of this file unchanged
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Event id, or the value of the field used as the id [default: a new one]
    #[arg(long)]
    id: Option<String>,
    /// Time of the event and the delivery, in Unix seconds or as 2026-01-31T12:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = clock::parse, allow_negative_numbers = true)]
    at: Option<i64>,
    /// Mode of the event, for providers that have modes [default: the sample's]
    #[arg(long, value_enum)]
    mode: Option<ModeArg>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ModeArg {
    Live,
    Test,
}

/// Options that make the delivery invalid. At most one can be given.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
#[command(next_help_heading = "Flaws (at most one)")]
struct Flaws {
    /// Flip one bit of the body after signing
    #[arg(long)]
    tamper: bool,
    /// Use a timestamp far older than the default freshness window allows
    #[arg(long, conflicts_with = "at")]
    stale: bool,
    /// Omit the headers that authenticate the delivery
    #[arg(long)]
    unsigned: bool,
    /// Sign with a random secret
    #[arg(long)]
    wrong_secret: bool,
}

impl Flaws {
    fn flaw(&self) -> Option<Flaw> {
        let flaws = [
            (self.tamper, Flaw::Tampered),
            (self.stale, Flaw::Stale),
            (self.unsigned, Flaw::Unsigned),
            (self.wrong_secret, Flaw::WrongSecret),
        ];
        flaws.into_iter().find_map(|(set, flaw)| set.then_some(flaw))
    }
}

/// Options that control how often and how fast the delivery is sent.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Sending")]
struct Course {
    /// Number of deliveries to send [default: the value of --concurrent]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: Option<u32>,
    /// Number of deliveries in flight at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrent: u16,
    /// Send a new event each time instead of the same one
    #[arg(long, conflicts_with_all = ["id", "body", "retry"])]
    new_events: bool,
    /// Retry on the provider's schedule until the endpoint answers 2xx
    #[arg(long, conflicts_with_all = ["repeat", "concurrent", "tamper", "stale", "unsigned", "wrong_secret"])]
    retry: bool,
    /// Speed-up factor for the retry schedule (requires --retry)
    #[arg(long, value_name = "X", default_value_t = 1.0, requires = "retry", value_parser = factor)]
    time_scale: f64,
    /// Seconds to wait for an answer [default: as long as the provider waits, or 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: Option<u64>,
    /// Print the body of each answer, up to 16 KiB
    #[arg(long)]
    show_answer: bool,
}

fn factor(text: &str) -> Result<f64, String> {
    let factor = text.parse().ok().filter(|factor: &f64| factor.is_finite() && (1e-3..=1e9).contains(factor));
    factor.ok_or_else(|| "must be a number from 0.001 to 1000000000".to_owned())
}

/// Runs the command.
pub(crate) fn run(args: &SendArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let (provider, kind) = args.what()?;
    if args.list {
        return list_kinds(provider, out);
    }
    let described = args.endpoint.read_to_sign(provider, None)?;
    let target = Target::parse(&described.url(args.to.as_ref(), "--to URL")?)?;
    let endpoint = described.endpoint.clone();
    let content = content(&endpoint, kind, args)?;
    let delivery = Delivery {
        signing: endpoint.signing().map_err(|error| Failure::new(error.to_string()))?,
        secret: described.signing_secret(content.is_test(&endpoint))?,
        content,
        id: args.event.id.clone(),
        at: args.event.at,
        flaw: args.flaws.flaw(),
        has_config: args.endpoint.has_config(),
        endpoint,
    };
    delivery.signer()?;
    let plan = course::Plan {
        times: args.course.repeat.unwrap_or(u32::from(args.course.concurrent)),
        at_once: usize::from(args.course.concurrent),
        new_events: args.course.new_events,
        limit: args.course.timeout.map_or_else(|| answer_timeout(&delivery.endpoint), Duration::from_secs),
        show_answer: args.course.show_answer,
    };
    let retries = args.course.retry.then(|| retries(&delivery.endpoint)).transpose()?;
    print_text(out, &format!("to {target}: {}\n", delivery.description()?))?;
    run_async(async {
        match retries {
            Some(retries) => course::retried(&delivery, &target, &plan, retries, args.course.time_scale, out).await,
            None => course::repeated(&delivery, &target, &plan, out).await,
        }
    })
}

impl SendArgs {
    /// Returns the provider, which a config file names instead, and the kind.
    fn what(&self) -> Result<(Option<NamedProvider>, Option<&str>), Failure> {
        match (self.provider.as_deref(), self.kind.as_deref()) {
            (Some(kind), None) if self.endpoint.has_config() && NamedProvider::of(kind).is_none() => {
                Ok((None, Some(kind)))
            }
            (Some(name), kind) => match NamedProvider::of(name) {
                Some(provider) => Ok((Some(provider), kind)),
                None => Err(Failure::new(format!(
                    "unknown provider; pass one of {}, or --config FILE with --endpoint NAME",
                    NamedProvider::names().join(", ")
                ))),
            },
            (None, kind) => Ok((None, kind)),
        }
    }
}

fn retries(endpoint: &Endpoint) -> Result<RetrySchedule, Failure> {
    let none = || Failure::new(format!("--retry: {} does not document a retry schedule", endpoint.provider));
    endpoint.known().and_then(|facts| facts.retries).ok_or_else(none)
}

fn content(endpoint: &Endpoint, kind: Option<&str>, args: &SendArgs) -> Result<Content, Failure> {
    if args.event.mode.is_some() && args.event.body.is_some() {
        return Err(Failure::new("--mode cannot be used with --body, whose bytes are sent unchanged"));
    }
    if let Some(path) = &args.event.body {
        let body = std::fs::read(path);
        let body = body.map_err(|error| Failure::because(format_args!("cannot read {}", path.display()), error))?;
        return Ok(Content::Exact(body.into()));
    }
    let mode = match (args.event.mode, endpoint.known().and_then(|facts| facts.pointers.mode)) {
        (None, Some(pointer)) if endpoint.mode == Some(SecretMode::Test) => Some((pointer, "test")),
        (None, _) => None,
        (Some(_), None) => return Err(Failure::new(format!("--mode does not apply to {}", endpoint.provider))),
        (Some(ModeArg::Live), Some(pointer)) => Some((pointer, "live")),
        (Some(ModeArg::Test), Some(pointer)) => Some((pointer, "test")),
    };
    let provider = match (&endpoint.custom, endpoint.known()) {
        (Some(custom), _) => return sample(custom, kind),
        (None, Some(facts)) => facts,
        (None, None) => return Err(Failure::new("unknown provider")),
    };
    // The default is for endpoints of a config file, whose command line should need nothing else.
    let default = || endpoint.pin_kind.as_deref().or_else(|| provider.kinds.first().map(|kind| kind.name));
    let Some(kind) = kind.or_else(|| default().filter(|_| args.endpoint.has_config())) else {
        return Err(Failure::new(format!(
            "no event kind given; pass KIND, as `medhook send {} --list` shows, or --body FILE",
            provider.name
        )));
    };
    let path = format!("{}/{kind}.json", provider.name);
    let Some(fixture) = fixtures().iter().find(|fixture| fixture.path() == path) else {
        return Err(Failure::new(format!(
            "{} has no event kind of that name; `medhook send {0} --list` shows all of them",
            provider.name
        )));
    };
    // The samples of some kinds have no mode; only --mode insists on it.
    let body = fixture.body();
    let has_mode =
        |pointer| serde_json::from_slice(&body).is_ok_and(|json: serde_json::Value| json.pointer(pointer).is_some());
    let mode = mode.filter(|(pointer, _)| args.event.mode.is_some() || has_mode(pointer));
    Ok(Content::Fixture { name: kind.to_owned(), body, mode })
}

/// Returns a sample of a custom provider.
fn sample(custom: &CustomProvider, kind: Option<&str>) -> Result<Content, Failure> {
    if kind.is_some() && custom.kind_pointer.is_none() {
        return Err(Failure::new(
            "KIND needs --kind-pointer (in the config file: kind_pointer), the place of the kind in the body",
        ));
    }
    let body = custom.sample(kind).map_err(|error| Failure::new(format!("{error}; pass --body FILE")))?;
    Ok(Content::Fixture { name: kind.unwrap_or("event").to_owned(), body, mode: None })
}

fn list_kinds(provider: Option<NamedProvider>, out: &mut dyn Write) -> Result<Verdict, Failure> {
    if matches!(provider, Some(NamedProvider::Custom)) {
        return Err(Failure::new("--list: the kinds of a custom provider are your own; any KIND can be sent"));
    }
    let wanted = |fixture: &&Fixture| provider.is_none_or(|provider| fixture.provider() == provider.name());
    let lines = fixtures().iter().filter(wanted).filter_map(|fixture| {
        let (provider, file) = fixture.path().split_once('/')?;
        Some(format!("{provider} {}\n", file.strip_suffix(".json")?))
    });
    print_text(out, &lines.collect::<String>())?;
    Ok(Verdict::Success)
}

//! `medhook send`: what a provider would send, to any endpoint.
//!
//! - `delivery`: a request as the provider would make it, or with one thing wrong with it
//! - `course`: how often it is sent, and what has to come back

mod course;
mod delivery;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use medhook::registry::RetrySchedule;
use medhook::testing::{Fixture, fixtures};

use self::delivery::{Content, Delivery, Flaw};
use crate::clock;
use crate::endpoint::{Dialect, Provider, SecretArgs, answer_timeout, provider_parser};
use crate::failure::Failure;
use crate::http_client::Target;
use crate::output::say;
use crate::runtime::run_async;
use crate::verdict::Verdict;

/// Send what a provider would send, signed as it would sign it.
///
/// KIND is a documented kind, or one of its variants: `--list` has them all. Its
/// body is made up, with a new id and the time of now in it, so that it is a new
/// event; with --body it is the bytes of a file, and nothing is put into them.
/// A secret comes from a variable or a file, never from an argument.
///
/// Each delivery is shown with its answer. The exit code is 0 if all answers are
/// as expected: 2xx for what is genuine, 4xx for what is tampered with, stale,
/// unsigned or signed with another secret; 1 if one is not, such as none within
/// the time that the provider waits; and 2 if that cannot be told, since nobody
/// listens or the arguments make no sense.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:\n  \
        medhook send --list\n  \
        medhook send healthsync document.uploaded --to http://127.0.0.1:3000/webhooks --secret-env HEALTHSYNC_SECRET\n  \
        medhook send cair CLAIM_STATUS_CHANGE --to https://staging.example.org/cair --secret-file cair.secret \\\n    \
        --scheme hmac-sha256 --header X-API-KEY --tamper\n  \
        medhook send fasten webhook.test --to http://127.0.0.1:3000/fasten --secret-env FASTEN_SECRET --retry --time-scale 3600"
)]
pub(crate) struct SendArgs {
    /// Who sends
    #[arg(required_unless_present = "list", value_parser = provider_parser())]
    provider: Option<Provider>,
    /// What is sent
    #[arg(required_unless_present_any = ["list", "body"], conflicts_with = "body")]
    kind: Option<String>,
    /// The endpoint, http:// or https://
    #[arg(long, value_name = "URL", required_unless_present = "list")]
    to: Option<String>,
    /// Show the kinds there are, of one provider or of all
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    keys: SecretArgs,
    #[command(flatten)]
    dialect: Dialect,
    #[command(flatten)]
    event: EventArgs,
    #[command(flatten)]
    flaws: Flaws,
    #[command(flatten)]
    course: Course,
}

/// What the event is like.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "The event")]
struct EventArgs {
    /// Send this file, byte for byte
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// The event's id, or what stands for it; by default a new one
    #[arg(long)]
    id: Option<String>,
    /// When it happens and is sent, in Unix seconds or like 2026-01-31T12:00:00Z; by default now
    #[arg(long, value_name = "TIME", value_parser = clock::parse, allow_negative_numbers = true)]
    at: Option<i64>,
    /// The mode it is of, if not the fixture's, where the provider has modes
    #[arg(long, value_enum)]
    mode: Option<ModeArg>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ModeArg {
    Live,
    Test,
}

/// At most one thing that is wrong with it.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
#[command(next_help_heading = "One thing that is wrong with it")]
struct Flaws {
    /// One bit of the body is flipped after it was signed
    #[arg(long)]
    tamper: bool,
    /// It is older than the provider's last retry could be
    #[arg(long, conflicts_with = "at")]
    stale: bool,
    /// Without the headers that prove it
    #[arg(long)]
    unsigned: bool,
    /// Signed with a secret that nobody has
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

/// How often, how fast, and what is shown.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How it is sent")]
struct Course {
    /// Send it so many times
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: Option<u32>,
    /// So many at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrent: u16,
    /// Make each a new event, instead of the same one again
    #[arg(long, conflicts_with_all = ["id", "body", "retry"])]
    new_events: bool,
    /// Try again as the provider would, until a 2xx
    #[arg(long, conflicts_with_all = ["repeat", "concurrent", "tamper", "stale", "unsigned", "wrong_secret"])]
    retry: bool,
    /// With --retry: so many seconds pass in one
    #[arg(long, value_name = "X", default_value_t = 1.0, requires = "retry", value_parser = factor)]
    time_scale: f64,
    /// How long an answer may take, in seconds; by default as long as the provider waits
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: Option<u64>,
    /// Show what the endpoint answers, up to 16 KiB
    #[arg(long)]
    show_answer: bool,
}

fn factor(text: &str) -> Result<f64, String> {
    let factor = text.parse().ok().filter(|factor: &f64| factor.is_finite() && (1e-3..=1e9).contains(factor));
    factor.ok_or_else(|| "not a number from 0.001 to 1000000000".to_owned())
}

/// Runs the command.
pub(crate) fn run(args: &SendArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    if args.list {
        return listed(args.provider, out);
    }
    let (Some(provider), Some(to)) = (args.provider, &args.to) else {
        return Err(Failure::new("a provider and --to are needed"));
    };
    let target = Target::parse(to)?;
    let endpoint = args.dialect.endpoint(provider)?;
    let delivery = Delivery {
        provider,
        signing: endpoint.signing().map_err(|error| Failure::new(error.to_string()))?,
        secret: args.keys.first()?,
        content: content(provider, args)?,
        id: args.event.id.clone(),
        at: args.event.at,
        flaw: args.flaws.flaw(),
        endpoint,
    };
    let plan = course::Plan {
        times: args.course.repeat.unwrap_or(u32::from(args.course.concurrent)),
        at_once: usize::from(args.course.concurrent),
        new_events: args.course.new_events,
        patience: args.course.timeout.map_or_else(|| answer_timeout(provider), Duration::from_secs),
        show_answer: args.course.show_answer,
    };
    let retries = args.course.retry.then(|| retries(provider)).transpose()?;
    say(out, &format!("to {target}: {}\n", delivery.in_words()?))?;
    run_async(async {
        match retries {
            Some(retries) => course::retried(&delivery, &target, &plan, retries, args.course.time_scale, out).await,
            None => course::repeated(&delivery, &target, &plan, out).await,
        }
    })
}

fn retries(provider: Provider) -> Result<RetrySchedule, Failure> {
    let none = || Failure::new(format!("{} documents no retries: there is no schedule to follow", provider.name));
    provider.retries.ok_or_else(none)
}

fn content(provider: Provider, args: &SendArgs) -> Result<Content, Failure> {
    if args.event.mode.is_some() && args.event.body.is_some() {
        return Err(Failure::new("--mode changes a made-up body, not the bytes of --body"));
    }
    if let Some(path) = &args.event.body {
        let body = std::fs::read(path);
        let body = body.map_err(|error| Failure::because(format_args!("cannot read {}", path.display()), error))?;
        return Ok(Content::Exact(body.into()));
    }
    let kind = args.kind.as_deref().unwrap_or_default();
    let path = format!("{}/{kind}.json", provider.name);
    let Some(fixture) = fixtures().iter().find(|fixture| fixture.path() == path) else {
        return Err(Failure::new(format!(
            "there is no fixture of {} by that name; medhook send --list {0} shows which there are",
            provider.name
        )));
    };
    let mode = match (args.event.mode, provider.pointers.mode) {
        (None, _) => None,
        (Some(_), None) => return Err(Failure::new(format!("events of {} have no --mode", provider.name))),
        (Some(ModeArg::Live), Some(pointer)) => Some((pointer, "live")),
        (Some(ModeArg::Test), Some(pointer)) => Some((pointer, "test")),
    };
    Ok(Content::Fixture { name: kind.to_owned(), body: fixture.body(), mode })
}

fn listed(provider: Option<Provider>, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let wanted = |fixture: &&Fixture| provider.is_none_or(|provider| fixture.provider() == provider.name);
    let lines = fixtures().iter().filter(wanted).filter_map(|fixture| {
        let (provider, file) = fixture.path().split_once('/')?;
        Some(format!("{provider} {}\n", file.strip_suffix(".json")?))
    });
    say(out, &lines.collect::<String>())?;
    Ok(Verdict::AllIsWell)
}

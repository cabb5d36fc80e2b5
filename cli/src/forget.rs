//! `medhook forget`: forgets that one event was handled.

use std::fs::File;
use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};

use medhook::inbox::Operator;
use medhook::{EventKey, Forgotten, Mode};

use crate::failure::Failure;
use crate::inbox::actor;
use crate::output::{print_error, print_text};
use crate::receive::{EndpointAccess, Opened, StoreAccess};
use crate::runtime::run_async;
use crate::verdict::Verdict;

/// Forget that an event was handled, so that it is handled when its provider sends it again.
///
/// Use it if a delivery was answered `duplicate` although the application never handled
/// the event: forget the event, then send it again from the provider's portal.
///
/// It fails while the event is being handled. If an unfinished row of the inbox has the
/// event, replay that row instead. Memory stores forget everything at a restart.
///
/// The exit code is 0 if the event is forgotten, 1 if there is no record of it, and 2 if
/// the command could not run.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:\n  \
        medhook forget --endpoint fasten --event-key 64_HEX_DIGITS --because \"ticket 4711\"\n  \
        medhook forget --endpoint fasten --id-file id.txt --because \"ticket 4711\""
)]
pub(crate) struct ForgetArgs {
    /// Config file of the receiver
    #[arg(long, value_name = "FILE", default_value = "medhook.toml")]
    config: PathBuf,
    /// Name of the endpoint
    #[arg(long, value_name = "NAME")]
    endpoint: String,
    /// Key of the event: 64 hexadecimal digits, from `medhook inbox list --json` or the JSON lines of `receive`
    #[arg(long, value_name = "HEX", required_unless_present = "id_file", conflicts_with = "id_file")]
    event_key: Option<String>,
    /// File with the id of the event as its provider sends it; ids can identify patients, so no option takes one
    #[arg(long, value_name = "FILE")]
    id_file: Option<PathBuf>,
    /// Name for the audit table; no spaces [default: the user of the operating system]
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Reason for the audit table, such as a ticket; required if the config file has an inbox; no health data
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
}

/// Runs the command.
pub(crate) fn run(args: &ForgetArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let access = StoreAccess::read(&args.config)?;
    let endpoint = endpoint(&access, &args.endpoint)?;
    let keys = match (&args.event_key, &args.id_file) {
        (Some(hex), _) => vec![key(hex)?],
        (None, Some(file)) => keys_of_id(endpoint, &id(file)?),
        (None, None) => return Err(Failure::new("name the event with --event-key or --id-file")),
    };
    let operator = access.has_inbox().then(|| operator(args)).transpose()?;
    run_async(async {
        let opened = access.store().await?;
        let mut found = Forgotten::NotFound;
        for key in keys {
            found = forget(&opened, &key, operator.as_ref()).await?;
            if found != Forgotten::NotFound {
                break;
            }
        }
        // A key contains the endpoint, but cannot be compared with its name.
        let endpoint = args.id_file.as_ref().map(|_| &*args.endpoint);
        report(found, endpoint, opened.inbox.is_some(), out)
    })
}

fn endpoint<'a>(access: &'a StoreAccess, name: &str) -> Result<&'a EndpointAccess, Failure> {
    access.endpoints.iter().find(|endpoint| endpoint.name == name).ok_or_else(|| {
        let names: Vec<_> = access.endpoints.iter().map(|endpoint| &*endpoint.name).collect();
        let (name, names) = (name.escape_debug(), names.join(", "));
        Failure::new(format!("--endpoint: the config file has no endpoint {name}; it has: {names}"))
    })
}

fn operator(args: &ForgetArgs) -> Result<Operator, Failure> {
    let because = args.because.as_deref().ok_or_else(|| {
        Failure::new("forgetting needs a reason for the audit table; add --because \"TEXT\" without health data")
    })?;
    let operator = Operator::new(actor(args.actor.as_deref())?, because);
    operator.map_err(|error| Failure::because("--actor or --because", error))
}

/// Parses a key. No message quotes it: it could be an id, passed by mistake.
fn key(hex: &str) -> Result<EventKey, Failure> {
    EventKey::from_hex(hex).ok_or_else(|| {
        let is_hex = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        Failure::new(match hex.len() {
            16 if is_hex => {
                "--event-key: these are the first 16 of 64 digits, as log lines show them; `medhook inbox list --json` \
                 and the JSON lines of `medhook receive` have all of them"
            }
            _ => {
                "--event-key must be 64 hexadecimal digits; if it is the id of the event, write it to a file and use \
                  --id-file"
            }
        })
    })
}

/// Reads an id. One trailing line break is removed.
fn id(file: &Path) -> Result<String, Failure> {
    let wrong = |problem: &str| Failure::new(format!("--id-file {}: {problem}", file.display()));
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(LONGEST_ID + 1).read_to_end(&mut bytes));
    read.map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > LONGEST_ID {
        return Err(wrong("is longer than every id; it must contain the id only"));
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8"))?;
    let text = text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() || text.contains('\n') {
        return Err(wrong("must contain the id of the event on one line, and nothing else"));
    }
    Ok(text.to_owned())
}

const LONGEST_ID: u64 = 64 * 1024;

/// Returns the keys that an event with this id can have. An endpoint accepts the events of one mode only, or its
/// provider sends none.
fn keys_of_id(endpoint: &EndpointAccess, id: &str) -> Vec<EventKey> {
    let modes = [None, Some(Mode::Live), Some(Mode::Test)];
    modes.iter().map(|mode| EventKey::of_id(&endpoint.provider, &endpoint.name, mode.as_ref(), id)).collect()
}

async fn forget(opened: &Opened, key: &EventKey, operator: Option<&Operator>) -> Result<Forgotten, Failure> {
    let forgotten = match (&opened.inbox, operator) {
        (Some(inbox), Some(operator)) => inbox.forget(key, operator).await,
        _ => opened.store.forget(*key).await,
    };
    forgotten.map_err(|error| Failure::new(error.to_string()))
}

fn report(
    forgotten: Forgotten,
    endpoint: Option<&str>,
    has_inbox: bool,
    out: &mut dyn Write,
) -> Result<Verdict, Failure> {
    match forgotten {
        Forgotten::Removed => {
            let recorded = if has_inbox { "; this was recorded" } else { "" };
            let endpoint = endpoint.map(|name| format!(" to {name}")).unwrap_or_default();
            print_text(out, &format!("forgotten: the next delivery of the event{endpoint} is handled{recorded}\n"))?;
            Ok(Verdict::Success)
        }
        Forgotten::NotFound => {
            print_error(
                "there is no record that this event was handled, so the next delivery of it is handled; if it is \
                 still answered `duplicate`, the endpoint, the key or the id is another one",
            );
            Ok(Verdict::Problem)
        }
        Forgotten::Claimed => Err(Failure::new(
            "the event is being handled now, so it was not forgotten; wait for the result, then run the command again",
        )),
        Forgotten::Unfinished { id } => Err(Failure::new(format!(
            "the event is in the inbox and not finished, so it was not forgotten; run `medhook inbox replay {id}` to \
             handle it now"
        ))),
        _ => Err(Failure::new("the store gave an answer that this medhook does not know")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_all_its_digits_and_is_never_quoted() {
        let hex = "ab".repeat(32);
        assert_eq!(key(&hex).unwrap().to_hex(), hex);
        for (text, problem) in [
            ("abababababababab", "first 16 of 64 digits"),
            ("patient-4711-abc", "use --id-file"),
            (hex.get(1..).unwrap(), "must be 64"),
            ("", "must be 64"),
        ] {
            let error = key(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
    }

    #[test]
    fn an_id_file_has_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("id");
        let read = |content: &[u8]| {
            std::fs::write(&file, content).unwrap();
            id(&file).map_err(|error| error.to_string())
        };
        assert_eq!(read(b"evt_1\n").unwrap(), "evt_1");
        assert_eq!(read(b" evt 1 \r\n").unwrap(), " evt 1 ", "spaces can be a part of it");
        for content in [&b""[..], b"\n", b"evt_1\nevt_2\n", b"\xff", &vec![b'x'; 70_000]] {
            let error = read(content).unwrap_err();
            assert!(error.starts_with("--id-file") && !error.contains("evt_"), "{error}");
        }
    }
}

//! Reads a recorded delivery.

use std::io::Read;
use std::path::{Path, PathBuf};

use medhook::Bytes;

use super::headers::{self, Head};
use crate::clock;
use crate::failure::Failure;
use crate::recording::LONGEST_BODY;

/// The files of a recorded delivery, and its time of arrival.
#[derive(Debug, clap::Args)]
pub(super) struct InputArgs {
    /// File that holds the headers; `-` is standard input
    #[arg(long, value_name = "FILE")]
    headers: Option<PathBuf>,
    /// File that holds the body; not needed if the --headers file holds it, too
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Delivery that `medhook capture` recorded, instead of --headers and --body
    #[arg(long, value_name = "DIR/NNNN", conflicts_with_all = ["headers", "body"])]
    capture: Option<PathBuf>,
    /// Time of arrival [default: that of the capture, or now]
    ///
    /// A Unix time in seconds, milliseconds (from 10^11), microseconds (from 10^14) or
    /// nanoseconds (from 10^17), 2026-01-31T12:00:00Z, `2026-01-31 13:00:00 +0100`, an
    /// HTTP date, or the time of an access log. A time without a zone is rejected.
    #[arg(
        long,
        value_name = "TIME",
        value_parser = clock::parse,
        allow_negative_numbers = true,
        verbatim_doc_comment
    )]
    at: Option<i64>,
}

/// A recorded delivery.
pub(super) struct Input {
    pub(super) head: Head,
    pub(super) body: Bytes,
    pub(super) at: i64,
    /// Remarks for the operator.
    pub(super) notes: Vec<String>,
}

const LONGEST_HEAD: u64 = 4 * 1024 * 1024;

impl InputArgs {
    pub(super) fn read(&self) -> Result<Input, Failure> {
        let (headers, body) = match (&self.capture, &self.headers) {
            (Some(capture), _) => {
                // `DIR/0001`, or one of its two files.
                let is_file = capture.extension().is_some_and(|extension| extension == "head" || extension == "body");
                let stem = if is_file { capture.with_extension("") } else { capture.clone() };
                (stem.with_added_extension("head"), Some(stem.with_added_extension("body")))
            }
            (None, Some(headers)) => (headers.clone(), self.body.clone()),
            (None, None) => return Err(Failure::new("no headers given; pass --headers FILE or --capture DIR/NNNN")),
        };
        if is_stdin(&headers) && body.as_deref().is_some_and(is_stdin) {
            return Err(Failure::new(
                "--headers and --body cannot both be standard input; write one of them to a file",
            ));
        }
        let mut head = headers::parse(&read(&headers, LONGEST_HEAD)?)?;
        let mut notes = Vec::new();
        let body = match (body, head.body.take()) {
            (Some(path), _) => read(&path, LONGEST_BODY as u64)?,
            (None, Some(body)) => {
                notes.push(
                    "the body is taken from the --headers file; such a file stores text, so that bytes may have \
                     changed"
                        .to_owned(),
                );
                body
            }
            (None, None) => return Err(Failure::new("no body given; pass --body FILE")),
        };
        if !head.redacted.is_empty() {
            let list: Vec<_> = head.redacted.iter().map(|one| format!("{} ({} bytes)", one.name, one.bytes)).collect();
            notes.push(format!("the capture did not record the values of these headers: {}", list.join(", ")));
        }
        let at = self.at.or(head.at).map_or_else(clock::now, Ok)?;
        Ok(Input { head, body: body.into(), at, notes })
    }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Reads a file of limited length.
fn read(path: &Path, longest: u64) -> Result<Vec<u8>, Failure> {
    let cannot = |error| Failure::because(format_args!("cannot read {}", path.display()), error);
    let mut bytes = Vec::new();
    let limit = longest.saturating_add(1);
    if is_stdin(path) {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(cannot)?;
    } else {
        std::fs::File::open(path).map_err(cannot)?.take(limit).read_to_end(&mut bytes).map_err(cannot)?;
    }
    if bytes.len() as u64 > longest {
        return Err(Failure::new(format!("{} is longer than {longest} bytes", path.display())));
    }
    Ok(bytes)
}

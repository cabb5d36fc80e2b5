//! Logs requests that reach no endpoint: unknown paths, and requests that are malformed. Any client can send them, so
//! the lines are limited, and never show what was sent.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use super::budget::Budget;
use crate::malformed::Malformed;

/// Requests that reached no endpoint and were counted instead of logged.
#[derive(Debug, Default)]
pub(super) struct Strays(Budget<Stray>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Stray {
    /// Requests for an unknown path, and the path of an endpoint that is nearly the same.
    Path(Option<(Difference, String)>),
    Malformed(Malformed),
}

/// The difference between an unknown path and the path of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Difference {
    Slash,
    LetterCase,
    LetterCaseAndSlash,
    Longer,
    Shorter,
}

impl Strays {
    /// Counts a request for a path that no endpoint has.
    pub(super) fn unknown_path<'p>(&self, path: &str, known: impl Iterator<Item = &'p str>) {
        self.count(Stray::Path(nearest(path, known)));
    }

    /// Counts a request that the server answered itself.
    pub(super) fn malformed(&self, malformed: Malformed) {
        self.count(Stray::Malformed(malformed));
    }

    /// Logs the counts that are due.
    pub(super) fn log_due(&self) {
        self.0.due().iter().for_each(|(stray, count)| stray.log(*count));
    }

    /// Logs all counts, for the end of the process.
    pub(super) fn log_rest(&self) {
        self.0.rest().iter().for_each(|(stray, count)| stray.log(*count));
    }

    fn count(&self, stray: Stray) {
        if self.0.spend(&stray) {
            stray.log(1);
        }
    }
}

impl Stray {
    fn log(&self, count: u64) {
        match self {
            Stray::Path(None) => tracing::warn!(
                count,
                "requests for unknown paths answered 404; compare the URL at the provider with the `path` keys of the \
                 config file"
            ),
            Stray::Path(Some((difference, path))) => {
                let difference = match difference {
                    Difference::Slash => "a trailing slash",
                    Difference::LetterCase => "letter case",
                    Difference::LetterCaseAndSlash => "letter case and a trailing slash",
                    Difference::Longer => "an added prefix, which a proxy may have to remove",
                    Difference::Shorter => "a missing prefix, which a proxy may have removed",
                };
                tracing::warn!(
                    count,
                    path,
                    "requests for unknown paths answered 404; they differ from the path of an endpoint only by \
                     {difference}"
                );
            }
            Stray::Malformed(malformed) => {
                let (status, cause) = (malformed.status(), malformed.cause());
                tracing::warn!(count, status, "malformed requests rejected; {cause}");
            }
        }
    }
}

/// Returns the known path that is most like an unknown one, if there is one that is nearly the same.
fn nearest<'p>(path: &str, known: impl Iterator<Item = &'p str>) -> Option<(Difference, String)> {
    let near = known.filter_map(|known| difference(path, known).map(|difference| (difference, known)));
    // The choice is the same each time, so that the number of lines is limited.
    let nearest = near.min_by_key(|(difference, known)| (*difference as u8, *known));
    nearest.map(|(difference, known)| (difference, known.to_owned()))
}

fn difference(path: &str, known: &str) -> Option<Difference> {
    let (asked, has) = (path.strip_suffix('/').unwrap_or(path), known.strip_suffix('/').unwrap_or(known));
    if asked == has {
        Some(Difference::Slash)
    } else if path.eq_ignore_ascii_case(known) {
        Some(Difference::LetterCase)
    } else if asked.eq_ignore_ascii_case(has) {
        Some(Difference::LetterCaseAndSlash)
    } else if known.len() > 1 && path.ends_with(known) {
        Some(Difference::Longer)
    } else if path.len() > 1 && known.ends_with(path) {
        Some(Difference::Shorter)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_path_that_is_nearly_that_of_an_endpoint_is_recognized() {
        let known = ["/webhooks/fasten", "/webhooks/cair", "/lab/"];
        for (path, expected) in [
            ("/webhooks/fasten/", Some((Difference::Slash, "/webhooks/fasten"))),
            ("/lab", Some((Difference::Slash, "/lab/"))),
            ("/Webhooks/Fasten", Some((Difference::LetterCase, "/webhooks/fasten"))),
            ("/WEBHOOKS/CAIR/", Some((Difference::LetterCaseAndSlash, "/webhooks/cair"))),
            ("/api/webhooks/fasten/", None),
            ("/api/webhooks/fasten", Some((Difference::Longer, "/webhooks/fasten"))),
            ("/cair", Some((Difference::Shorter, "/webhooks/cair"))),
            ("/", None),
            ("", None),
            ("*", None),
            ("/webhooks", None),
            ("/webhooks/fasten2", None),
        ] {
            let found = nearest(path, known.into_iter());
            assert_eq!(found, expected.map(|(difference, known)| (difference, known.to_owned())), "{path}");
        }
    }
}

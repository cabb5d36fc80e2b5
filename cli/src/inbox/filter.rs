//! The options that select events.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use medhook::inbox::{Filter, Status};

use crate::clock;
use crate::duration;

/// The events that a command concerns. Every option restricts them further.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct FilterOptions {
    /// Only events of this endpoint
    #[arg(long, value_name = "NAME")]
    pub(super) endpoint: Option<String>,
    /// Only events with this status
    #[arg(long, value_enum)]
    pub(super) status: Option<StatusName>,
    /// Only events of this documented kind; `unknown` selects all others
    #[arg(long)]
    pub(super) kind: Option<String>,
    /// Only events whose last attempt failed for this reason, such as status_503
    #[arg(long, value_name = "CODE")]
    pub(super) reason: Option<String>,
    /// Only events stored since then: a duration such as 2h, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = Since::parse)]
    pub(super) since: Option<Since>,
    /// At most this many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) limit: Option<u64>,
}

impl FilterOptions {
    pub(super) fn is_empty(&self) -> bool {
        let FilterOptions { endpoint, status, kind, reason, since, limit } = self;
        endpoint.is_none()
            && status.is_none()
            && kind.is_none()
            && reason.is_none()
            && since.is_none()
            && limit.is_none()
    }

    /// Returns the filter, whose limit is for one page.
    pub(super) fn filter(&self) -> Filter {
        let mut filter = Filter::new().limit(Filter::MOST);
        if let Some(endpoint) = &self.endpoint {
            filter = filter.endpoint(endpoint);
        }
        if let Some(status) = self.status {
            filter = filter.status(status.into());
        }
        if let Some(kind) = &self.kind {
            filter = filter.kind(kind);
        }
        if let Some(reason) = &self.reason {
            filter = filter.reason(reason);
        }
        if let Some(since) = self.since {
            filter = filter.stored_since(since.time(SystemTime::now()));
        }
        filter
    }
}

/// The status of events, as an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum StatusName {
    /// Will be attempted
    Waiting,
    /// A worker is handling it
    Processing,
    /// Was handled
    Done,
    /// Was given up; replay or discard it
    Dead,
    /// Was discarded by an operator
    Discarded,
}

impl From<StatusName> for Status {
    fn from(name: StatusName) -> Self {
        match name {
            StatusName::Waiting => Status::Waiting,
            StatusName::Processing => Status::Processing,
            StatusName::Done => Status::Done,
            StatusName::Dead => Status::Dead,
            StatusName::Discarded => Status::Discarded,
        }
    }
}

/// The earliest time of events, as an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    Before(Duration),
    /// Unix seconds.
    At(i64),
}

impl Since {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match duration::parse(text) {
            Ok(duration) => Ok(Since::Before(duration)),
            Err(problem) if is_like_a_duration(text) => Err(problem.to_owned()),
            Err(_) => clock::parse(text)
                .map(Since::At)
                .map_err(|problem| format!("{problem}; or a duration before now such as 90m, 2h or 3d")),
        }
    }

    pub(super) fn time(self, now: SystemTime) -> SystemTime {
        let time = match self {
            Since::Before(duration) => now.checked_sub(duration),
            Since::At(seconds) => {
                let distance = Duration::from_secs(seconds.unsigned_abs());
                if seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
            }
        };
        time.unwrap_or(UNIX_EPOCH)
    }
}

/// Returns whether a text begins as a duration does, and ends with a letter of a unit.
fn is_like_a_duration(text: &str) -> bool {
    text.len() <= 12 && text.starts_with(|c: char| c.is_ascii_digit()) && text.ends_with(['s', 'm', 'h', 'd'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_duration_or_a_time() {
        let now = UNIX_EPOCH + Duration::from_secs(10_000);
        for (text, seconds) in [("2h", 2_800), ("90m", 4_600), ("1970-01-01T00:20:00Z", 1_200), ("@1200", 1_200)] {
            let time = Since::parse(text).unwrap().time(now);
            assert_eq!(time, UNIX_EPOCH + Duration::from_secs(seconds), "{text}");
        }
        assert_eq!(Since::parse("3000d").unwrap().time(now), UNIX_EPOCH - Duration::from_secs(3_000 * 86_400 - 10_000));
        for (text, problem) in [
            ("2026-01-31", "has no time of day"),
            ("2026-01-31 12:00:00", "has no time zone"),
            ("yesterday", "or a duration before now"),
            ("0s", "greater than 0"),
            ("1.5h", "whole number"),
            ("", "must be"),
        ] {
            let error = Since::parse(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn a_filter_without_options_is_empty() {
        assert!(FilterOptions::default().is_empty());
        assert!(!FilterOptions { limit: Some(1), ..FilterOptions::default() }.is_empty());
        assert!(!FilterOptions { kind: Some(String::new()), ..FilterOptions::default() }.is_empty());
    }
}

//! The recent deliveries and attempts of this process.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::query::RecentQuery;
use super::state::Recent;

/// The last deliveries and attempts, in three lists of their own: a client without a secret cannot push verified ones
/// out, and a problem stays visible while many others succeed.
#[derive(Debug, Default)]
pub(in crate::receive) struct Recents {
    verified: Mutex<VecDeque<Recent>>,
    /// Verified deliveries that were rejected or failed, and attempts that failed.
    problems: Mutex<VecDeque<Recent>>,
    unverified: Mutex<VecDeque<Recent>>,
}

/// Each needs less than 1 KiB: the kind is cut, and all other values come from the config file or from the code.
const MOST_VERIFIED: usize = 400;
const MOST_PROBLEMS: usize = 100;
const MOST_UNVERIFIED: usize = 100;

impl Recents {
    pub(super) fn push(&self, recent: Recent, is_verified: bool) {
        let (ring, most) = match is_verified {
            true if is_problem(&recent) => (&self.problems, MOST_PROBLEMS),
            true => (&self.verified, MOST_VERIFIED),
            false => (&self.unverified, MOST_UNVERIFIED),
        };
        let mut ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.len() >= most {
            ring.pop_front();
        }
        ring.push_back(recent);
    }

    /// Returns those that `select` selects, newest first.
    pub(super) fn newest(&self, select: impl Fn(&Recent) -> bool) -> Vec<Recent> {
        Self::newest_of(&[&self.verified, &self.problems, &self.unverified], select)
    }

    fn newest_of(rings: &[&Mutex<VecDeque<Recent>>], select: impl Fn(&Recent) -> bool) -> Vec<Recent> {
        let mut newest = Vec::new();
        for ring in rings {
            let ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
            newest.extend(ring.iter().rev().filter(|recent| select(recent)).cloned());
        }
        newest.sort_by_key(|recent| std::cmp::Reverse(recent.time));
        newest
    }

    /// Returns the newest ones that an operator should know of, newest first, at most `most`. The last attempt at an
    /// event stands for those before it. Unverified deliveries take up to half of the places if others need the rest.
    pub(super) fn newest_problems(&self, most: usize) -> Vec<Recent> {
        let mut verified = Self::newest_of(&[&self.problems], is_problem);
        let mut events = HashSet::new();
        verified.retain(|problem| problem.attempt.as_ref().is_none_or(|attempt| events.insert(attempt.id)));
        let mut problems = Self::newest_of(&[&self.unverified], is_problem);
        verified.truncate(most.saturating_sub(problems.len().min(most / 2)));
        problems.truncate(most.saturating_sub(verified.len()));
        problems.append(&mut verified);
        problems.sort_by_key(|problem| std::cmp::Reverse(problem.time));
        problems
    }
}

impl RecentQuery {
    pub(super) fn selects(&self, recent: &Recent) -> bool {
        self.endpoint.as_deref().is_none_or(|endpoint| *recent.endpoint == *endpoint)
            && self.outcome.as_deref().is_none_or(|outcome| recent.outcome == outcome)
    }
}

/// Returns whether an operator should know of it: it was rejected or failed, and not only because it came again.
fn is_problem(recent: &Recent) -> bool {
    matches!(recent.outcome, "rejected" | "failed" | "retry" | "dead")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::state::RecentAttempt;
    use super::*;

    fn recent(seconds: usize, endpoint: &str, outcome: &'static str) -> Recent {
        Recent {
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds as u64),
            endpoint: endpoint.into(),
            outcome,
            reason: None,
            header: None,
            next_step: None,
            status: None,
            kind: None,
            event_key: None,
            secret: None,
            count: 1,
            attempt: None,
            upstream: None,
        }
    }

    #[test]
    fn unverified_deliveries_do_not_push_out_verified_ones() {
        let recents = Recents::default();
        recents.push(recent(0, "fasten", "stored"), true);
        for second in 1..=10_000 {
            recents.push(recent(second, "fasten", "rejected"), false);
        }
        let newest = recents.newest(|_| true);
        assert_eq!(newest.len(), MOST_UNVERIFIED + 1);
        assert_eq!((newest[0].outcome, newest[MOST_UNVERIFIED].outcome), ("rejected", "stored"));
    }

    #[test]
    fn successes_do_not_push_out_a_problem() {
        let recents = Recents::default();
        recents.push(recent(0, "fasten", "dead"), true);
        for second in 1..=10_000 {
            recents.push(recent(second, "fasten", "done"), true);
        }
        assert_eq!(recents.newest(is_problem).len(), 1);
        assert_eq!(recents.newest(|_| true).len(), MOST_VERIFIED + 1);
    }

    #[test]
    fn the_newest_come_first_and_the_oldest_are_forgotten() {
        let recents = Recents::default();
        for second in 0..=MOST_VERIFIED {
            recents.push(recent(second, "cair", "handled"), true);
        }
        recents.push(recent(7, "cair", "rejected"), false);
        let newest = recents.newest(|_| true);
        assert!(newest.is_sorted_by(|one, next| one.time >= next.time));
        assert_eq!((newest.len(), newest[0].time), (MOST_VERIFIED + 1, recent(MOST_VERIFIED, "", "").time));
        assert_eq!(newest.last().unwrap().time, recent(1, "", "").time);
    }

    #[test]
    fn a_query_selects_by_endpoint_and_outcome() {
        let recents = Recents::default();
        recents.push(recent(1, "cair", "stored"), true);
        recents.push(recent(2, "fasten", "stored"), true);
        recents.push(recent(3, "fasten", "dead"), true);
        let count = |endpoint: Option<&str>, outcome: Option<&str>| {
            let query = RecentQuery { endpoint: endpoint.map(Into::into), outcome: outcome.map(Into::into) };
            recents.newest(|recent| query.selects(recent)).len()
        };
        let counts = [count(None, None), count(Some("fasten"), None), count(Some("fasten"), Some("dead"))];
        assert_eq!(counts, [3, 2, 1]);
        assert_eq!(count(Some("fast"), None), 0);
        assert_eq!(recents.newest(is_problem).len(), 1);
    }

    #[test]
    fn of_the_attempts_at_an_event_only_the_last_is_a_problem_to_show() {
        let recents = Recents::default();
        let attempt = |second, id, number| {
            let attempt = RecentAttempt { id, number, is_replay: false, due: None };
            Recent { attempt: Some(attempt), ..recent(second, "lab", "retry") }
        };
        recents.push(attempt(1, 7, 1), true);
        recents.push(recent(2, "lab", "rejected"), false);
        recents.push(attempt(3, 8, 1), true);
        recents.push(attempt(4, 7, 2), true);
        let shown = recents.newest_problems(10);
        let shown: Vec<_> =
            shown.iter().map(|recent| recent.attempt.as_ref().map(|one| (one.id, one.number))).collect();
        assert_eq!(shown, [Some((7, 2)), Some((8, 1)), None]);
        assert_eq!(recents.newest(is_problem).len(), 4);
    }

    #[test]
    fn unverified_deliveries_take_at_most_half_of_the_problems_that_are_shown() {
        let shown = |verified: usize, unverified: usize| {
            let recents = Recents::default();
            (0..verified).for_each(|second| recents.push(recent(second, "lab", "dead"), true));
            (0..unverified).for_each(|second| recents.push(recent(1_000 + second, "lab", "rejected"), false));
            let shown = recents.newest_problems(10);
            let dead = shown.iter().filter(|recent| recent.outcome == "dead").count();
            (dead, shown.len() - dead)
        };
        assert_eq!([shown(20, 20), shown(2, 20), shown(20, 1), shown(3, 3)], [(5, 5), (2, 8), (9, 1), (3, 3)]);
        assert_eq!([shown(0, 20), shown(20, 0)], [(0, 10), (10, 0)]);
    }
}

//! One statement a step.
//!
//! Every time is the server's, and `clock_timestamp()`: `now()` stands still within a transaction. In `READ COMMITTED` a
//! statement sees what was committed when it began, but `ON CONFLICT DO UPDATE` looks at the newest version of its row,
//! waiting for whoever writes it: what decides about an event of `_events` stands in that clause and is judged there, and
//! leases are counted from there.

use std::sync::Arc;

use super::super::namespace::Namespace;

/// Text made once for each namespace, and prepared once on each connection.
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) claim: Arc<str>,
    pub(super) renew: Arc<str>,
    pub(super) commit: Arc<str>,
    pub(super) release: Arc<str>,
    pub(super) purge: [Arc<str>; TABLES],
    #[cfg(feature = "sqlx-09")]
    pub(super) commit_in: Arc<str>,
}

/// How many there are to purge.
pub(super) const TABLES: usize = 2;

impl Statements {
    pub(super) fn new(namespace: &Namespace) -> Self {
        let of = |text: &str| text.replace("{ns}", namespace.as_str()).into();
        Statements {
            claim: of(CLAIM),
            renew: of(RENEW),
            commit: of(COMMIT),
            release: of(RELEASE),
            purge: ["events", "committed"].map(|table| of(&PURGE.replace("{table}", table))),
            #[cfg(feature = "sqlx-09")]
            commit_in: of(COMMIT_IN),
        }
    }
}

/// Takes the event if nobody has it, if whoever had it ran out of time, or if it is the same claim sent again. A claim
/// that holds for longer than a fresh one would was made before the server's clock was set back: it is made as short.
///
/// `_committed` is read as of the statement's beginning. If a transaction with the event's effect commits after that and
/// its claim is released before this one is written, then this one is won though the event is handled; [`COMMIT_IN`] of
/// its handler is what finds out.
///
/// What is read about a claim not won may be older than what refused it; then the claim is asked for once more.
const CLAIM: &str = "
WITH taken AS (
    INSERT INTO {ns}_events AS e (key, token, handled, until)
    SELECT $1, $2, false, clock_timestamp() + make_interval(secs => $3)
    WHERE NOT EXISTS (SELECT FROM {ns}_committed AS c WHERE c.key = $1 AND c.until > clock_timestamp())
    ON CONFLICT (key) DO UPDATE SET
        token = CASE WHEN e.until <= clock_timestamp() THEN excluded.token ELSE e.token END,
        handled = false,
        until = clock_timestamp() + make_interval(secs => $3)
    WHERE e.until <= clock_timestamp()
        OR NOT e.handled AND (e.token = excluded.token OR e.until > clock_timestamp() + make_interval(secs => $3))
    RETURNING e.token = $2 AS won
)
SELECT
    (SELECT won FROM taken),
    EXISTS (SELECT FROM {ns}_committed AS c WHERE c.key = $1 AND c.until > clock_timestamp()),
    (SELECT handled FROM {ns}_events AS e WHERE e.key = $1 AND e.until > clock_timestamp()),
    (SELECT extract(epoch FROM e.until - clock_timestamp())::float8 FROM {ns}_events AS e WHERE e.key = $1)";

/// A row if it is done. Not even a run-out claim of another is taken over: it may have handled the event, too.
const RENEW: &str = "
INSERT INTO {ns}_events AS e (key, token, handled, until)
SELECT $1, $2, false, clock_timestamp() + make_interval(secs => $3)
WHERE NOT EXISTS (SELECT FROM {ns}_committed AS c WHERE c.key = $1 AND c.token <> $2 AND c.until > clock_timestamp())
ON CONFLICT (key) DO UPDATE SET
    until = CASE WHEN e.handled THEN e.until ELSE clock_timestamp() + make_interval(secs => $3) END
WHERE e.token = excluded.token
RETURNING true";

const COMMIT: &str = "
INSERT INTO {ns}_events AS e (key, token, handled, until)
SELECT $1, $2, true, clock_timestamp() + make_interval(secs => $3)
WHERE NOT EXISTS (SELECT FROM {ns}_committed AS c WHERE c.key = $1 AND c.token <> $2 AND c.until > clock_timestamp())
ON CONFLICT (key) DO UPDATE SET
    handled = true,
    until = CASE WHEN e.handled THEN e.until ELSE clock_timestamp() + make_interval(secs => $3) END
WHERE e.token = excluded.token
RETURNING true";

/// A row if it is done or there was nothing to do: nothing of another's.
const RELEASE: &str = "
WITH released AS (DELETE FROM {ns}_events WHERE key = $1 AND token = $2 AND NOT handled)
SELECT true WHERE NOT EXISTS (SELECT FROM {ns}_events WHERE key = $1 AND token <> $2)";

/// A row if it is done, within the application's transaction.
///
/// The unique key makes it one effect for each event, whatever became of leases: of two transactions that want to write
/// the same key the second waits until the first has ended, and then writes nothing. It is locked against nobody else:
/// claims and renewals only read this table, and read past what is not committed. The look at `_events` is a courtesy,
/// so that the loser of a claim loses before its successor is at this point.
#[cfg(feature = "sqlx-09")]
const COMMIT_IN: &str = "
INSERT INTO {ns}_committed AS c (key, token, until)
SELECT $1, $2, clock_timestamp() + make_interval(secs => $3)
WHERE NOT EXISTS (SELECT FROM {ns}_events AS e WHERE e.key = $1 AND e.token <> $2)
ON CONFLICT (key) DO UPDATE SET token = excluded.token, until = excluded.until
WHERE c.token = excluded.token OR c.until <= clock_timestamp()
RETURNING true";

/// Few rows at a time, and none that anybody else is at: a claim never waits for it longer than one of these takes.
/// An hour late, so that a holder who has lost its claim still finds out by whom. By `statement_timestamp()`, which
/// stands still: with a clock that does not, the index on `until` is of no use and every row is looked at.
const PURGE: &str = "
WITH old AS (
    SELECT key FROM {ns}_{table} WHERE until < statement_timestamp() - interval '1 hour'
    ORDER BY until LIMIT 500 FOR UPDATE SKIP LOCKED
), gone AS (DELETE FROM {ns}_{table} AS t USING old WHERE t.key = old.key RETURNING 1)
SELECT count(*) FROM gone";

//! The statements: one for each operation.
//!
//! All times are the server's `clock_timestamp()`, since `now()` does not advance within a transaction. In
//! `READ COMMITTED`, a statement sees the rows that were committed when it began, but `ON CONFLICT DO UPDATE` waits for
//! concurrent writers of its row and then sees the newest version. So the conditions on a row of `_events` are
//! evaluated in that clause, and leases begin when it is evaluated.

use std::sync::Arc;

use super::super::namespace::Namespace;

/// The statements of one namespace, each prepared once per connection.
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) claim: Arc<str>,
    pub(super) renew: Arc<str>,
    pub(super) commit: Arc<str>,
    pub(super) release: Arc<str>,
    pub(super) record: Arc<str>,
    pub(super) unrecord: Arc<str>,
    pub(super) purge: [Arc<str>; TABLES],
    #[cfg(feature = "sqlx-09")]
    pub(super) commit_in: Arc<str>,
}

/// The number of tables whose rows expire.
pub(super) const TABLES: usize = 3;

impl Statements {
    pub(super) fn new(namespace: &Namespace) -> Self {
        let of = |text: &str| text.replace("{ns}", namespace.as_str()).into();
        Statements {
            claim: of(CLAIM),
            renew: of(RENEW),
            commit: of(COMMIT),
            release: of(RELEASE),
            record: of(&RECORD.replace("{expired}", RECORD_EXPIRED)),
            unrecord: of(UNRECORD),
            purge: ["events", "committed", "bodies"].map(|table| of(&PURGE.replace("{table}", table))),
            #[cfg(feature = "sqlx-09")]
            commit_in: of(COMMIT_IN),
        }
    }
}

/// Acquires the event if it is not claimed, if the claim has expired, or if the same claim is repeated. A claim that
/// lasts longer than a new one would was made before the server's clock was set back, and is shortened to a new lease.
///
/// `_committed` is read as of the beginning of the statement. If a transaction with the event's effect commits after
/// that, and its claim is released before this one is written, then this one is acquired although the event is handled.
/// The [`COMMIT_IN`] of its handler detects that.
///
/// If the claim is not acquired, the rows that the final `SELECT` reads may be older than the row that prevented it.
/// The claim is then attempted again.
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
    RETURNING e.token = $2 AS acquired
)
SELECT
    (SELECT acquired FROM taken),
    EXISTS (SELECT FROM {ns}_committed AS c WHERE c.key = $1 AND c.until > clock_timestamp()),
    (SELECT handled FROM {ns}_events AS e WHERE e.key = $1 AND e.until > clock_timestamp()),
    (SELECT extract(epoch FROM e.until - clock_timestamp())::float8 FROM {ns}_events AS e WHERE e.key = $1)";

/// Returns a row if it took effect. An expired claim of another token is not taken over: its holder may have handled
/// the event, too.
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

/// Returns a row unless another token has the event.
const RELEASE: &str = "
WITH released AS (DELETE FROM {ns}_events WHERE key = $1 AND token = $2 AND NOT handled)
SELECT true WHERE NOT EXISTS (SELECT FROM {ns}_events WHERE key = $1 AND token <> $2)";

/// Returns a row if it took effect. Runs in the application's transaction.
///
/// The unique key ensures one effect per event, even if a lease has expired: of two transactions that write the same
/// key, the second waits until the first has ended, and then writes nothing. No other operation waits for this
/// lock: claims and renewals only read this table, and do not see uncommitted rows. The check of `_events` is an
/// optimization: the holder of a lost claim fails before its successor reaches this point.
#[cfg(feature = "sqlx-09")]
const COMMIT_IN: &str = "
INSERT INTO {ns}_committed AS c (key, token, until)
SELECT $1, $2, clock_timestamp() + make_interval(secs => $3)
WHERE NOT EXISTS (SELECT FROM {ns}_events AS e WHERE e.key = $1 AND e.token <> $2)
ON CONFLICT (key) DO UPDATE SET token = excluded.token, until = excluded.until
WHERE c.token = excluded.token OR c.until <= clock_timestamp()
RETURNING true";

/// Counts a delivery. A record whose period has ended begins anew, and so does one from before the server's clock was
/// set back.
const RECORD: &str = "
INSERT INTO {ns}_bodies AS b (key, deliveries, first_seen, until)
SELECT $1, 1, clock_timestamp(), clock_timestamp() + make_interval(secs => $2)
ON CONFLICT (key) DO UPDATE SET
    deliveries = CASE WHEN {expired} THEN 1 ELSE b.deliveries + 1 END,
    first_seen = CASE WHEN {expired} THEN excluded.first_seen ELSE b.first_seen END,
    until = CASE WHEN {expired} THEN excluded.until ELSE b.until END
RETURNING deliveries - 1, extract(epoch FROM clock_timestamp() - first_seen)::float8";

const RECORD_EXPIRED: &str = "b.until <= excluded.first_seen OR b.first_seen > clock_timestamp()";

const UNRECORD: &str = "
WITH counted AS (UPDATE {ns}_bodies SET deliveries = deliveries - 1 WHERE key = $1 AND deliveries > 1 RETURNING 1)
DELETE FROM {ns}_bodies WHERE key = $1 AND deliveries <= 1 AND NOT EXISTS (SELECT FROM counted)";

/// Deletes a small batch and skips locked rows, so a claim waits for at most one batch. Rows are deleted an hour after
/// they have expired, so that an expired claim still fences the holder of an earlier one. The comparison uses
/// `statement_timestamp()`, which is stable: with a volatile function PostgreSQL scans all rows instead of using the
/// index on `until`.
const PURGE: &str = "
WITH old AS (
    SELECT key FROM {ns}_{table} WHERE until < statement_timestamp() - interval '1 hour'
    ORDER BY until LIMIT 500 FOR UPDATE SKIP LOCKED
), gone AS (DELETE FROM {ns}_{table} AS t USING old WHERE t.key = old.key RETURNING 1)
SELECT count(*) FROM gone";

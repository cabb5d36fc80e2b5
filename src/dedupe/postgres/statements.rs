//! The statements: one for each operation.
//!
//! All times are the server's `clock_timestamp()`, since `now()` does not advance within a transaction. In
//! `READ COMMITTED`, a statement sees the rows that were committed when it began, but `ON CONFLICT DO UPDATE` waits for
//! concurrent writers of its row and then sees the newest version. So the conditions on a row of `_events` are
//! evaluated in that clause, and leases begin when it is evaluated.
//!
//! A statement may reach the server after its caller has stopped waiting, and after a later one with the same token. So
//! the row of an event remembers the tokens whose claims have ended without handling it (`ended`), and outlives its
//! claim: a released row has no token, and is purged like an expired one. A table of ended tokens would not do, since a
//! statement that waits for a row does not see what other tables contain by then.

use std::sync::Arc;

use super::location::Location;

/// The statements on the tables of one namespace, each prepared once per connection.
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) claim: Arc<str>,
    pub(super) renew: Arc<str>,
    pub(super) commit: Arc<str>,
    pub(super) release: Arc<str>,
    pub(super) record: Arc<str>,
    pub(super) failure: Arc<str>,
    pub(super) forget: Arc<str>,
    pub(super) purge: [Arc<str>; TABLES],
    #[cfg(feature = "sqlx-09")]
    pub(super) commit_in: Arc<str>,
}

/// The number of tables whose rows expire.
pub(super) const TABLES: usize = 3;

impl Statements {
    pub(super) fn new(location: &Location) -> Self {
        let of = |text: &str| {
            let text = text.replace("{own}", OWN).replace("{ended}", ENDED);
            text.replace("{ns}", location.in_database()).into()
        };
        Statements {
            claim: of(CLAIM),
            renew: of(RENEW),
            commit: of(COMMIT),
            release: of(RELEASE),
            record: of(&RECORD.replace("{full}", FULL).replace("{gone}", GONE).replace("{over}", OVER)),
            failure: of(FAILURE),
            forget: of(FORGET),
            purge: ["events", "committed", "bodies"].map(|table| of(&PURGE.replace("{table}", table))),
            #[cfg(feature = "sqlx-09")]
            commit_in: COMMIT_IN.replace("{ns}", location.in_server()).into(),
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
/// The claim is then attempted again. The same happens to a late claim, whose caller no longer waits.
const CLAIM: &str = "
WITH taken AS (
    INSERT INTO {ns}_events AS e (key, token, handled, until)
    SELECT $1, $2, false, clock_timestamp() + make_interval(secs => $3)
    WHERE NOT EXISTS (SELECT FROM {ns}_committed AS c WHERE c.key = $1 AND c.until > clock_timestamp())
    ON CONFLICT (key) DO UPDATE SET
        token = CASE WHEN e.token IS NULL OR e.until <= clock_timestamp() THEN excluded.token ELSE e.token END,
        handled = false,
        until = clock_timestamp() + make_interval(secs => $3)
    WHERE (
        e.token IS NULL OR e.until <= clock_timestamp()
        OR NOT e.handled AND (e.token = excluded.token OR e.until > clock_timestamp() + make_interval(secs => $3))
    ) AND ($2 = ANY (e.ended)) IS NOT TRUE
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
    token = excluded.token,
    until = CASE WHEN e.handled THEN e.until ELSE clock_timestamp() + make_interval(secs => $3) END
WHERE (e.token = excluded.token OR e.token IS NULL) AND ($2 = ANY (e.ended)) IS NOT TRUE
RETURNING true";

/// Returns a row if it took effect. If another token has the event, this one has ended nevertheless.
const COMMIT: &str = "
WITH written AS (
    INSERT INTO {ns}_events AS e (key, token, handled, until)
    SELECT $1, $2, true, clock_timestamp() + make_interval(secs => $3)
    WHERE NOT EXISTS (
        SELECT FROM {ns}_committed AS c WHERE c.key = $1 AND c.token <> $2 AND c.until > clock_timestamp()
    )
    ON CONFLICT (key) DO UPDATE SET
        token = coalesce(e.token, excluded.token),
        handled = e.handled OR {own},
        until = CASE WHEN {own} AND NOT e.handled THEN clock_timestamp() + make_interval(secs => $3)
            WHEN {own} THEN e.until ELSE greatest(e.until, clock_timestamp()) END,
        ended = CASE WHEN {own} THEN e.ended ELSE {ended} END
    RETURNING e.token
)
SELECT true FROM written WHERE token = $2";

/// Returns a row unless another token has the event.
const RELEASE: &str = "
WITH written AS (
    INSERT INTO {ns}_events AS e (key, token, handled, until, ended)
    VALUES ($1, NULL, false, clock_timestamp(), ARRAY[$2])
    ON CONFLICT (key) DO UPDATE SET
        token = CASE WHEN {own} AND NOT e.handled THEN NULL ELSE e.token END,
        until = CASE WHEN {own} AND NOT e.handled THEN clock_timestamp()
            ELSE greatest(e.until, clock_timestamp()) END,
        ended = {ended}
    RETURNING e.token
)
SELECT true FROM written WHERE token IS NULL OR token = $2";

/// The condition that no other token has the event.
const OWN: &str = "(e.token = $2 OR e.token IS NULL)";

/// The ended tokens with this one. There are at most 100, so that the row of an event whose handler always fails stays
/// small: a packet would have to be late by 100 claims of its event to restore a claim.
const ENDED: &str = "CASE WHEN $2 = ANY (e.ended) THEN e.ended ELSE (array_prepend($2, e.ended))[:100] END";

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

/// Counts a delivery, unless `{full}`: enough of them count in the current period. `{gone}`: the record has expired.
/// `{over}`: the period has ended. A time in the future is from before the server's clock was set back, and becomes the
/// present.
const RECORD: &str = "
INSERT INTO {ns}_bodies AS b (key, deliveries, first_seen, period_began, in_period, counted, until)
SELECT $1, 1, now, now, 1, true, now + make_interval(secs => $2) FROM clock_timestamp() AS now
ON CONFLICT (key) DO UPDATE SET
    deliveries = CASE WHEN {gone} THEN 1 WHEN {full} THEN b.deliveries ELSE b.deliveries + 1 END,
    first_seen = CASE WHEN {gone} THEN excluded.first_seen ELSE least(b.first_seen, excluded.first_seen) END,
    period_began = CASE WHEN {over} THEN excluded.first_seen ELSE least(b.period_began, excluded.first_seen) END,
    in_period = CASE WHEN {over} THEN 1 WHEN {full} THEN b.in_period ELSE b.in_period + 1 END,
    counted = {over} OR NOT {full},
    until = excluded.until
RETURNING deliveries - counted::int, extract(epoch FROM clock_timestamp() - first_seen)::float8,
    in_period - counted::int, extract(epoch FROM clock_timestamp() - period_began)::float8";

const GONE: &str = "b.until <= excluded.first_seen";
const OVER: &str = "(b.until <= excluded.first_seen \
                    OR b.period_began <= excluded.first_seen - make_interval(secs => $2))";
const FULL: &str = "(NOT {over} AND b.in_period >= $3)";

const FAILURE: &str = "UPDATE {ns}_bodies SET in_period = in_period - 1 WHERE key = $1 AND in_period > 0";

/// Forgets that an event was handled. The token of its row ends, so that a late renewal does not claim the event. A
/// record of the application's transaction stays while the event is claimed: its handler is still running.
///
/// Returns one row: whether a record was removed, and whether the event is claimed.
pub(super) const FORGET: &str = "
WITH event AS (
    UPDATE {ns}_events AS e SET
        token = NULL, handled = false, until = clock_timestamp(), ended = (array_prepend(e.token, e.ended))[:100]
    WHERE e.key = $1 AND e.handled AND e.until > clock_timestamp()
    RETURNING true
), claimed AS (
    SELECT FROM {ns}_events AS e
    WHERE e.key = $1 AND NOT e.handled AND e.token IS NOT NULL AND e.until > clock_timestamp()
), committed AS (
    DELETE FROM {ns}_committed AS c
    WHERE c.key = $1 AND c.until > clock_timestamp() AND NOT EXISTS (SELECT FROM claimed)
    RETURNING true
)
SELECT EXISTS (SELECT FROM event) OR EXISTS (SELECT FROM committed), EXISTS (SELECT FROM claimed)";

/// Deletes a small batch and skips locked rows, so a claim waits for at most one batch. Rows are deleted an hour after
/// they have expired, so that an expired claim still fences the holder of an earlier one, and late statements of ended
/// tokens are fenced: TCP repeats a packet for a quarter of an hour. The comparison uses `statement_timestamp()`, which
/// is stable: with a volatile function PostgreSQL scans all rows instead of using the index on `until`.
const PURGE: &str = "
WITH old AS (
    SELECT key FROM {ns}_{table} WHERE until < statement_timestamp() - interval '1 hour'
    ORDER BY until LIMIT 500 FOR UPDATE SKIP LOCKED
), gone AS (DELETE FROM {ns}_{table} AS t USING old WHERE t.key = old.key RETURNING 1)
SELECT count(*) FROM gone";

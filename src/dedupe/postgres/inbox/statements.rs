//! The statements of the inbox. As with those of the store, times are the server's, and leases begin when the row is
//! locked. The rules that all databases share decide about a row, so most operations lock it, apply a rule and write it
//! back in one transaction.

use std::sync::Arc;

use super::super::location::Location;
use super::row::{columns, ms};

/// The statements on the tables of one namespace, each prepared once per connection.
#[derive(Debug)]
pub(in super::super) struct InboxStatements {
    /// The beginning of the tables' names.
    pub(super) ns: Arc<str>,
    pub(super) store: Arc<str>,
    /// For a worker that handles other events, and for one that is alone.
    pub(super) next: [Arc<str>; 2],
    pub(super) rows: RowStatements,
    /// [`RowStatements`] for transactions of the application.
    #[cfg(feature = "sqlx-09")]
    pub(super) rows_in: RowStatements,
    pub(super) forget: Arc<str>,
    pub(super) counts: Arc<str>,
    /// The same of one endpoint, and without its dead rows.
    pub(super) counts_of: Arc<str>,
    pub(super) unfinished_of: Arc<str>,
    pub(super) count_kinds: Arc<str>,
    pub(super) oldest_of: Arc<str>,
    pub(super) purge: [Arc<str>; 4],
}

/// The statements on the row of one event.
#[derive(Debug, Clone)]
pub(super) struct RowStatements {
    pub(super) lock: Arc<str>,
    pub(super) write: Arc<str>,
    pub(super) delete_body: Arc<str>,
}

impl InboxStatements {
    pub(in super::super) fn new(location: &Location) -> Self {
        let ns = location.in_database();
        let next = |which: &str| NEXT.replace("{which}", which).replace("{columns}", &columns());
        let of = |text: &str| Arc::from(text.replace("{ns}", ns));
        let counts = |of: &str, dead: &str| {
            let control = if of.is_empty() { "" } else { " WHERE c.endpoint IN ('', $1)" };
            let text = COUNTS.replace("{dead}", dead).replace("{of}", of).replace("{control}", control);
            text.replace("{oldest}", &ms("min(i.stored_at)")).replace("{since}", &ms("c.stored_since"))
        };
        let purge_rows = |which: &str| of(&PURGE_ROWS.replace("{which}", which));
        InboxStatements {
            ns: ns.into(),
            store: of(STORE),
            next: [of(&next("0")), of(&next("1"))],
            rows: RowStatements::new(ns),
            #[cfg(feature = "sqlx-09")]
            rows_in: RowStatements::new(location.in_server()),
            forget: of(super::super::statements::FORGET),
            counts: of(&counts("", DEAD)),
            counts_of: of(&counts(" AND i.endpoint = $1", DEAD)),
            unfinished_of: of(&counts(" AND i.endpoint = $1", "")),
            count_kinds: of(COUNT_KINDS),
            oldest_of: of(&OLDEST_OF.replace("{age}", &ms("clock_timestamp() - old.stored_at"))),
            purge: [
                of(PURGE_BODIES),
                purge_rows("i.status = 3"),
                purge_rows("i.status = 2 AND NOT i.has_body"),
                purge_rows("i.status = 4 AND NOT i.has_body"),
            ],
        }
    }
}

impl RowStatements {
    fn new(ns: &str) -> Self {
        RowStatements {
            lock: format!("SELECT {} FROM {ns}_inbox AS i WHERE i.id = $1 FOR UPDATE", columns()).into(),
            write: WRITE.replace("{ns}", ns).into(),
            delete_body: format!("DELETE FROM {ns}_inbox_bodies WHERE id = $1").into(),
        }
    }
}

/// Writes the event's record as handled, its row and its body, or nothing.
///
/// The second of two calls for one event waits for the first at the row of `_events`, and then finds it handled. A
/// record that has expired does not admit the event while its row is unfinished. If such a row appears at the same time
/// (a replay), the row is not written, and the new record is that of the other row. A claim that lasts longer than the
/// retention was made before the server's clock was set back.
///
/// Times are truncated to milliseconds, so that a time that was read selects its row.
///
/// If nothing was written, the rows that the final `SELECT` reads may be older than the row that prevented it. The call
/// is then attempted again.
const STORE: &str = "
WITH mark AS (
    INSERT INTO {ns}_events AS e (key, token, handled, until)
    SELECT $1, $2, true, clock_timestamp() + make_interval(secs => $3)
    WHERE NOT EXISTS (SELECT FROM {ns}_committed AS c WHERE c.key = $1 AND c.until > clock_timestamp())
        AND NOT EXISTS (SELECT FROM {ns}_inbox AS i WHERE i.row_key = $4 AND i.status IN (0, 1))
        AND NOT EXISTS (SELECT FROM {ns}_inbox AS i WHERE i.stored_by = $2)
    ON CONFLICT (key) DO UPDATE SET
        token = excluded.token, handled = true, until = clock_timestamp() + make_interval(secs => $3)
    WHERE e.token IS NULL OR e.until <= clock_timestamp()
        OR NOT e.handled AND (e.token = excluded.token OR e.until > clock_timestamp() + make_interval(secs => $3))
    RETURNING e.until
), stored AS (
    INSERT INTO {ns}_inbox
        (row_key, stored_by, endpoint, provider, kind, secret, size, sealed_key, due, stored_at, mark_until)
    SELECT $4, $2, $5, $6, $7, $8, $9, $10, now, now, mark.until
    FROM mark, date_trunc('milliseconds', clock_timestamp()) AS now
    ON CONFLICT DO NOTHING
    RETURNING id
), body AS (
    INSERT INTO {ns}_inbox_bodies (id, sealed) SELECT id, $11 FROM stored
)
SELECT
    coalesce((SELECT id FROM stored), (SELECT i.id FROM {ns}_inbox AS i WHERE i.stored_by = $2)),
    EXISTS (SELECT FROM mark)
        OR EXISTS (SELECT FROM {ns}_committed AS c WHERE c.key = $1 AND c.until > clock_timestamp())
        OR EXISTS (SELECT FROM {ns}_inbox AS i WHERE i.row_key = $4 AND i.status IN (0, 1)),
    (SELECT handled FROM {ns}_events AS e WHERE e.key = $1 AND e.until > clock_timestamp()),
    (SELECT extract(epoch FROM e.until - clock_timestamp())::float8 FROM {ns}_events AS e WHERE e.key = $1)";

/// Locks the row to lease: the one that the token has already, else the first that is due with the status `{which}`,
/// which no other transaction has locked. Returns one row, without the columns of an event if there is none.
///
/// The columns are read where the row is locked, since another part of the statement could see an older version. The
/// comparisons use `statement_timestamp()`, which is stable: with a volatile function, PostgreSQL does not use it as a
/// condition of the index. `stored_at` is a column of the index, so that rows on hold are skipped without being read.
const NEXT: &str = "
WITH control AS MATERIALIZED (
    SELECT coalesce(bool_or(c.paused), false) AS paused, coalesce(max(c.stored_since), '-infinity') AS since
    FROM {ns}_inbox_control AS c WHERE c.endpoint IN ('', $1)
), own AS MATERIALIZED (
    SELECT {columns} FROM {ns}_inbox AS i WHERE i.token = $2 AND i.status = 1 AND i.endpoint = $1 FOR UPDATE
), next AS MATERIALIZED (
    SELECT {columns} FROM {ns}_inbox AS i
    WHERE NOT EXISTS (SELECT FROM own) AND NOT (SELECT paused FROM control)
        AND i.endpoint = $1 AND i.status = {which} AND i.due <= statement_timestamp()
        AND i.stored_at >= (SELECT since FROM control)
    ORDER BY i.due, i.id LIMIT 1 FOR UPDATE SKIP LOCKED
)
SELECT
    (SELECT paused FROM control) AS paused,
    (SELECT count(*) FROM (
        SELECT FROM {ns}_inbox AS i
        WHERE i.endpoint = $1 AND i.status = 1 AND i.due <= statement_timestamp()
            AND i.stored_at >= (SELECT since FROM control)
        LIMIT 2
    ) AS expired) AS suspects,
    (SELECT extract(epoch FROM i.due - clock_timestamp())::float8 FROM {ns}_inbox AS i
        WHERE i.endpoint = $1 AND i.status = 0 AND i.stored_at >= (SELECT since FROM control)
        ORDER BY i.due, i.id LIMIT 1) AS next_due,
    event.*
FROM (VALUES (1)) AS one LEFT JOIN (SELECT * FROM own UNION ALL SELECT * FROM next) AS event ON true";

/// Writes a row back, and returns its body if `$12` is set.
const WRITE: &str = "
UPDATE {ns}_inbox AS i SET
    status = $2, due = to_timestamp($3::bigint::float8 / 1000), token = $4, attempts = $5, crashes = $6, alone = $7,
    replays = $8, reason = $9, ended_at = to_timestamp($10::bigint::float8 / 1000), has_body = $11
WHERE i.id = $1
RETURNING (SELECT b.sealed FROM {ns}_inbox_bodies AS b WHERE b.id = i.id AND $12) AS sealed";

/// Each part reads an index only. The last part returns the pauses and the hold. `{of}` restricts it to one endpoint.
const COUNTS: &str = "
SELECT i.endpoint, 0::smallint AS status, count(*) AS count, sum(i.size)::bigint AS bytes, {oldest} AS at,
    false AS paused
FROM {ns}_inbox AS i WHERE i.status = 0{of} GROUP BY i.endpoint
UNION ALL
SELECT i.endpoint, 1::smallint, count(*), sum(i.size)::bigint, {oldest}, false
FROM {ns}_inbox AS i WHERE i.status = 1{of} GROUP BY i.endpoint
UNION ALL
{dead}SELECT c.endpoint, NULL, 0, 0, {since}, c.paused FROM {ns}_inbox_control AS c{control}";
const DEAD: &str = "SELECT i.endpoint, 3::smallint, count(*), sum(i.size)::bigint, NULL, false
FROM {ns}_inbox AS i WHERE i.status = 3{of} GROUP BY i.endpoint
UNION ALL
";

/// Reads at most `$1` rows of each status, and each part an index only, whose order is requested: otherwise PostgreSQL
/// might read the table until it has found as many rows.
const COUNT_KINDS: &str = "
SELECT endpoint, status, kind, count(*) FROM (
    (SELECT i.endpoint, 0::smallint AS status, i.kind FROM {ns}_inbox AS i WHERE i.status = 0
        ORDER BY i.endpoint LIMIT $1)
    UNION ALL
    (SELECT i.endpoint, 1::smallint, i.kind FROM {ns}_inbox AS i WHERE i.status = 1
        ORDER BY i.endpoint LIMIT $1)
    UNION ALL
    (SELECT i.endpoint, 3::smallint, i.kind FROM {ns}_inbox AS i WHERE i.status = 3
        ORDER BY i.endpoint LIMIT $1)
) AS counted GROUP BY endpoint, status, kind";

/// Returns the id and the age of the oldest unfinished event of a kind. Each part reads an index only.
const OLDEST_OF: &str = "
SELECT old.id, {age} FROM (
    SELECT i.id, i.stored_at FROM {ns}_inbox AS i WHERE i.status = 0 AND i.endpoint = $1 AND i.kind = $2
    UNION ALL
    SELECT i.id, i.stored_at FROM {ns}_inbox AS i WHERE i.status = 1 AND i.endpoint = $1 AND i.kind = $2
) AS old ORDER BY old.stored_at, old.id LIMIT 1";

/// Deletes bodies of done events. Skips rows that are locked, and evaluates the status where the row is locked.
const PURGE_BODIES: &str = "
WITH old AS MATERIALIZED (
    SELECT i.id FROM {ns}_inbox AS i
    WHERE i.endpoint = $1 AND i.status = 2 AND i.has_body
        AND i.ended_at < statement_timestamp() - make_interval(secs => $2)
    ORDER BY i.ended_at LIMIT 500 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM {ns}_inbox_bodies AS b USING old WHERE b.id = old.id
), without AS (
    UPDATE {ns}_inbox AS i SET has_body = false FROM old WHERE i.id = old.id RETURNING 1
)
SELECT count(*) AS bodies, 0::bigint AS rows FROM without";

/// Deletes rows whose record as handled has expired, with their bodies.
const PURGE_ROWS: &str = "
WITH old AS MATERIALIZED (
    SELECT i.id, i.has_body FROM {ns}_inbox AS i
    WHERE i.endpoint = $1 AND {which} AND i.status >= 2
        AND i.ended_at < statement_timestamp() - make_interval(secs => $2) AND i.mark_until <= statement_timestamp()
    ORDER BY i.ended_at LIMIT 500 FOR UPDATE SKIP LOCKED
), bodies AS (
    DELETE FROM {ns}_inbox_bodies AS b USING old WHERE b.id = old.id
), gone AS (
    DELETE FROM {ns}_inbox AS i USING old WHERE i.id = old.id RETURNING old.has_body
)
SELECT count(*) FILTER (WHERE has_body) AS bodies, count(*) AS rows FROM gone";

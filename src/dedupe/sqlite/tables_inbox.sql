CREATE TABLE IF NOT EXISTS medhook_inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    row_key BLOB NOT NULL CHECK (length(row_key) = 32),
    stored_by BLOB NOT NULL CHECK (length(stored_by) = 16),
    endpoint TEXT NOT NULL,
    provider TEXT NOT NULL,
    kind TEXT NOT NULL,
    secret TEXT NOT NULL, -- its label
    size INTEGER NOT NULL, -- bytes of the body before it was sealed
    stored_at INTEGER NOT NULL, -- milliseconds since 1970, as all times
    mark_until INTEGER NOT NULL, -- the end of the event's record in medhook_events
    -- 0 waiting, 1 processing, 2 done, 3 dead, 4 discarded
    status INTEGER NOT NULL CHECK (status BETWEEN 0 AND 4),
    due INTEGER NOT NULL, -- the next attempt, or the end of the lease
    token BLOB CHECK (length(token) = 16),
    attempts INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    alone INTEGER NOT NULL CHECK (alone IN (0, 1)),
    replays INTEGER NOT NULL,
    reason TEXT,
    ended_at INTEGER,
    sealed_key BLOB NOT NULL,
    body_begins BLOB -- with the id of its key; NULL if there is no body
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS medhook_inbox_stored_by ON medhook_inbox (stored_by);
CREATE UNIQUE INDEX IF NOT EXISTS medhook_inbox_unfinished
    ON medhook_inbox (row_key) WHERE status IN (0, 1);
CREATE INDEX IF NOT EXISTS medhook_inbox_waiting
    ON medhook_inbox (endpoint, due, id, stored_at, size, kind)
    WHERE status = 0;
CREATE INDEX IF NOT EXISTS medhook_inbox_processing
    ON medhook_inbox (endpoint, due, id, stored_at, size, kind)
    WHERE status = 1;
CREATE INDEX IF NOT EXISTS medhook_inbox_dead
    ON medhook_inbox (endpoint, id, size, kind) WHERE status = 3;
CREATE INDEX IF NOT EXISTS medhook_inbox_ended_body
    ON medhook_inbox (endpoint, status, ended_at, size)
    WHERE status >= 2 AND body_begins IS NOT NULL;
CREATE INDEX IF NOT EXISTS medhook_inbox_ended
    ON medhook_inbox (endpoint, status, ended_at, mark_until, body_begins)
    WHERE status >= 2 AND body_begins IS NULL;
CREATE TABLE IF NOT EXISTS medhook_inbox_bodies (
    id INTEGER PRIMARY KEY REFERENCES medhook_inbox (id),
    -- Zeros as long as a page, so that no part of the body shares a page with others.
    cover BLOB NOT NULL,
    sealed BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS medhook_inbox_control (
    endpoint TEXT NOT NULL PRIMARY KEY, -- '' for all endpoints
    held_before INTEGER NOT NULL -- earlier events are not leased
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS medhook_inbox_keys (
    key_id BLOB NOT NULL PRIMARY KEY CHECK (length(key_id) = 4),
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS medhook_inbox_audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS medhook_inbox_audit_event
    ON medhook_inbox_audit (subject, id) WHERE action IN ('replay', 'discard', 'body');
CREATE TABLE IF NOT EXISTS medhook_inbox_schema (version INTEGER NOT NULL) STRICT;
INSERT INTO medhook_inbox_schema (version) SELECT 1
    WHERE NOT EXISTS (SELECT 1 FROM medhook_inbox_schema);

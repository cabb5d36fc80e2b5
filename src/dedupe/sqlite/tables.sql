CREATE TABLE IF NOT EXISTS medhook_events (
    key BLOB NOT NULL PRIMARY KEY CHECK (length(key) = 32),
    token BLOB NOT NULL CHECK (length(token) = 16),
    handled INTEGER NOT NULL CHECK (handled IN (0, 1)),
    until INTEGER NOT NULL -- milliseconds since 1970
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS medhook_events_until ON medhook_events (until);
CREATE TABLE IF NOT EXISTS medhook_bodies (
    key BLOB NOT NULL PRIMARY KEY CHECK (length(key) = 32),
    deliveries INTEGER NOT NULL,
    first_seen INTEGER NOT NULL, -- milliseconds since 1970
    period_began INTEGER NOT NULL, -- milliseconds since 1970
    in_period INTEGER NOT NULL,
    counted INTEGER NOT NULL CHECK (counted IN (0, 1)),
    until INTEGER NOT NULL -- milliseconds since 1970
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS medhook_bodies_until ON medhook_bodies (until);
CREATE TABLE IF NOT EXISTS medhook_schema (version INTEGER NOT NULL) STRICT;
INSERT INTO medhook_schema (version) SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM medhook_schema);

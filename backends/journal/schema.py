"""The journal's tables."""

from backends.database import Component

_VERSION_1 = """
-- One row when a call is let in or refused, one when it ends. Rows are kept; each hash covers
-- the one before it too.
CREATE TABLE audit(
    seq INTEGER PRIMARY KEY,
    phase TEXT NOT NULL CHECK(phase IN ('open', 'close', 'refuse')),
    request_id TEXT NOT NULL,
    agent TEXT NOT NULL,
    op TEXT NOT NULL,
    target TEXT NOT NULL,
    digest TEXT NOT NULL,
    outcome TEXT NOT NULL,
    at REAL NOT NULL,
    tokens INTEGER NOT NULL,
    micro_usd INTEGER NOT NULL,
    queue_ms REAL NOT NULL,
    run_ms REAL NOT NULL,
    place TEXT NOT NULL,
    hash BLOB NOT NULL
) STRICT;
CREATE INDEX audit_request ON audit(request_id);
CREATE INDEX audit_agent ON audit(agent, seq);
CREATE TRIGGER audit_keep BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit is kept'); END;
CREATE TRIGGER audit_stay BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit is kept'); END;

CREATE TABLE account(
    account TEXT NOT NULL,
    period TEXT NOT NULL,
    unit TEXT NOT NULL,
    spent INTEGER NOT NULL DEFAULT 0 CHECK(spent >= 0),
    held INTEGER NOT NULL DEFAULT 0 CHECK(held >= 0),
    PRIMARY KEY(account, period, unit)
) STRICT, WITHOUT ROWID;

-- The processes that share this file: what one left open when it died is settled by the next.
CREATE TABLE kernel(id TEXT PRIMARY KEY, pid INTEGER NOT NULL, started TEXT NOT NULL)
    STRICT, WITHOUT ROWID;

CREATE TABLE open_call(
    request_id TEXT PRIMARY KEY,
    kernel TEXT NOT NULL REFERENCES kernel(id),
    agent TEXT NOT NULL,
    op TEXT NOT NULL,
    target TEXT NOT NULL,
    digest TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE hold(
    request_id TEXT NOT NULL REFERENCES open_call(request_id) ON DELETE CASCADE,
    account TEXT NOT NULL,
    period TEXT NOT NULL,
    unit TEXT NOT NULL,
    amount INTEGER NOT NULL,
    PRIMARY KEY(request_id, account, period, unit)
) STRICT, WITHOUT ROWID;

-- Idempotency keys. A call that fails frees its key; one whose process died leaves it unknown.
CREATE TABLE once(
    agent TEXT NOT NULL,
    key TEXT NOT NULL,
    digest TEXT NOT NULL,
    request_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK(state IN ('running', 'done', 'unknown')),
    answer TEXT,
    created REAL NOT NULL,
    PRIMARY KEY(agent, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX once_request ON once(request_id);
CREATE INDEX once_created ON once(created);
"""

_VERSION_2 = """
-- JSON: account, period, unit and amount of each hold, one after the other.
ALTER TABLE open_call ADD COLUMN holds TEXT NOT NULL DEFAULT '[]';
UPDATE open_call SET holds = (
    SELECT format('[%s]', group_concat(format(
        '%s,%s,%s,%d', json_quote(account), json_quote(period), json_quote(unit), amount
    )))
    FROM hold WHERE hold.request_id = open_call.request_id
);
DROP TABLE hold;
"""

JOURNAL = Component("journal", (_VERSION_1, _VERSION_2))

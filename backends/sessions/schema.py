"""The session store's tables."""

from backends.database import Component

_VERSION_1 = """
CREATE TABLE exchange(
    no INTEGER PRIMARY KEY AUTOINCREMENT,
    agent TEXT NOT NULL,
    session TEXT NOT NULL,
    request TEXT NOT NULL,
    asked TEXT NOT NULL,
    answered TEXT NOT NULL,
    at REAL NOT NULL,
    due REAL, -- when memories may be extracted from it; NULL for never, or no more
    tries INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX exchange_session ON exchange(agent, session, no);
CREATE INDEX exchange_agent ON exchange(agent, no);
CREATE INDEX exchange_at ON exchange(at);
CREATE INDEX exchange_due ON exchange(agent, session, no) WHERE due IS NOT NULL;
"""

SESSIONS = Component("sessions", (_VERSION_1,))

"""The last exchanges of sessions in the database, and which of them wait for extraction."""

from backends.sessions.schema import SESSIONS
from backends.sessions.store import SqliteSessions

__all__ = ["SESSIONS", "SqliteSessions"]

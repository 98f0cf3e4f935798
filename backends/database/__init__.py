"""One SQLite file for all that must be durable together: group commit, readers, migrations."""

from backends.database.database import Database, open_database
from backends.database.migrations import Component
from backends.database.rows import Value, Values, fetch, fetch_one, insert
from backends.database.scrubbing import scrub

__all__ = [
    "Component",
    "Database",
    "Value",
    "Values",
    "fetch",
    "fetch_one",
    "insert",
    "open_database",
    "scrub",
]

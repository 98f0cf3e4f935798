"""Audit trail and ledger in the database."""

from backends.journal.journal import SqliteJournal
from backends.journal.schema import JOURNAL

__all__ = ["JOURNAL", "SqliteJournal"]

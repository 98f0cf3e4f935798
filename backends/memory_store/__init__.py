"""Memories in the database: one partition per agent, found by meaning and by words."""

from backends.memory_store.checks import check_memories
from backends.memory_store.store import SqliteMemoryStore
from backends.memory_store.upgrades import MEMORY_STORE
from backends.memory_store.upkeep import keep_in_order

__all__ = ["MEMORY_STORE", "SqliteMemoryStore", "check_memories", "keep_in_order"]

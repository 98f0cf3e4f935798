"""Memories in PostgreSQL with pgvector, for several kernels that share them."""

from backends.postgres_memory.connections import PostgresSettings
from backends.postgres_memory.store import PostgresMemoryStore, open_postgres_memory

__all__ = ["PostgresMemoryStore", "PostgresSettings", "open_postgres_memory"]

"""The tables, in a schema of their own.

Every memory is in `memory` with all its versions; what a search looks at is in `entry`, one narrow
row for each that is current. The words of an entry, and its tags and session, are hashes of 32
bits below the number of its partition, so that the index keeps the partitions apart.
"""

from collections.abc import Callable
from typing import Final, LiteralString

import psycopg

from backends.errors import StoreError
from backends.postgres_memory.connections import Connection
from backends.postgres_memory.texts import labels, tagged

_LOCK: Final = 0x61696F736D6370  # any number, the same in every kernel

_VERSION_1: Final = """
CREATE TABLE space(
    no integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    owner text NOT NULL UNIQUE,
    rows bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0
);
CREATE TABLE namespace(
    no integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    space integer NOT NULL REFERENCES space,
    name text COLLATE "C" NOT NULL,
    current bigint NOT NULL DEFAULT 0,
    words bigint NOT NULL DEFAULT 0,
    UNIQUE(space, name)
);
CREATE TABLE embedder(
    no integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL UNIQUE
);
CREATE TABLE memory(
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    space integer NOT NULL REFERENCES space,
    namespace integer NOT NULL REFERENCES namespace,
    public text NOT NULL,
    kind text NOT NULL,
    content text NOT NULL,
    tags text[] NOT NULL,
    data text,
    source text NOT NULL,
    session text NOT NULL,
    importance double precision NOT NULL,
    reason text NOT NULL,
    created double precision NOT NULL,
    expires double precision,
    hash bytea NOT NULL,
    size integer NOT NULL,
    replaced_by bigint REFERENCES memory ON DELETE SET NULL,
    UNIQUE(space, public)
);
CREATE INDEX memory_listed ON memory(space, id);
CREATE INDEX memory_hash ON memory(namespace, hash);
CREATE INDEX memory_session ON memory(namespace, session, id) WHERE session <> '';
CREATE INDEX memory_expires ON memory(space, expires) WHERE expires IS NOT NULL;
CREATE INDEX memory_replaced ON memory(replaced_by) WHERE replaced_by IS NOT NULL;

-- No embedder means that the vector is still to be made; an embedder without a vector, that the
-- text had nothing to embed. `before` is what was said before it in the same session.
CREATE TABLE entry(
    id bigint PRIMARY KEY REFERENCES memory ON DELETE CASCADE,
    namespace integer NOT NULL REFERENCES namespace,
    kind text NOT NULL,
    tags text[] NOT NULL,
    session text NOT NULL,
    before bigint,
    importance double precision NOT NULL,
    created double precision NOT NULL,
    expires double precision,
    length integer NOT NULL,
    words bigint[] NOT NULL,
    embedder integer REFERENCES embedder,
    vector halfvec
);
CREATE INDEX entry_namespace ON entry(namespace, id);
CREATE INDEX entry_words ON entry USING gin(words);
CREATE INDEX entry_before ON entry(before) WHERE before IS NOT NULL;
CREATE INDEX entry_unembedded ON entry(id) WHERE embedder IS NULL;

CREATE TABLE link(
    id bigint NOT NULL REFERENCES memory ON DELETE CASCADE,
    relation text NOT NULL,
    target bigint NOT NULL REFERENCES memory ON DELETE CASCADE,
    PRIMARY KEY(id, relation, target)
);
CREATE INDEX link_target ON link(target);

-- `digest` is NULL once the memory was forgotten: even a hash could confirm a guess.
CREATE TABLE added_once(
    space integer NOT NULL REFERENCES space,
    key text NOT NULL,
    digest bytea,
    public text NOT NULL,
    replaced text,
    created double precision NOT NULL,
    PRIMARY KEY(space, key)
);
CREATE INDEX added_once_public ON added_once(space, public);
CREATE INDEX added_once_created ON added_once(created);

CREATE TABLE tombstone(
    id bigint PRIMARY KEY,
    space integer NOT NULL,
    public text NOT NULL,
    reason text NOT NULL,
    forgotten double precision NOT NULL
);
CREATE INDEX tombstone_forgotten ON tombstone(forgotten);

CREATE FUNCTION count_memory() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        UPDATE space SET rows = rows - 1, bytes = bytes - OLD.size WHERE no = OLD.space;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        UPDATE space SET rows = rows + 1, bytes = bytes + NEW.size WHERE no = NEW.space;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER memory_counted AFTER INSERT OR DELETE OR UPDATE OF size ON memory
    FOR EACH ROW EXECUTE FUNCTION count_memory();
CREATE FUNCTION count_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE namespace SET current = current + 1, words = words + NEW.length
            WHERE no = NEW.namespace;
    ELSE
        UPDATE namespace SET current = current - 1, words = words - OLD.length
            WHERE no = OLD.namespace;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER entry_counted AFTER INSERT OR DELETE ON entry
    FOR EACH ROW EXECUTE FUNCTION count_entry();
"""

_VERSION_2: Final = """
ALTER TABLE entry ADD COLUMN nearness real NOT NULL DEFAULT 1; -- of the one before it
-- The indexes over vectors that are there, see graphs.py.
CREATE TABLE graph(
    namespace integer NOT NULL REFERENCES namespace,
    embedder integer NOT NULL REFERENCES embedder,
    dimensions integer NOT NULL,
    PRIMARY KEY(namespace, embedder, dimensions)
);
"""


def _to_version_2(connection: Connection) -> None:
    """Let every entry be found by its labels, whose hashes SQL alone cannot make."""
    connection.execute(_VERSION_2)
    rows = connection.execute(_LABELLED).fetchall()
    words = [
        (tagged(space, labels(tags, session)), memory) for memory, space, tags, session in rows
    ]
    with connection.cursor() as cursor:
        cursor.executemany("UPDATE entry SET words = words || %s::bigint[] WHERE id = %s", words)


_LABELLED = """
SELECT id, namespace.space, tags, session FROM entry JOIN namespace ON namespace = no
WHERE tags <> '{}' OR session <> ''
"""

_VERSIONS: Final[tuple[LiteralString | Callable[[Connection], None], ...]] = (
    _VERSION_1,
    _to_version_2,
)


def migrate(connection: Connection) -> None:
    """Bring the tables up to date; kernels that start together wait for each other.

    Raises:
        StoreError: pgvector is missing, or a newer version wrote the tables.
    """
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    connection.execute("CREATE SCHEMA IF NOT EXISTS aios_mcp")
    _check_vector(connection)
    connection.execute("CREATE TABLE IF NOT EXISTS version(no integer NOT NULL)")
    row = connection.execute("SELECT coalesce(max(no), 0) FROM version").fetchone()
    version = 0 if row is None else int(row[0])
    if version > len(_VERSIONS):
        raise StoreError(
            "the memory database was written by a newer version of aios-mcp; update this one"
        )
    for number, step in enumerate(_VERSIONS[version:], version + 1):
        if callable(step):
            step(connection)
        else:
            connection.execute(step)
        connection.execute("INSERT INTO version VALUES(%s)", (number,))


def _check_vector(connection: Connection) -> None:
    row = connection.execute("SELECT 1 FROM pg_type WHERE typname = 'halfvec'").fetchone()
    if row is not None:
        return
    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
        connection.execute("SELECT NULL::halfvec")
    except psycopg.Error as exc:
        raise StoreError(
            "the memory database needs the extension vector (pgvector) 0.7 or newer; install it on"
            " the server and run, as a superuser: CREATE EXTENSION vector"
        ) from exc

"""The memory store's tables.

A memory's id is `space << 32 | seq`, so one range of ids isolates a partition in the records, the
vectors and the full text alike.
"""

SEQ_BITS = 32

ROW_OVERHEAD_BYTES = 768
"""Counted for each memory besides its texts: its vector and its places in the indexes."""

VERSION_1 = """
CREATE TABLE space(
    no INTEGER PRIMARY KEY CHECK(no BETWEEN 1 AND 2147483647),
    owner TEXT NOT NULL UNIQUE,
    next_seq INTEGER NOT NULL DEFAULT 1,
    rows INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE namespace(
    no INTEGER PRIMARY KEY,
    space INTEGER NOT NULL REFERENCES space(no),
    name TEXT NOT NULL,
    rows INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    UNIQUE(space, name)
) STRICT;
CREATE TABLE embedder(no INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

-- Every memory with all its versions. `size` counts the bytes of its texts.
CREATE TABLE memory(
    id INTEGER PRIMARY KEY,
    public TEXT NOT NULL,
    namespace INTEGER NOT NULL REFERENCES namespace(no),
    kind TEXT NOT NULL,
    content TEXT NOT NULL,
    tags TEXT NOT NULL,
    data TEXT,
    source TEXT NOT NULL,
    created REAL NOT NULL,
    expires REAL,
    hash BLOB NOT NULL,
    size INTEGER NOT NULL,
    replaced_by INTEGER REFERENCES memory(id) ON DELETE SET NULL
) STRICT;
CREATE UNIQUE INDEX memory_public ON memory(id >> 32, public);
CREATE INDEX memory_namespace ON memory(namespace);
CREATE INDEX memory_hash ON memory(namespace, hash);
CREATE INDEX memory_expires ON memory(id >> 32, expires) WHERE expires IS NOT NULL;
CREATE INDEX memory_replaced ON memory(replaced_by) WHERE replaced_by IS NOT NULL;

-- What a search looks at: one narrow row for each memory that was not replaced. No embedder means
-- that the vector is still to be made; an embedder without a row in `vector`, that the text had
-- nothing to embed. The sketch holds the signs of the vector's components.
CREATE TABLE entry(
    id INTEGER PRIMARY KEY REFERENCES memory(id) ON DELETE CASCADE,
    namespace INTEGER NOT NULL,
    kind TEXT NOT NULL,
    created REAL NOT NULL,
    expires REAL,
    size INTEGER NOT NULL,
    embedder INTEGER REFERENCES embedder(no),
    sketch BLOB,
    CHECK((embedder IS NULL) = (sketch IS NULL))
) STRICT;
CREATE TABLE vector(
    id INTEGER PRIMARY KEY REFERENCES entry(id) ON DELETE CASCADE,
    components BLOB NOT NULL
) STRICT;
CREATE VIRTUAL TABLE fts USING fts5(
    content, tags, content='memory', content_rowid='id',
    tokenize='porter unicode61 remove_diacritics 2'
);
INSERT INTO fts(fts, rank) VALUES('secure-delete', 1);
-- Texts whose words are still in the index, though no entry is: taking them out byte by byte is
-- slow, so it is done in small transactions afterwards.
CREATE TABLE leaving(
    id INTEGER PRIMARY KEY,
    content TEXT NOT NULL,
    tags TEXT NOT NULL
) STRICT;
CREATE TABLE tag(
    id INTEGER NOT NULL REFERENCES entry(id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    PRIMARY KEY(id, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_tag ON tag(tag, id);

CREATE TABLE link(
    id INTEGER NOT NULL REFERENCES memory(id) ON DELETE CASCADE,
    relation TEXT NOT NULL,
    target INTEGER NOT NULL REFERENCES memory(id) ON DELETE CASCADE,
    PRIMARY KEY(id, relation, target),
    CHECK(id >> 32 = target >> 32)
) STRICT, WITHOUT ROWID;
CREATE INDEX link_target ON link(target);

-- `digest` is NULL once the memory was forgotten: even a hash could confirm a guess.
CREATE TABLE added_once(
    space INTEGER NOT NULL REFERENCES space(no),
    key TEXT NOT NULL,
    digest BLOB,
    public TEXT NOT NULL,
    replaced TEXT,
    created REAL NOT NULL,
    PRIMARY KEY(space, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX added_once_public ON added_once(space, public);
CREATE INDEX added_once_created ON added_once(created);

CREATE TABLE tombstone(
    id INTEGER PRIMARY KEY,
    public TEXT NOT NULL,
    reason TEXT NOT NULL,
    forgotten REAL NOT NULL
) STRICT;
CREATE INDEX tombstone_forgotten ON tombstone(forgotten);

CREATE TRIGGER memory_counted AFTER INSERT ON memory BEGIN
    UPDATE space SET rows = rows + 1, bytes = bytes + new.size,
        next_seq = max(next_seq, (new.id & 4294967295) + 1) WHERE no = new.id >> 32;
    UPDATE namespace SET rows = rows + 1, bytes = bytes + new.size WHERE no = new.namespace;
END;
CREATE TRIGGER memory_uncounted AFTER DELETE ON memory BEGIN
    UPDATE space SET rows = rows - 1, bytes = bytes - old.size WHERE no = old.id >> 32;
    UPDATE namespace SET rows = rows - 1, bytes = bytes - old.size WHERE no = old.namespace;
    DELETE FROM namespace WHERE no = old.namespace AND rows = 0;
END;
-- The index is rid of words by being given them again, so they are kept when the memory goes.
CREATE TRIGGER memory_leaves BEFORE DELETE ON memory BEGIN
    DELETE FROM entry WHERE id = old.id;
END;
CREATE TRIGGER entry_indexed AFTER INSERT ON entry BEGIN
    INSERT INTO fts(rowid, content, tags) SELECT id, content, tags FROM memory WHERE id = new.id;
END;
CREATE TRIGGER entry_leaves BEFORE DELETE ON entry BEGIN
    INSERT INTO leaving SELECT id, content, tags FROM memory WHERE id = old.id;
END;
CREATE TRIGGER memory_tagged AFTER UPDATE OF tags ON memory BEGIN
    INSERT INTO fts(fts, rowid, content, tags)
        VALUES('delete', old.id, old.content, old.tags);
    INSERT INTO fts(rowid, content, tags) VALUES(new.id, new.content, new.tags);
    UPDATE space SET bytes = bytes - old.size + new.size WHERE no = new.id >> 32;
    UPDATE namespace SET bytes = bytes - old.size + new.size WHERE no = new.namespace;
END;
"""

VERSION_2 = """
DROP TRIGGER memory_leaves;
DROP TRIGGER entry_indexed;
DROP TRIGGER entry_leaves;
DROP TRIGGER memory_tagged;
DROP INDEX memory_namespace; -- memory_hash begins with the same column

ALTER TABLE memory ADD COLUMN session TEXT NOT NULL DEFAULT '';
ALTER TABLE memory ADD COLUMN importance REAL NOT NULL DEFAULT 0.5;
ALTER TABLE memory ADD COLUMN reason TEXT NOT NULL DEFAULT ''; -- why it replaced another
CREATE INDEX memory_session ON memory(namespace, session, id) WHERE session <> '';
CREATE TRIGGER memory_resized AFTER UPDATE OF size ON memory BEGIN
    UPDATE space SET bytes = bytes - old.size + new.size WHERE no = new.id >> 32;
    UPDATE namespace SET bytes = bytes - old.size + new.size WHERE no = new.namespace;
END;

CREATE TABLE components(
    id INTEGER PRIMARY KEY REFERENCES memory(id) ON DELETE CASCADE,
    components BLOB NOT NULL
) STRICT;
INSERT INTO components SELECT id, components FROM vector;
DROP TABLE vector;
ALTER TABLE components RENAME TO vector;

-- What a search looks at, see entries.py: alone, or many in a block. No embedder (0) means that the
-- vector is still to be made; an embedder without a row in `vector`, that the text had nothing to
-- embed. The sketch holds the signs of the vector's components.
ALTER TABLE entry RENAME TO entry_1;
CREATE TABLE entry(
    id INTEGER PRIMARY KEY REFERENCES memory(id) ON DELETE CASCADE,
    embedder INTEGER NOT NULL,
    facts BLOB NOT NULL,
    sketch BLOB NOT NULL,
    words BLOB NOT NULL
) STRICT;
CREATE TABLE block(
    no INTEGER PRIMARY KEY,
    space INTEGER NOT NULL REFERENCES space(no),
    embedder INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    first INTEGER NOT NULL, -- the least seq of its entries, and the largest
    last INTEGER NOT NULL,
    gone INTEGER NOT NULL DEFAULT 0,
    live BLOB NOT NULL
) STRICT;
CREATE INDEX block_space ON block(space);
CREATE INDEX block_gone ON block(no) WHERE gone > 0;
CREATE TABLE part(id INTEGER PRIMARY KEY, content BLOB NOT NULL) STRICT; -- block << 8 | part
"""

VERSION_3 = """
-- A vector stands with its entry, and in `vector` once that is packed: one page less to write.
ALTER TABLE entry ADD COLUMN components BLOB NOT NULL DEFAULT x'';
UPDATE entry SET components =
    coalesce((SELECT components FROM vector WHERE vector.id = entry.id), x'');
DELETE FROM vector WHERE id IN (SELECT id FROM entry);
"""

VERSION_4 = """
-- The number of a block is never given again: searches keep what they have read of it.
CREATE TABLE block_4(
    no INTEGER PRIMARY KEY AUTOINCREMENT,
    space INTEGER NOT NULL REFERENCES space(no),
    embedder INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    first INTEGER NOT NULL, -- the least seq of its entries, and the largest
    last INTEGER NOT NULL,
    gone INTEGER NOT NULL DEFAULT 0,
    live BLOB NOT NULL
) STRICT;
INSERT INTO block_4 SELECT * FROM block;
DROP TABLE block;
ALTER TABLE block_4 RENAME TO block;
CREATE INDEX block_space ON block(space);
CREATE INDEX block_gone ON block(no) WHERE gone > 0;
"""

VERSION_5 = """
-- Ids begin with the time, so those that many partitions add at one moment are on one page.
DROP INDEX memory_public;
CREATE UNIQUE INDEX memory_public ON memory(public, id >> 32);
"""

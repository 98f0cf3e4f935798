"""Forgotten memories leave the file, not only the searches."""

from pathlib import Path

import anyio
import apsw

from backends.database import fetch
from backends.memory_store.entries import LOOSE_ROWS
from backends.memory_store.vectors import quantise
from backends.messages import MemoryDraft, Selection
from tests.backends.memory_store.embedders import WordEmbedder
from tests.backends.memory_store.stores import NOW, Opened, found, open_store, own, place
from tests.marks import asyncio_only

pytestmark = asyncio_only  # virtual time does not wait for the threads that clean up

CONTENT = "the zebracode of the vault is quixotically 4711"
# The stem of the index is "quixot"; the word itself stands in the text only.
TRACES = (b"zebracode", b"vault", b"quixot", b"4711", b"secrettag", b"secretdata")


def files(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.iterdir())


async def traces(directory: Path) -> list[bytes]:
    [stored] = quantise(await WordEmbedder().embed([CONTENT]))
    content = files(directory)
    return [trace for trace in (*TRACES, stored.components, stored.sketch) if trace in content]


async def add_secret(opened: Opened, **fields: object) -> str:
    draft = MemoryDraft(
        content=CONTENT,
        tags=("secrettag",),
        data={"k": "secretdata"},
        idempotency_key="key",
        **fields,  # type: ignore[arg-type]
    )
    return (await opened.store.add(draft, place())).id


async def test_nothing_of_a_forgotten_memory_is_left_in_the_files(tmp_path: Path) -> None:
    async with open_store(tmp_path) as opened:
        for number in range(20):
            await opened.store.add(MemoryDraft(content=f"a neighbour, number {number}"), place())
        secret = await add_secret(opened)
        assert len(await traces(tmp_path)) == len(TRACES) + 2
        await opened.store.forget(Selection(ids=(secret,)), own(), "asked to")
        assert await traces(tmp_path) == []
        assert len(await found(opened.store, "neighbour")) == 20
        assert await opened.problems() == []


async def test_older_versions_leave_the_files_too(tmp_path: Path) -> None:
    async with open_store(tmp_path) as opened:
        first = await add_secret(opened)
        second = await opened.store.add(MemoryDraft(content="v2", replaces=first), place())
        third = await opened.store.add(MemoryDraft(content="v3", replaces=second.id), place())
        assert b"zebracode" in await traces(tmp_path)
        assert await opened.store.forget(Selection(ids=(third.id,)), own(), "") == 1
        assert await traces(tmp_path) == []
        assert (await opened.store.count("ada")).rows == 0


async def test_a_purge_takes_out_what_has_expired(tmp_path: Path) -> None:
    async with open_store(tmp_path) as opened:
        await add_secret(opened, expires=NOW + 1)
        assert await opened.store.purge() == 0
        opened.clock.now = NOW + 1
        assert await opened.store.purge() == 1
        assert await traces(tmp_path) == []
        assert await opened.problems() == []


async def test_a_tombstone_keeps_the_id_and_the_reason(tmp_path: Path) -> None:
    def tombstones(connection: apsw.Connection) -> list[tuple[object, ...]]:
        return fetch(connection, "SELECT public, reason, forgotten FROM tombstone")

    async with open_store(tmp_path) as opened:
        secret = await add_secret(opened)
        await opened.store.forget(Selection(ids=(secret,)), own(), "asked to")
        assert await opened.database.read(tombstones) == [(secret, "asked to", NOW)]


async def test_a_reader_does_not_stop_a_memory_from_being_forgotten(tmp_path: Path) -> None:
    async with open_store(tmp_path) as opened:
        secret = await add_secret(opened)
        reader = apsw.Connection(str(opened.database.path), flags=apsw.SQLITE_OPEN_READONLY)
        reader.execute("BEGIN; SELECT count(*) FROM memory").fetchall()
        assert await opened.store.forget(Selection(ids=(secret,)), own(), "") == 1
        assert await found(opened.store, "vault") == []
        reader.close()
        await opened.store.purge()
        assert await traces(tmp_path) == []


async def test_many_memories_are_forgotten_in_one_go_and_cleaned_up_bit_by_bit(
    tmp_path: Path,
) -> None:
    async with open_store(tmp_path) as opened:
        async with anyio.create_task_group() as tg:
            for number in range(50):
                draft = MemoryDraft(content=f"zebracode {number}", kind="secret")
                tg.start_soon(opened.store.add, draft, place())
        assert await opened.store.forget(Selection(kinds=("secret",)), own(), "") == 50
        assert await traces(tmp_path) == []
        assert await opened.problems() == []


async def test_words_of_packed_memories_leave_the_file_too(tmp_path: Path) -> None:
    async with open_store(tmp_path) as opened:
        secret = await add_secret(opened)
        for number in range(LOOSE_ROWS + 64):
            await opened.store.add(MemoryDraft(content=f"a neighbour, number {number}"), place())
        assert await opened.database.read(blocks) > 0
        assert len(await traces(tmp_path)) > 0
        await opened.store.forget(Selection(ids=(secret,)), own(), "asked to")
        assert await traces(tmp_path) == []
        assert await opened.problems() == []


async def test_replaced_memories_leave_the_blocks_with_the_next_purge(tmp_path: Path) -> None:
    def gone(connection: apsw.Connection) -> object:
        return fetch(connection, "SELECT sum(gone) FROM block")

    async with open_store(tmp_path) as opened:
        added = await opened.store.add(MemoryDraft(content="version 0"), place())
        for number in range(LOOSE_ROWS + 64):
            await opened.store.add(MemoryDraft(content=f"a neighbour, number {number}"), place())
        for number in range(1, 10):
            draft = MemoryDraft(content=f"version {number}", replaces=added.id)
            added = await opened.store.add(draft, place())
        assert await found(opened.store, "version") == ["version 9"]
        assert await opened.database.read(gone) == [(1,)]
        await opened.store.purge()
        assert await opened.database.read(gone) == [(0,)]
        assert await found(opened.store, "version") == ["version 9"]
        assert await opened.problems() == []


def blocks(connection: apsw.Connection) -> int:
    [(count,)] = fetch(connection, "SELECT count(*) FROM block")
    return int(count)

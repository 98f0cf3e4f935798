"""What searches keep in memory of the index: they read it once, and it never deceives them."""

from pathlib import Path

import apsw

from backends.database import Component, fetch, open_database
from backends.memory_store import MEMORY_STORE, SqliteMemoryStore
from backends.memory_store.entries import LOOSE_ROWS
from backends.memory_store.packed import Kept, Packed, read_heads
from backends.messages import MemoryDraft, MemoryQuery, Selection
from tests.backends.memory_store.embedders import WordEmbedder
from tests.backends.memory_store.statements import Ran, running
from tests.backends.memory_store.stores import (
    PLENTY,
    Clock,
    found,
    numbered_ids,
    open_store,
    own,
    place,
)
from tests.marks import asyncio_only


async def remember(store: SqliteMemoryStore, words: str, owner: str = "ada") -> None:
    """Fill a block."""
    for number in range(LOOSE_ROWS):
        await store.add(MemoryDraft(content=f"{words} {number}"), place(owner))


def reads(ran: list[Ran]) -> int:
    """How often blocks were read."""
    return sum("JOIN part ON" in each.sql for each in ran)


@asyncio_only
async def test_a_later_search_reads_only_blocks_that_are_new(tmp_path: Path) -> None:
    with running() as ran:
        async with open_store(tmp_path) as opened:
            await remember(opened.store, "apples")
            first = await found(opened.store, "apples 7")
            ran.clear()
            assert await found(opened.store, "apples 7") == first
            assert reads(ran) == 0
            await remember(opened.store, "pears")
            ran.clear()
            assert (await found(opened.store, "pears 7"))[0] == "pears 7"
            assert reads(ran) > 0


@asyncio_only
async def test_what_leaves_a_block_is_not_found_though_the_block_is_kept(tmp_path: Path) -> None:
    async with open_store(tmp_path) as opened, open_store(tmp_path) as other:
        await remember(opened.store, "apples")
        query = MemoryQuery(text="apples 7", k=1)
        [best] = await opened.store.search(query, own())
        # Another kernel on the same file forgets: nothing tells this one.
        assert await other.store.forget(Selection(ids=(best.id,)), own(), "") == 1
        assert best.content not in await found(opened.store, "apples 7", k=LOOSE_ROWS)


@asyncio_only
async def test_the_number_of_a_block_is_never_given_again(tmp_path: Path) -> None:
    async with open_store(tmp_path) as opened:
        await remember(opened.store, "apples")
        assert await found(opened.store, "apples 7")
        before = await opened.database.read(numbers)
        assert await opened.store.forget(Selection(kinds=("fact",)), own(), "") == LOOSE_ROWS
        assert await opened.database.read(numbers) == []
        await remember(opened.store, "pears")
        assert await found(opened.store, "apples 7", mode="keyword") == ["pears 7"]
        assert min(await opened.database.read(numbers)) > max(before)


@asyncio_only
async def test_blocks_of_version_3_are_read_under_their_numbers(tmp_path: Path) -> None:
    older = Component("memory_store", MEMORY_STORE.migrations[:3])
    async with open_database(tmp_path / "memory.db", [older]) as database:
        store = SqliteMemoryStore(
            database, WordEmbedder(), now=Clock(), new_id=numbered_ids(), quota=lambda _: PLENTY
        )
        await remember(store, "apples")
        hits = await found(store, "apples 7", k=100)
        before = await database.read(numbers)
    async with open_store(tmp_path) as opened:
        assert await found(opened.store, "apples 7", k=100) == hits
        assert await opened.database.read(numbers) == before
        assert await opened.problems() == []
        assert await opened.store.forget(Selection(kinds=("fact",)), own(), "") == LOOSE_ROWS
        await remember(opened.store, "pears")
        assert min(await opened.database.read(numbers)) > max(before)


@asyncio_only
async def test_only_so_many_bytes_are_kept_those_used_last(tmp_path: Path) -> None:
    async with open_store(tmp_path) as opened:
        for owner in ("ada", "ben", "cal"):
            await remember(opened.store, "apples", owner)
        await opened.database.read(keeps_two_of_three)


def keeps_two_of_three(connection: apsw.Connection) -> None:
    heads = {space: read_heads(connection, space) for space in (1, 2, 3)}
    packed = {space: Packed(connection, each) for space, each in heads.items()}
    kept = Kept(sum(packed[space].size_bytes for space in (1, 2)))
    for space in (1, 2, 1, 3):
        kept.put(space, packed[space])
    assert [kept.get(space, heads[space]) for space in (1, 2, 3)] == [packed[1], None, packed[3]]
    packed[3].look_up(connection, [1])  # it grows beyond the bound
    kept.put(3, packed[3])
    assert [kept.get(space, heads[space]) for space in (1, 3)] == [None, packed[3]]
    kept.drop((3, 4))
    assert kept.get(3, heads[3]) is None
    assert Kept(1).get(1, heads[1]) is None


def numbers(connection: apsw.Connection) -> list[int]:
    return [row[0] for row in fetch(connection, "SELECT no FROM block")]

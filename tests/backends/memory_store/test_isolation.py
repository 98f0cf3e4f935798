"""No statement reads memories without their partition: by what it does, and by how it is written.

An agent makes its calls alone, beside others who hold the very same memories under the same ids,
and beside others who hold twice as many. Its answers must be the same, and SQLite must not take a
step more for many than for few: so it looks at nothing of theirs, and no time tells of them.
(Between none and some there is a difference: the end of a range is found by the key behind it.)
"""

import re
from pathlib import Path

import pytest

from backends.database import Database
from backends.errors import MemoryNotFoundError
from backends.memory_store import SqliteMemoryStore
from backends.messages import MemoryDraft, MemoryQuery, Selection
from tests.backends.memory_store.embedders import WordEmbedder
from tests.backends.memory_store.statements import Ran, running, written
from tests.backends.memory_store.stores import (
    NOW,
    PLENTY,
    Clock,
    numbered_ids,
    open_store,
    own,
    place,
)
from tests.marks import asyncio_only

ROWS = 300  # a block, and some that stand alone

# They go through all partitions, and give nothing of them to an agent.
MAINTENANCE = {
    # upkeep
    "SELECT DISTINCT id >> 32 FROM memory WHERE expires <= ?",
    "SELECT id FROM entry WHERE embedder <> ? LIMIT ?",
    "SELECT min(no), space FROM block WHERE {stale}",
    "SELECT id, content FROM memory WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
    # `doctor`
    "SELECT public, content, kind, data, hash FROM memory",
    "SELECT no FROM space",
    "SELECT id, public FROM memory WHERE id >> 32 = ? AND replaced_by IS NULL",
    "SELECT owner FROM space LEFT JOIN (SELECT id >> 32 AS no, count(*) AS found, sum(size) AS size"
    " FROM memory GROUP BY 1) USING (no)"
    " WHERE rows <> coalesce(found, 0) OR bytes <> coalesce(size, 0)",
}
# So do these, which run within an agent's call and only take away what is over for everyone.
SWEEPING = {
    "DELETE FROM added_once WHERE created < ?",
    "DELETE FROM tombstone WHERE forgotten < ?",
    "SELECT no, space FROM block WHERE gone > 0 LIMIT ?",
}
_BOUND = re.compile(
    r"\bid >> 32 = |= \? >> 32\b|\bspace = |\bnamespace = |\bowner = |VALUES\(|BETWEEN|> :first"
    r"|\{where(\.sql)?\}|\b(id|no) = \?|(json_each|carray)\(\?\)|\be\.namespace$"
)


class Store:
    """A store for one agent, whose calls are run one after the other."""

    def __init__(self, database: Database, clock: Clock, owner: str) -> None:
        self._store = SqliteMemoryStore(
            database, WordEmbedder(), now=clock, new_id=numbered_ids(), quota=lambda _: PLENTY
        )
        self._clock, self._owner = clock, owner
        self.answers: list[object] = []

    async def add(self, content: str, namespace: str = "self", **fields: object) -> str:
        draft = MemoryDraft(content=content, **fields)  # type: ignore[arg-type]
        added = await self._store.add(draft, place(self._owner, namespace))
        self.answers.append(added)
        return added.id

    async def search(self, **fields: object) -> None:
        query = MemoryQuery(**fields)  # type: ignore[arg-type]
        self.answers.append(await self._store.search(query, own(self._owner)))

    async def forget(self, **fields: object) -> None:
        selection = Selection(**fields)  # type: ignore[arg-type]
        self.answers.append(await self._store.forget(selection, own(self._owner), "over"))

    async def live(self, when: str = "") -> None:
        """Make calls of all kinds."""
        for number in range(ROWS):
            await self.add(f"apples {number} {when}", tags=("fruit",))
        # One from the block, said a little differently.
        await self.add(f"Apples, 7 {when}", fold=True, tags=("fruit", "round"))
        first = await self.add("the harbour is closed", session="s", idempotency_key=f"k{when}")
        await self.add("the harbour is closed", session="s", idempotency_key=f"k{when}")
        await self.add("the harbour is closed", session="s", tags=("sea",))
        await self.add("harbour closed", session="s", fold=True, tags=("port",))
        second = await self.add("why is that", session="s", links=(("asks", first),))
        await self.add("the harbour is open", session="s", replaces=first, reason="it is June")
        brief = await self.add("brief", namespace="self/work", expires=NOW + 10)
        with pytest.raises(MemoryNotFoundError):
            await self.add("x", links=(("to", "nobody's"),))
        await self.look(second)
        self._clock.now += 20
        with pytest.raises(MemoryNotFoundError):
            await self.search(id=brief)
        await self.add("one that finds an expired one", namespace="self/work")
        await self.forget(ids=(second, "nobody's"))
        await self.forget(tags=("fruit",), until=NOW + 1)
        await self.look(None)

    async def look(self, linked: str | None) -> None:
        for mode in ("hybrid", "keyword", "vector"):
            await self.search(text="apples 7 harbour", mode=mode, kinds=("fact",), links=2)
        await self.search(text="harbour", tags=("sea",), since=NOW - 1, distinct=True, recency=0.5)
        await self.search(session="s")
        if linked is not None:
            await self.search(id=linked, history=True, links=1)
            await self.search(id=linked)
        self.answers.append(await self._store.count(self._owner))
        # A position tells the number of the partition, which is the operator's to know.
        records = await self._store.records(own(self._owner), after=0, limit=1000)
        self.answers.append([(each.id, each.draft) for each in records])


async def ada_lives(directory: Path, *, others: int) -> tuple[list[Ran], list[object]]:
    """Give what ada's calls run and answer, between two others who live so many lives before."""
    clock = Clock()
    with running() as ran:
        async with open_store(directory, clock=clock) as opened:
            ben, ada, cal = (
                Store(opened.database, clock, owner) for owner in ("ben", "ada", "cal")
            )
            for each in (ben, ada, cal):  # in this order, so that ada's partition is in the middle
                await each.add("first of all", tags=("sea",), session="s")
            for life in range(others):
                for each in (ben, cal):
                    clock.now = NOW
                    await each.live("" if life == 0 else f"in life {life}")
            clock.now = NOW
            ran.clear()
            await ada.live()
            return ran[:], ada.answers


@asyncio_only
async def test_others_cost_an_agent_not_a_step_and_change_none_of_its_answers(
    tmp_path: Path,
) -> None:
    _, seen_alone = await ada_lives(directory_in(tmp_path, "alone"), others=0)
    beside, seen_beside = await ada_lives(directory_in(tmp_path, "beside"), others=1)
    among, seen_among = await ada_lives(directory_in(tmp_path, "among"), others=2)
    assert seen_alone == seen_beside == seen_among
    assert beside == among
    # So it holds of every statement there is, but for those that only upkeep runs.
    ran = "\n".join({each.sql for each in among})
    assert {sql for sql in written() if not all(part in ran for part in parts(sql))} <= MAINTENANCE


def test_every_statement_binds_its_partition_or_what_was_found_in_it() -> None:
    named = MAINTENANCE | SWEEPING
    assert {sql for sql in written() if not _BOUND.search(sql)} <= named
    assert named <= {*written()}, "what is not there any more need not be named"


def directory_in(tmp_path: Path, name: str) -> Path:
    directory = tmp_path / name
    directory.mkdir()
    return directory


def parts(sql: str) -> list[str]:
    """Give the text of a statement between its holes."""
    return [each.strip() for each in re.split(r"\{[^}]*\}", sql)]

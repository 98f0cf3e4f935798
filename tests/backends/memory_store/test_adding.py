"""Memories of many callers added in one transaction, as if each had been added by itself."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import apsw
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from backends.database import fetch
from backends.database.connections import open_writer
from backends.database.migrations import migrate
from backends.errors import StoreFullError
from backends.memory_store import MEMORY_STORE, check_memories
from backends.memory_store.adding_together import add_all
from backends.memory_store.additions import Addition
from backends.memory_store.vectors import quantise
from backends.messages import Added, MemoryDraft
from tests.backends.memory_store.embedders import WordEmbedder
from tests.backends.memory_store.stores import NOW, found, open_store, place
from tests.marks import asyncio_only

CONTENTS = ("two apples", "apples, two", "a pear", "the harbour is closed")
TABLES = ("space", "namespace", "memory", "entry", "added_once", "tombstone")

drafts = st.builds(
    MemoryDraft,
    content=st.sampled_from(CONTENTS) | st.text(max_size=5),
    kind=st.sampled_from(("fact", "task")),
    tags=st.sampled_from(((), ("fruit",))),
    session=st.sampled_from(("", "", "s")),
    source=st.sampled_from(({"agent": "ada"}, {"agent": "ben"}, {})),
    created=st.none() | st.sampled_from((NOW - 5000, NOW - 300)),
    expires=st.sampled_from((None, None, None, 3.0)),  # seconds after it is added
    fold=st.sampled_from((False, False, False, True)),
    idempotency_key=st.sampled_from((None, None, None, "once")),
)
owners = st.sampled_from(("ada", "ben", "cal"))
groups = st.lists(
    st.lists(st.tuples(owners, st.sampled_from(("self", "self/work")), drafts), max_size=8),
    max_size=4,
)


def additions(groups_: list[list[tuple[str, str, MemoryDraft]]]) -> list[list[Addition]]:
    vectors = anyio.run(WordEmbedder().embed, [d.content for group in groups_ for _, _, d in group])
    each = iter(enumerate(quantise(vectors)))
    made: list[list[Addition]] = []
    for step, group in enumerate(groups_):
        made.append([])
        now = NOW + 2 * step
        for owner, namespace, draft in group:
            number, stored = next(each)
            addition = Addition(
                draft=prepared(draft, namespace, now),
                place=place(owner, namespace),
                id=f"m{number}",
                embedder="words",
                vector=stored,
                now=now,
                max_rows=100,
                max_bytes=10**6,
            )
            made[-1].append(addition)
    return made


def prepared(draft: MemoryDraft, namespace: str, now: float) -> MemoryDraft:
    if draft.idempotency_key is None:
        return replace(draft, expires=draft.expires and now + draft.expires)
    # Of the same key for another memory the group would not be left, but undone and divided.
    key = f"{namespace} {draft.content}"
    return MemoryDraft(content=draft.content, idempotency_key=key)


def outcomes(connection: apsw.Connection, steps: list[list[Addition]]) -> list[object]:
    connection.execute("BEGIN IMMEDIATE")
    added = [outcome for step in steps for outcome in add_all(connection, step)]
    connection.execute("COMMIT")
    return [*added]


@settings(max_examples=30, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(groups)
def test_a_group_leaves_what_its_members_would_leave_one_by_one(
    groups_: list[list[tuple[str, str, MemoryDraft]]],
) -> None:
    steps = additions(groups_)
    left: list[object] = []
    for each in (steps, [[addition] for step in steps for addition in step]):
        with TemporaryDirectory() as directory:
            connection = open_writer(Path(directory) / "memory.db")
            migrate(connection, [MEMORY_STORE])
            added = outcomes(connection, each)
            rows = {name: fetch(connection, f"SELECT * FROM {name}") for name in TABLES}
            assert check_memories(connection) == []
            left.append((added, rows))
            connection.close()
    assert left[0] == left[1]


@asyncio_only
async def test_a_group_fills_a_partition_to_its_last_row_and_no_further(tmp_path: Path) -> None:
    stored = list[str]()
    refused = list[str]()

    async with open_store(tmp_path, quota=(5, 10**9)) as opened:

        async def add(content: str) -> None:
            try:
                added = await opened.store.add(MemoryDraft(content=content), place())
            except StoreFullError:
                refused.append(content)
            else:
                assert isinstance(added, Added)
                stored.append(content)

        await add("apples 0")
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for number in range(1, 9):
                    tasks.start_soon(add, f"apples {number}")
        assert (len(stored), len(refused)) == (5, 4)
        assert set(await found(opened.store, "apples")) == set(stored)
        assert await opened.problems() == []

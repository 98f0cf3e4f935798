"""Damage that SQLite's own check does not see."""

from collections.abc import Sequence
from pathlib import Path

import apsw
import pytest

from backends.memory_store import check_memories
from backends.messages import MemoryDraft
from tests.backends.memory_store.stores import open_store, place

DAMAGES: Sequence[tuple[str, str]] = [
    ("UPDATE memory SET content = 'apples are blue'", "memory 'm1': its content"),
    ("UPDATE memory SET kind = 'lie'", "memory 'm1'"),
    ("UPDATE memory SET data = '{}'", "memory 'm1': its content"),
    ("DELETE FROM entry", "memory 'm1': searches"),
    ("UPDATE entry SET facts = zeroblob(40)", "memory 'm1': searches"),
    ("UPDATE entry SET words = zeroblob(4)", "memory 'm1': searches"),
    ("UPDATE space SET rows = 7", "memories of 'ada' are miscounted"),
]


@pytest.mark.parametrize(("damage", "report"), DAMAGES)
async def test_damage_is_reported_by_id(tmp_path: Path, damage: str, report: str) -> None:
    async with open_store(tmp_path) as opened:
        await opened.store.add(MemoryDraft(content="apples are red"), place())
        assert await opened.problems() == []

        def spoil(connection: apsw.Connection) -> None:
            connection.execute(damage)

        await opened.database.write(spoil)
        problems = await opened.database.read(check_memories)
        assert problems
        assert problems[0].startswith(report)
        assert all("apples" not in problem for problem in problems)

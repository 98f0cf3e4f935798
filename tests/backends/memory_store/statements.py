"""The SQL of the memory store: as it stands in the source, and as SQLite runs it."""

import ast
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import apsw

PACKAGE = Path(__file__).parents[3] / "backends" / "memory_store"

MIGRATIONS = ("schema.py", "upgrades.py")  # they make the tables, before anyone calls

TABLES = "space|namespace|memory|entry|vector|block|part|link|added_once|tombstone"
_TOUCHES = re.compile(rf"\b(FROM|JOIN|UPDATE) ({TABLES})\b")


def touches_memories(sql: str) -> bool:
    """Whether a statement looks into a table of memories."""
    return bool(_TOUCHES.search(sql)) and "CREATE" not in sql


def in_one_line(sql: str) -> str:
    return " ".join(sql.split())


def written() -> Iterator[str]:
    """Give the texts in the source that touch memories, holes as `{name}`."""
    for path in sorted({*PACKAGE.glob("*.py")} - {PACKAGE / name for name in MIGRATIONS}):
        tree = ast.parse(path.read_text())
        strings = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
        inner = {id(part) for string in strings for part in string.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                text = ast.unparse(node)[2:-1]
            elif isinstance(node, ast.Constant) and id(node) not in inner:
                text = str(node.value)
            else:
                continue
            if touches_memories(text):
                yield in_one_line(text)


class Ran(NamedTuple):
    """A statement that ran, and the steps that SQLite's virtual machine took for it."""

    sql: str
    steps: int


@contextmanager
def running() -> Generator[list[Ran]]:
    """Note what touches memories on the connections opened in the block, triggers included."""
    ran: list[Ran] = []

    def note(event: dict[str, Any]) -> None:
        sql = in_one_line(event["sql"])
        if touches_memories(sql):
            ran.append(Ran(sql, event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]))

    def watch(connection: apsw.Connection) -> None:
        cast("Any", connection).trace_v2(apsw.SQLITE_TRACE_PROFILE, note)

    apsw.connection_hooks.append(watch)
    try:
        yield ran
    finally:
        apsw.connection_hooks.remove(watch)

"""What the statements themselves promise; read, not run."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[3] / "backends" / "postgres_memory"

_READS = re.compile(r"\b(FROM|UPDATE|JOIN) (memory|entry)\b")
_BOUND = re.compile(r"\{WITHIN\}|space = |namespace = |\bid = |USING \(id\)|ANY\(%\(ids\)s")


def texts() -> Iterator[str]:
    for path in sorted(PACKAGE.glob("*.py")):
        tree = ast.parse(path.read_text())
        inner = {id(part) for node in ast.walk(tree) for part in getattr(node, "values", ())}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                yield ast.unparse(node)
            elif isinstance(node, ast.Constant) and id(node) not in inner:
                yield str(node.value)


def test_no_statement_reads_memories_without_their_partition() -> None:
    statements = [text for text in texts() if _READS.search(text) and "CREATE" not in text]
    assert len(statements) > 12
    # Upkeep goes through all partitions, to count their vectors, and to erase in each by itself
    # what has expired.
    counts, expired = [each for each in statements if not _BOUND.search(each)]
    assert counts.split()[:4] == ["SELECT", "e.namespace,", "e.embedder,", "vector_dims(e.vector),"]
    assert expired == "SELECT DISTINCT space FROM memory WHERE expires <= %s ORDER BY space"

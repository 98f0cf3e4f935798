import itertools
import json

import pytest

from aios_mcp.kernel import Kernel
from aios_mcp.transfers.calls import read_memories
from aios_mcp.transfers.importing import Imported, Importer, read_file
from aios_mcp.transfers.lines import BadLineError, Incoming
from backends.messages import MemoryRecord
from backends.scripted_memories import ListMemories
from tests.kernel.kernels import NOW, agent, build

MEM0 = {
    "id": "892db2ae",
    "memory": "Likes tea in the morning",
    "hash": "abc",
    "metadata": {"topic": "drinks"},
    "categories": ["food"],
    "created_at": "2025-03-01T10:00:00-08:00",
    "updated_at": None,
    "user_id": "u1",
    "run_id": "r7",
}
EARLIER = {**MEM0, "id": "2", "memory": "Has a cat", "created_at": "2025-01-01T00:00:00"}

_ITEMS: list[dict[str, object]] = [
    {"type": "relation", "from": "gateway", "to": "billing", "relationType": "calls"},
    {
        "type": "entity",
        "name": "gateway",
        "entityType": "service",
        "observations": ["runs on port 80", "restarts at night"],
    },
    {"type": "entity", "name": "billing", "entityType": "service", "observations": []},
    {"type": "relation", "from": "billing", "to": "gateway", "relationType": "answers"},
]
GRAPH = "\n".join(map(json.dumps, _ITEMS))


def kernel() -> Kernel:
    ids = (f"m{number}" for number in itertools.count(1))
    return build(memories=ListMemories(now=lambda: NOW, new_id=ids.__next__))


async def bring(kernel: Kernel, text: str) -> Imported:
    return await Importer(kernel, agent(), None).run(read_file(text, "auto"), lambda _: None)


async def records(kernel: Kernel) -> list[MemoryRecord]:
    return [each async for each in read_memories(kernel, agent(), None)]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([MEM0, EARLIER]),
        json.dumps({"results": [MEM0, EARLIER], "relations": []}),
        json.dumps({"results": [MEM0, EARLIER]}, indent=2),
        json.dumps({"memories": [MEM0, EARLIER]}),
        f"{json.dumps(MEM0)}\n{json.dumps(EARLIER)}\n",
    ],
)
def test_every_form_of_mem0_is_read_oldest_first(text: str) -> None:
    entries = list(read_file(text, "auto"))
    assert [number for number, _ in entries] == [2, 1]
    [older, newer] = [entry for _, entry in entries if isinstance(entry, Incoming)]
    assert older.draft.content == "Has a cat"
    draft = newer.draft
    assert (draft.content, draft.tags, draft.data) == (
        "Likes tea in the morning",
        ("food",),
        {"topic": "drinks"},
    )
    assert (draft.session, draft.created) == ("r7", 1740852000.0)
    assert draft.source == {"imported": "mem0", "id": "892db2ae", "user_id": "u1", "run_id": "r7"}


@pytest.mark.parametrize(
    "moment", ["1e999", "NaN", "9" * 400, '"0001-01-01T00:00:00+23:00"', '"soon"', "true", "null"]
)
def test_a_time_that_is_none_is_left_out(moment: str) -> None:
    [(_, entry)] = read_file(f'[{{"memory": "Has a cat", "created_at": {moment}}}]', "mem0")
    assert isinstance(entry, Incoming)
    assert entry.draft.created is None


def test_a_mem0_entry_without_text_is_named() -> None:
    [(number, entry)] = read_file('[{"id": "1", "memory": " "}]', "mem0")
    assert number == 1
    assert "memory, content, text, data" in str(entry)


async def test_entities_become_memories_and_relations_links() -> None:
    to = kernel()
    done = await bring(to, GRAPH)
    assert (done.added, done.problems) == (2, [])
    gateway, billing = await records(to)
    assert gateway.draft.content == ("gateway (service)\n- runs on port 80\n- restarts at night")
    assert (gateway.draft.kind, gateway.draft.data) == ("service", {"entity": "gateway"})
    assert gateway.draft.links == (("calls", billing.id),)
    assert billing.draft.links == (("answers", gateway.id),)
    again = await bring(to, GRAPH)
    assert (again.added, again.present, again.problems) == (0, 2, [])
    assert len(await records(to)) == 2


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "not JSON"),
        ("7", "a JSON object is expected"),
        ('{"type": "entity"}', "neither an entity with a name nor a relation"),
        ('{"type": "entity", "name": "a", "observations": [1]}', "observations: a list of texts"),
        ('{"type": "relation", "from": "gateway"}', "a relation needs from, to and relationType"),
        (
            '{"type": "relation", "from": "gateway", "to": "moon", "relationType": "sees"}',
            "entity 'moon', which is not in the file",
        ),
    ],
)
async def test_a_bad_line_of_a_graph_is_named_and_the_rest_imported(
    line: str, problem: str
) -> None:
    to = kernel()
    done = await bring(to, f"{GRAPH}\n{line}\n")
    [(number, said)] = done.problems
    assert number == 5
    assert problem in said
    assert done.added == 2


@pytest.mark.parametrize("form", ["aios", "auto"])
def test_a_file_of_a_newer_version_is_refused(form: str) -> None:
    newer = '{"format": "aios-mcp memories", "version": 2}\n'
    with pytest.raises(BadLineError, match="update it"):
        list(read_file(newer, form))  # type: ignore[arg-type]


def test_a_file_of_another_format_is_refused() -> None:
    with pytest.raises(BadLineError, match="not the header"):
        list(read_file(GRAPH, "aios"))

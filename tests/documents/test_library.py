import itertools
from dataclasses import dataclass
from pathlib import Path

import pytest

from aios_mcp.documents.files import UnreadableError, find_files
from aios_mcp.documents.library import Change, Library
from aios_mcp.errors import NotPermittedError
from aios_mcp.kernel import Allowance, Grants, Kernel
from aios_mcp.kernel.calls import AddCall
from aios_mcp.transfers.calls import read_memories
from backends.errors import StoreFullError
from backends.messages import MemoryDraft, MemoryRecord
from backends.scripted_memories import ListMemories
from tests.kernel.kernels import NOW, agent, build
from tests.marks import virtual_time

TWO = "# one\n\nfirst\n\n# two\n\nsecond\n"


@dataclass
class Desk:
    """A directory of documents and a kernel that remembers them."""

    root: Path
    kernel: Kernel
    tags: tuple[str, ...] = ()

    async def library(self) -> Library:
        library = Library(
            kernel=self.kernel,
            agent=agent(),
            namespace="self/docs",
            kind="document",
            tags=self.tags,
            max_tokens=64,
        )
        await library.look()
        return library

    async def put(self, name: str) -> Change:
        library = await self.library()
        [file] = [each for each in find_files(self.root) if each.name == f"docs/{name}"]
        return await library.put(file)

    async def records(self) -> list[MemoryRecord]:
        found = [each async for each in read_memories(self.kernel, agent(), None)]
        return [each for each in found if each.is_current]


@pytest.fixture
async def desk(tmp_path: Path) -> Desk:
    return desk_of(tmp_path)


def desk_of(directory: Path, rows: int = 1000) -> Desk:
    root = directory / "docs"
    root.mkdir()
    ids = (f"m{number}" for number in itertools.count(1))
    memories = ListMemories(now=lambda: NOW, new_id=ids.__next__, quota=lambda _: (rows, 10**6))
    return Desk(root, build(memories=memories))


async def test_a_document_becomes_memories_with_their_sources(desk: Desk) -> None:
    (desk.root / "guide.md").write_text(TWO)
    assert await desk.put("guide.md") == Change(added=2, kept=0, forgotten=0)
    one, two = await desk.records()
    assert one.namespace == "self/docs"
    assert one.draft.content == "docs/guide.md > one\n\n# one\n\nfirst"
    assert (one.draft.kind, one.draft.session) == ("document", "document:docs/guide.md")
    assert two.draft.source["path"] == "docs/guide.md"
    assert two.draft.source["lines"] == [5, 7]
    assert len(str(two.draft.source["sha256"])) == 64
    assert two.draft.source["agent"] == "ada"


async def test_a_second_run_leaves_what_did_not_change(desk: Desk) -> None:
    (desk.root / "guide.md").write_text(TWO)
    await desk.put("guide.md")
    before = await desk.records()
    assert await desk.put("guide.md") == Change(added=0, kept=2, forgotten=0)
    assert await desk.records() == before


async def test_what_changed_is_replaced(desk: Desk) -> None:
    path = desk.root / "guide.md"
    path.write_text(TWO)
    await desk.put("guide.md")
    path.write_text(TWO.replace("second", "another\n\nline"))
    assert await desk.put("guide.md") == Change(added=1, kept=1, forgotten=1)
    assert [each.draft.content.split("\n", 4)[-1] for each in await desk.records()] == [
        "first",
        "another\n\nline",
    ]
    path.write_text("\n" + path.read_text())  # the same text, on other lines
    assert await desk.put("guide.md") == Change(added=2, kept=0, forgotten=2)
    path.write_text("")
    assert await desk.put("guide.md") == Change(added=0, kept=0, forgotten=2)
    assert await desk.records() == []


async def test_other_tags_are_a_change(desk: Desk) -> None:
    (desk.root / "guide.md").write_text(TWO)
    await desk.put("guide.md")
    desk.tags = ("new",)
    assert await desk.put("guide.md") == Change(added=2, kept=0, forgotten=2)
    assert {each.draft.tags for each in await desk.records()} == {("new",)}


async def test_an_interrupted_run_is_taken_up(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, rows=1)
    (desk.root / "guide.md").write_text(TWO)
    with pytest.raises(StoreFullError):
        await desk.put("guide.md")
    assert len(await desk.records()) == 1
    roomier = desk_of(tmp_path / "docs")
    roomier.kernel, desk.kernel = desk.kernel, roomier.kernel
    assert await desk.put("guide.md") == Change(added=2, kept=0, forgotten=0)


async def test_the_same_text_in_two_documents_is_two_memories_and_twice_in_one_is_one(
    desk: Desk,
) -> None:
    for name in ("a.md", "b.md"):
        (desk.root / name).write_text("# same\n\ntext\n\n# same\n\ntext\n")
        assert await desk.put(name) == Change(added=1, kept=0, forgotten=0)
        assert await desk.put(name) == Change(added=0, kept=1, forgotten=0)
    assert len(await desk.records()) == 2


async def test_documents_that_are_gone_are_forgotten_and_nothing_else(desk: Desk) -> None:
    for name in ("a.md", "b.md"):
        (desk.root / name).write_text(TWO)
        await desk.put(name)
    own = MemoryDraft(content="said, not read", source={"path": "docs/c.md"})
    await desk.kernel.add_memory(agent(), AddCall(draft=own, namespace="self/docs"))
    library = await desk.library()
    assert await library.prune(["elsewhere", "doc"], []) == 0
    assert await library.prune(["docs"], ["docs/b.md"]) == 1
    assert [each.draft.source["path"] for each in await desk.records()] == [
        "docs/b.md",
        "docs/b.md",
        "docs/c.md",
    ]


async def test_what_is_stored_of_a_document_that_cannot_be_read_stays(desk: Desk) -> None:
    path = desk.root / "guide.md"
    path.write_text(TWO)
    await desk.put("guide.md")
    path.write_bytes(b"\0")
    with pytest.raises(UnreadableError):
        await desk.put("guide.md")
    assert len(await desk.records()) == 2


async def test_rights_hold_as_for_any_call(desk: Desk) -> None:
    (desk.root / "guide.md").write_text(TWO)
    reader = agent(grants=Grants(read=("self/*",)))
    library = Library(
        kernel=desk.kernel,
        agent=reader,
        namespace="self",
        kind="document",
        tags=(),
        max_tokens=64,
    )
    await library.look()
    [file] = find_files(desk.root)
    with pytest.raises(NotPermittedError):
        await library.put(file)


@virtual_time
async def test_an_agent_with_a_rate_is_waited_for(desk: Desk) -> None:
    slow = agent(allowance=Allowance(calls_per_minute=2))
    (desk.root / "guide.md").write_text(TWO)
    library = Library(
        kernel=desk.kernel, agent=slow, namespace="self", kind="document", tags=(), max_tokens=64
    )
    await library.look()
    [file] = find_files(desk.root)
    assert (await library.put(file)).added == 2

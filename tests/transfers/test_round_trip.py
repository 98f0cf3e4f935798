"""What is exported and imported is the same, but for the ids."""

import itertools
import json
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aios_mcp.kernel import Kernel
from aios_mcp.kernel.calls import AddCall
from aios_mcp.transfers.calls import read_memories
from aios_mcp.transfers.importing import Imported, Importer, read_file
from aios_mcp.transfers.lines import header, write_record
from backends.errors import StoreError
from backends.messages import MemoryDraft, MemoryRecord
from tests.backends.memory_store.stores import NOW, Clock, open_store
from tests.kernel.kernels import agent, build
from tests.marks import asyncio_only

WORDS = ["apple", "pear", "plum", 'naïve\u2028\n"quoted" \\ \U0001f600']


@asynccontextmanager
async def open_kernel(directory: Path, clock: Clock) -> AsyncGenerator[Kernel]:
    numbers = itertools.count()
    new_id = map(f"{directory.name}-{{}}".format, numbers).__next__
    async with open_store(directory, clock=clock, new_id=new_id) as opened:
        yield build(memories=opened.store, now=clock)


async def export(kernel: Kernel) -> str:
    lines = [header("ada", datetime.now(UTC))]
    lines += [write_record(each) async for each in read_memories(kernel, agent(), None)]
    return "\n".join(lines) + "\n"


async def bring(kernel: Kernel, text: str, namespace: str | None = None) -> Imported:
    return await Importer(kernel, agent(), namespace).run(read_file(text, "auto"), lambda _: None)


async def records(kernel: Kernel) -> list[MemoryRecord]:
    return [each async for each in read_memories(kernel, agent(), None)]


def without_ids(text: str) -> list[object]:
    """The lines of an export, with ids numbered as they come."""
    lines = [json.loads(line) for line in text.splitlines()[1:]]
    numbers = {line["id"]: number for number, line in enumerate(lines)}
    for line in lines:
        line["id"] = numbers[line["id"]]
        line["replaces"] = numbers.get(line["replaces"])
        line["links"] = sorted((relation, numbers[to]) for relation, to in line["links"])
    return lines


STEPS = st.lists(
    st.fixed_dictionaries(
        {
            "content": st.sampled_from(WORDS),
            "namespace": st.sampled_from(["self", "self/work", "shared"]),
            "kind": st.sampled_from(["fact", "rule"]),
            "tags": st.lists(st.sampled_from("xyz"), max_size=2).map(tuple),
            "data": st.none() | st.dictionaries(st.sampled_from("ab"), st.integers() | st.text()),
            "session": st.sampled_from(["", "s"]),
            "importance": st.floats(0, 1),
            "lives": st.none() | st.integers(1, 6),
            "reason": st.sampled_from(["", "newer"]),
            "old": st.none() | st.integers(0, 20),
            "linked": st.lists(st.integers(0, 20), max_size=2),
            "wait": st.integers(0, 1),
        }
    ),
    max_size=14,
)


async def act(kernel: Kernel, clock: Clock, steps: list[dict[str, object]]) -> None:
    """Add memories as an agent does; what the store refuses is left out."""
    ids: list[str] = []
    for step in steps:
        clock.now += int(str(step["wait"]))
        old, lives = step["old"], step["lives"]
        linked = cast("list[int]", step["linked"])
        fields = {key: step[key] for key in MemoryDraft.__slots__ if key in step}
        draft = MemoryDraft(
            **fields,  # type: ignore[arg-type]
            replaces=ids[old % len(ids)] if ids and isinstance(old, int) else None,
            links=tuple(("of", ids[each % len(ids)]) for each in linked) if ids else (),
            expires=clock.now + lives if isinstance(lives, int) else None,
        )
        call = AddCall(draft=draft, namespace=str(step["namespace"]))
        try:
            ids.append((await kernel.add_memory(agent(), call)).id)
        except StoreError:
            continue


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_an_import_gives_back_what_was_exported_and_twice_is_as_good_as_once(
    steps: list[dict[str, object]],
) -> None:
    async def round_trip(directory: Path) -> None:
        clock = Clock()
        async with (
            open_kernel(directory / "one", clock) as one,
            open_kernel(directory / "two", clock) as two,
        ):
            await act(one, clock, steps)
            exported = await export(one)
            done = await bring(two, exported)
            assert done.problems == []
            assert without_ids(await export(two)) == without_ids(exported)
            before = await records(two)
            again = await bring(two, exported)
            assert (again.added, again.problems) == (0, [])
            assert await records(two) == before

    with tempfile.TemporaryDirectory() as directory:
        anyio.run(round_trip, Path(directory))


@asyncio_only
async def test_versions_and_links_are_those_they_were(tmp_path: Path) -> None:
    clock = Clock()
    async with open_kernel(tmp_path / "one", clock) as one, open_kernel(tmp_path / "b", clock) as b:
        first = await one.add_memory(agent(), AddCall(draft=MemoryDraft(content="red")))
        second = MemoryDraft(content="green", replaces=first.id, reason="riper")
        newer = await one.add_memory(agent(), AddCall(draft=second))
        linked = MemoryDraft(content="pear", links=(("beside", newer.id),))
        await one.add_memory(agent(), AddCall(draft=linked))
        clock.now = NOW + 100
        done = await bring(b, await export(one))
        assert (done.added, done.present, done.problems) == (3, 0, [])
        old, new, pear = await records(b)
        assert (old.is_current, new.is_current) == (False, True)
        assert (new.draft.replaces, new.draft.reason) == (old.id, "riper")
        assert pear.draft.links == (("beside", new.id),)
        assert {each.draft.created for each in (old, new, pear)} == {NOW}
        assert old.id != first.id


@asyncio_only
async def test_all_can_be_put_into_one_namespace(tmp_path: Path) -> None:
    clock = Clock()
    async with open_kernel(tmp_path / "one", clock) as one, open_kernel(tmp_path / "b", clock) as b:
        for namespace in ("self", "shared"):
            call = AddCall(draft=MemoryDraft(content=f"in {namespace}"), namespace=namespace)
            await one.add_memory(agent(), call)
        exported = await export(one)
        assert (await bring(b, exported, "self/old")).added == 2
        assert (await bring(b, exported, "self/old")).present == 2
        assert {each.namespace for each in await records(b)} == {"self/old"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("nonsense", "Invalid JSON"),
        ("[]", "valid dictionary|Input should be an object"),
        ('{"id": "1", "namespace": "self"}', "content: Field required"),
        ('{"id": "1", "namespace": "self", "content": ""}', "content: "),
        ('{"id": "1", "namespace": "self", "content": "a", "size": 1}', "size: Extra"),
        ('{"id": "1", "namespace": "../x y", "content": "a"}', "namespace: "),
        ('{"id": "1", "namespace": "self", "content": "a", "importance": 7}', "importance: "),
        ('{"id": "1", "namespace": "self", "content": "a", "created": 1e18}', "created: "),
        ('{"id": "1", "namespace": "self", "content": "a", "expires": NaN}', "expires: "),
        (
            '{"id": "1", "namespace": "self", "content": "a", "links": [["of", "9"]]}',
            "link to '9' left out",
        ),
    ],
)
@asyncio_only
async def test_a_bad_line_is_named_and_the_rest_imported(
    tmp_path: Path, line: str, problem: str
) -> None:
    good = '{"id": "2", "namespace": "self", "content": "good"}'
    text = f"{header('ada', datetime.now(UTC))}\n{good}\n\n{line}\n"
    async with open_kernel(tmp_path / "one", Clock()) as kernel:
        done = await bring(kernel, text)
        [(number, said)] = done.problems
        assert number == 4
        assert problem.split("|")[0] in said or problem.split("|")[-1] in said
        assert "good" in {each.draft.content for each in await records(kernel)}

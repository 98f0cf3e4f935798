"""What the memory tools say of sessions, versions, links and scores."""

import json
from typing import Any

from mcp import Client
from mcp_types import TextResourceContents

from backends.scripted_memories import ListMemories
from tests.backends.memory_store.stores import Clock, numbered_ids
from tests.kernel.kernels import build
from tests.server.surfaces import server


def client() -> Client:
    memories = ListMemories(now=Clock(), new_id=numbered_ids())
    return Client(server(build(memories=memories)))


async def add(client: Client, **arguments: object) -> str:
    result = await client.call_tool("add_memory", arguments)
    assert result.structured_content is not None
    added: str = result.structured_content["id"]
    return added


async def search(client: Client, **arguments: object) -> list[dict[str, Any]]:
    result = await client.call_tool("search_memory", arguments)
    assert result.structured_content is not None
    hits: list[dict[str, Any]] = result.structured_content["hits"]
    return hits


async def test_a_session_is_recalled_newest_first() -> None:
    async with client() as host:
        for number in range(3):
            created = f"2026-03-0{number + 1}"
            await add(host, content=f"turn {number}", session="s", created=created)
        hits = await search(host, session="s", k=2)
    assert [hit["content"] for hit in hits] == ["turn 2", "turn 1"]
    assert {hit["session"] for hit in hits} == {"s"}
    assert hits[0]["created"] == "2026-03-03T00:00:00Z"


async def test_versions_are_told_by_the_tool_and_by_the_resource() -> None:
    async with client() as host:
        old = await add(host, content="tea at four")
        new = await add(host, content="tea at five", replaces=old, reason="moved")
        by_tool = await search(host, id=old, history=True)
        [contents] = (await host.read_resource(f"aios://memory/{old}/history")).contents
    assert [(hit["id"], hit.get("replaced")) for hit in by_tool] == [(new, None), (old, "moved")]
    assert isinstance(contents, TextResourceContents)
    assert json.loads(contents.text) == by_tool


async def test_links_and_scores_are_shown_where_they_are_asked_for() -> None:
    async with client() as host:
        first = await add(host, content="the kettle", importance=1.0)
        second = await add(
            host, content="tea", links=[{"relation": "needs", "id": first}], importance=0.5
        )
        [plain] = await search(host, query="tea")
        hits = await search(host, query="tea", links=1, explain=True, importance=0.5)
    assert plain["links"] == [{"relation": "needs", "id": first}]
    assert {"why", "via", "importance", "session", "replaced"}.isdisjoint(plain)
    assert [(hit["id"], hit.get("via")) for hit in hits] == [(second, None), (first, second)]
    assert hits[0]["score"] == round(sum(hits[0]["why"].values()), 4)
    assert hits[1]["importance"] == 1.0

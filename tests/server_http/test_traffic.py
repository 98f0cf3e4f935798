"""A client that goes takes its call with it, on every route."""

import json
from collections.abc import AsyncIterator

import anyio
import httpx2
import pytest

from aios_mcp.config.model import HttpPart
from aios_mcp.server.http.connections import Parser
from tests.marks import asyncio_only
from tests.server_http.servers import (
    HOLD,
    LEGACY_HOLD,
    Probe,
    modern,
    modern_headers,
    open_session,
    serving,
)

pytestmark = [asyncio_only, pytest.mark.parametrize("parser", ["httptools", "h11"])]


async def test_a_client_of_the_modern_era_that_goes_cancels_its_call(parser: Parser) -> None:
    probe = Probe()
    async with (
        serving(probe, parser=parser) as url,
        httpx2.AsyncClient(base_url=url) as client,
        anyio.create_task_group() as tasks,
    ):

        async def call() -> None:
            headers = modern_headers("tools/call", "hold")
            await client.post("/mcp", json=modern("tools/call", HOLD), headers=headers)

        tasks.start_soon(call)
        await _gone(probe, tasks.cancel_scope)


async def test_a_client_of_a_session_that_goes_cancels_its_call(parser: Parser) -> None:
    probe = Probe()
    async with serving(probe, parser=parser) as url, httpx2.AsyncClient(base_url=url) as client:
        session = await open_session(client)
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                await client.post("/mcp", json=LEGACY_HOLD, headers=session)

            tasks.start_soon(call)
            await _gone(probe, tasks.cancel_scope)
        ask = {"jsonrpc": "2.0", "id": 8, "method": "tools/list"}
        assert (await client.post("/mcp", json=ask, headers=session)).status_code == 200


async def test_a_client_that_closes_its_sse_stream_cancels_its_calls(parser: Parser) -> None:
    probe = Probe()
    async with (
        serving(probe, parser=parser) as url,
        httpx2.AsyncClient(base_url=url) as client,
        anyio.create_task_group() as tasks,
    ):

        async def session() -> None:
            async with client.stream("GET", "/sse") as stream:
                async for line in stream.aiter_lines():
                    if line.startswith("data: /"):
                        endpoint = line.removeprefix("data: ")
                        call = modern("tools/call", HOLD)
                        assert (await client.post(endpoint, json=call)).status_code == 202

        tasks.start_soon(session)
        await _gone(probe, tasks.cancel_scope)


async def test_calls_over_the_bound_are_refused_at_once(parser: Parser) -> None:
    # One SSE connection could otherwise start any number of calls.
    probe = Probe()
    async with (
        serving(probe, http=HttpPart(max_connections=2), parser=parser) as url,
        httpx2.AsyncClient(base_url=url) as client,
        client.stream("GET", "/sse") as stream,
    ):
        events = stream.aiter_lines()
        endpoint = await next_data(events)
        for number in range(3):
            call = modern("tools/call", HOLD) | {"id": number}
            assert (await client.post(endpoint, json=call)).status_code == 202
        refused = json.loads(await next_data(events))
        assert refused["id"] == 2
        assert "too many calls" in refused["error"]["message"]


async def next_data(lines: AsyncIterator[str]) -> str:
    with anyio.fail_after(10):
        async for line in lines:
            if line.startswith("data: "):
                return line.removeprefix("data: ")
    raise AssertionError("the stream ended")


async def _gone(probe: Probe, client: anyio.CancelScope) -> None:
    with anyio.fail_after(10, shield=True):
        await probe.holding.wait()
        assert not probe.cancelled.is_set()
        client.cancel()
        await probe.cancelled.wait()

"""How the server stops: within its grace, with an end for everything that was open."""

import json
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import httpx2
import pytest
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

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

EXIT_SECONDS = 10.0
"""Far more than is needed; a server that waits for its streams would never exit."""


@asynccontextmanager
async def running(parser: Parser, grace_seconds: float) -> AsyncGenerator[tuple[Process, str]]:
    """Run the program for the length of the block; give it and its base URL."""
    command = [sys.executable, "-m", "tests.server_http.program", parser, str(grace_seconds)]
    async with await anyio.open_process(command, stderr=None) as process:
        try:
            assert process.stdout is not None
            with anyio.fail_after(30):
                url = await TextReceiveStream(process.stdout).receive()
            yield process, url.strip()
        finally:
            if process.returncode is None:
                process.kill()


async def frames(response: httpx2.Response) -> AsyncIterator[str]:
    """Give the data of each event until the stream ends as HTTP says it must."""
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            yield line.removeprefix("data: ")


async def test_a_signal_ends_streams_of_every_kind(parser: Parser) -> None:
    listen = modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    call = modern("tools/call", HOLD)
    async with (
        running(parser, grace_seconds=0.1) as (process, url),
        httpx2.AsyncClient(base_url=url, timeout=EXIT_SECONDS) as client,
        client.stream(
            "POST", "/mcp", json=listen, headers=modern_headers("subscriptions/listen")
        ) as listening,
        client.stream("GET", "/sse") as sse,
    ):
        session = await open_session(client)
        listened, heard = frames(listening), frames(sse)
        acknowledged = json.loads(await anext(listened))
        assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
        endpoint = await anext(heard)
        assert (await client.post(endpoint, json=call)).status_code == 202
        answers: dict[str, httpx2.Response] = {}

        async def hold(era: str, body: object, headers: dict[str, str]) -> None:
            answers[era] = await client.post("/mcp", json=body, headers=headers)

        async with (
            anyio.create_task_group() as tasks,
            client.stream("GET", "/mcp", headers=session) as standing,
        ):
            tasks.start_soon(hold, "modern", call, modern_headers("tools/call", "hold"))
            tasks.start_soon(hold, "legacy", LEGACY_HOLD, session)
            await _until_held(client, 3)
            process.send_signal(signal.SIGTERM)
            with anyio.fail_after(EXIT_SECONDS):
                assert await process.wait() == 0
            assert [frame async for frame in frames(standing)] == []
        [final] = [json.loads(frame) async for frame in listened]
        assert final["id"] == listen["id"]
        meta = final["result"]["_meta"]
        assert meta["io.modelcontextprotocol/subscriptionId"] == listen["id"]
        [over_sse] = [json.loads(frame) async for frame in heard]
        assert answers["modern"].json()["error"]["code"] == -32000
        legacy = answers["legacy"].text.partition("data: ")[2]
        for answer in (json.loads(legacy), over_sse):
            assert "the server is stopping" in answer["error"]["message"]


async def test_a_second_signal_ends_the_grace(parser: Parser) -> None:
    async with (
        running(parser, grace_seconds=3600) as (process, url),
        httpx2.AsyncClient(base_url=url, timeout=EXIT_SECONDS) as client,
        anyio.create_task_group() as tasks,
    ):

        async def hold() -> None:
            headers = modern_headers("tools/call", "hold")
            with pytest.raises(httpx2.TransportError):
                await client.post("/mcp", json=modern("tools/call", HOLD), headers=headers)

        tasks.start_soon(hold)
        await _until_held(client, 1)
        process.send_signal(signal.SIGTERM)
        with anyio.fail_after(EXIT_SECONDS):
            while (await client.get("/readyz")).status_code != 503:
                await anyio.lowlevel.checkpoint()
        refused = await client.post("/mcp", json=modern("tools/list"))
        assert refused.status_code == 503
        assert (await client.get("/healthz")).status_code == 200
        process.send_signal(signal.SIGINT)
        with anyio.fail_after(EXIT_SECONDS):
            assert await process.wait() == 0


async def test_a_call_that_ends_within_the_grace_is_answered(parser: Parser) -> None:
    probe = Probe()
    answers: list[httpx2.Response] = []
    async with anyio.create_task_group() as tasks:

        async def call(url: str) -> None:
            async with httpx2.AsyncClient(base_url=url) as client:
                headers = modern_headers("tools/call", "hold")
                held = modern("tools/call", HOLD)
                answers.append(await client.post("/mcp", json=held, headers=headers))

        async def release(url: str) -> None:
            async with httpx2.AsyncClient(base_url=url) as client:
                while (await client.get("/readyz")).status_code == 200:
                    await anyio.lowlevel.checkpoint()
            probe.released.set()

        async with serving(probe, parser=parser, grace_seconds=EXIT_SECONDS) as url:
            tasks.start_soon(call, url)
            with anyio.fail_after(EXIT_SECONDS):
                await probe.holding.wait()
            tasks.start_soon(release, url)
    assert answers[0].json()["result"]["structuredContent"] == {"result": "released"}


async def test_a_call_over_sse_is_answered_when_the_server_stops(parser: Parser) -> None:
    probe = Probe()
    heard: list[str] = []
    async with anyio.create_task_group() as tasks:

        async def talk(url: str) -> None:
            async with (
                httpx2.AsyncClient(base_url=url) as client,
                client.stream("GET", "/sse") as stream,
            ):
                async for frame in frames(stream):
                    heard.append(frame)
                    if len(heard) == 1:
                        await client.post(frame, json=modern("tools/call", HOLD))

        async with serving(probe, parser=parser) as url:
            tasks.start_soon(talk, url)
            with anyio.fail_after(EXIT_SECONDS):
                await probe.holding.wait()
    assert "the server is stopping" in json.loads(heard[1])["error"]["message"]


async def _until_held(client: httpx2.AsyncClient, calls: int) -> None:
    with anyio.fail_after(EXIT_SECONDS):
        while True:
            answer = await client.post(
                "/mcp",
                json=modern("tools/call", {"name": "held", "arguments": {}}),
                headers=modern_headers("tools/call", "held"),
            )
            if answer.json()["result"]["structuredContent"] == {"result": calls}:
                return

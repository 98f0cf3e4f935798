"""A downstream server that is a client of the kernel too, each over its own real connection."""

import logging
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from runpy import run_path

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent

from aios_mcp.kernel import Agents
from aios_mcp.kernel.calls import GenerateCall
from backends.messages import JsonObject, ServerStatus, ToolResult, ToolSpec
from backends.protocols import OnProgress, ToolServer
from backends.scripted import ListJournal
from backends.tool_servers import HttpServer, StdioServer, open_tool_server
from scheduler import Lane
from scheduler.policies import Fair
from tests.kernel.errands import Slot
from tests.kernel.kernels import NOW, agent, build, core, ignore, prompt
from tests.marks import asyncio_only
from tests.server.surfaces import SECRETS, known, server
from tests.server_http.servers import serving

EXAMPLE = Path(__file__).parents[2] / "examples" / "summary_server.py"
Opener = Callable[[str], AbstractAsyncContextManager[ToolServer]]


class Later:
    """A tool server that is reached once the kernel's own address is known."""

    def __init__(self) -> None:
        self.real: ToolServer | None = None
        self.told: list[str] = []

    async def list_tools(self, /) -> tuple[ToolSpec, ...]:
        assert self.real is not None
        return await self.real.list_tools()

    async def call(
        self, name: str, arguments: JsonObject, on_progress: OnProgress, errand: str = "", /
    ) -> ToolResult:
        assert self.real is not None
        self.told.append(errand)
        return await self.real.call(name, arguments, on_progress, errand)

    def status(self) -> ServerStatus:
        return ServerStatus(state="ready")


@asynccontextmanager
async def over_stdio(url: str) -> AsyncGenerator[ToolServer]:
    env = {"AIOS_URL": url, "AIOS_TOKEN": SECRETS["bob"]}
    settings = StdioServer(command=(sys.executable, str(EXAMPLE)), env=env)
    async with open_tool_server("summary", settings) as opened:
        yield opened


@asynccontextmanager
async def over_http(url: str) -> AsyncGenerator[ToolServer]:
    async with (
        serving(run_path(str(EXAMPLE))["build"](url, SECRETS["bob"]), known=nobody()) as here,
        open_tool_server("summary", HttpServer(url=f"{here}/mcp")) as opened,
    ):
        yield opened


def nobody() -> Agents:
    return Agents({"ada": agent()}, secrets={}, token_key=b"k" * 32, now=lambda: NOW)


@asyncio_only
@pytest.mark.parametrize("opener", [over_stdio, over_http])
@pytest.mark.parametrize("calls_back", [True, False])
async def test_what_a_server_asks_for_an_agent_does_not_wait_behind_its_own_batch(
    opener: Opener, calls_back: bool, caplog: pytest.LogCaptureFixture
) -> None:
    slot, later, journal = Slot(), Later(), ListJournal()
    kernel = build(
        core(llm=slot, tiers=("fast",)),
        servers={"summary": later},
        calling_back=["summary"] if calls_back else [],
        policy=Fair(),
        journal=journal,
    )
    ada, bob = agent("ada"), agent("bob")
    places: list[str] = []
    answers: list[CallToolResult] = []

    async def own(text: str, waits: anyio.Event) -> None:
        call = GenerateCall(request=prompt(text), model="fast", lane=Lane.BATCH)
        await kernel.llm_generate(bob, call, ignore, lambda _: waits.set())

    async def see(progress: float, total: float | None, message: str | None) -> None:
        if message is not None and ("in front" in message or "next" in message):
            places.append(message.partition(" (")[0])
            slot.goes_on.set()

    caplog.set_level(logging.DEBUG)
    with anyio.fail_after(40):
        async with (
            serving(server(kernel, agents=known(ada, bob)), known=known(ada, bob)) as url,
            opener(f"{url}/mcp") as later.real,
            connected(f"{url}/mcp", SECRETS["ada"]) as client,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(own, "holds", anyio.Event())
            await slot.taken.wait()
            for text in ("first", "second"):
                waits = anyio.Event()
                tasks.start_soon(own, text, waits)
                await waits.wait()
            arguments = {"tool": "summary.summarise", "arguments": {"text": "asked"}}
            answers.append(await client.call_tool("execute_tool", arguments, progress_callback=see))
    assert [answer.content for answer in answers] == [[TextContent(type="text", text="Done.")]]
    ahead, behind = ["holds", "asked", "first", "second"], ["holds", "first", "second", "asked"]
    order = [text.split()[-1] for text in slot.order]
    assert order == (ahead if calls_back else behind)
    assert places[0] == ("next in line" if calls_back else "2 calls in front")
    assert [len(token) for token in later.told] == ([32] if calls_back else [0])
    asked = [(each.agent, each.op) for each in journal.audit][-2:]
    assert asked == [("ada", "execute_tool"), ("bob", "llm_generate")]
    if calls_back and opener is over_stdio:  # else the server logs here, too
        written = [str(vars(record)) for record in caplog.records]
        assert not [each for each in written if later.told[0] in each]


@asynccontextmanager
async def connected(url: str, secret: str) -> AsyncGenerator[Client]:
    headers = {"Authorization": f"Bearer {secret}"}
    async with (
        httpx2.AsyncClient(headers=headers) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        yield client

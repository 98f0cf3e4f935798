"""The composition root with the adapters of production."""

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from aios_mcp.app import App, open_embedder, open_kernel
from aios_mcp.config import Config, ConfigError, load_config
from aios_mcp.directories import Directories
from aios_mcp.kernel.calls import AddCall, GenerateCall, Generation, SearchCall
from backends.errors import BackendError
from backends.llama_cpp import BUNDLED_MODEL
from backends.memory_store.entries import LOOSE_ROWS
from backends.messages import GenerateRequest, MemoryDraft, MemoryQuery, Message, Piece
from backends.protocols import Emit
from scheduler import Lane
from tests.backends.database.lines import fill, occupied
from tests.backends.llama_cpp.tiny_models import write_language_model
from tests.backends.memory_store.statements import running
from tests.marks import asyncio_only

pytestmark = asyncio_only
SECONDS = 60


def configure(tmp_path: Path, text: str = "") -> Config:
    path = tmp_path / "aios.toml"
    path.write_text(f'[kernel]\ndata_dir = "data"\ncache_dir = "cache"\n{text}')
    return load_config(path).config


async def generate(app: App, max_tokens: int = 8, *, agent: str = "local") -> str:
    texts: list[str] = []

    async def emit(piece: Piece, /) -> None:
        texts.append(piece.text)

    request = GenerateRequest(messages=(Message("user", "Hello"),), max_tokens=max_tokens)
    answer = await app.kernel.llm_generate(
        app.agents.get(agent), GenerateCall(request=request), emit
    )
    assert answer.text == "".join(texts)
    return answer.text


async def test_the_defaults_generate_remember_and_are_ready(tmp_path: Path) -> None:
    config = configure(tmp_path)
    with anyio.fail_after(SECONDS):
        async with open_kernel(config, tmp_path) as app:
            local = app.agents.get("local")
            assert await app.is_ready()
            assert await generate(app)
            draft = MemoryDraft(content="The key is under the teapot.")
            await app.kernel.add_memory(local, AddCall(draft=draft, namespace="self"))
        async with open_kernel(config, tmp_path) as app:  # what was stored outlives the kernel
            query = SearchCall(query=MemoryQuery(text="teapot"), namespace=None)
            [hit] = await app.kernel.search_memory(local, query)
            assert hit.content == draft.content
            ops = [record.op for record in await app.kernel.audit(local)]
            assert ops == ["search_memory", "add_memory", "llm_generate"]


async def test_the_end_of_a_call_that_finds_no_room_in_line_is_written_at_the_stop(
    tmp_path: Path,
) -> None:
    config = configure(tmp_path)
    generating, go, ended = anyio.Event(), anyio.Event(), anyio.Event()

    async def emit(piece: Piece, /) -> None:
        del piece
        generating.set()
        await go.wait()

    async def ask(app: App) -> None:
        request = GenerateRequest(messages=(Message("user", "Hello"),), max_tokens=1)
        call = GenerateCall(request=request)
        await app.kernel.llm_generate(app.agents.get("local"), call, emit)
        ended.set()

    with anyio.fail_after(SECONDS):
        async with open_kernel(config, tmp_path) as app, anyio.create_task_group() as tg:
            tg.start_soon(ask, app)
            await generating.wait()
            async with occupied(app.database):
                fill(app.database)
                go.set()
                await ended.wait()
            assert (await app.kernel.status(app.agents.get("local"))).unsettled == 1
        async with open_kernel(config, tmp_path) as app:
            [record] = await app.kernel.audit(app.agents.get("local"))
            assert (record.op, record.outcome) == ("llm_generate", "ok")


async def test_ids_are_in_the_order_of_time_and_cannot_be_guessed(tmp_path: Path) -> None:
    config = configure(tmp_path, '[memory]\nembedder = "static"')
    with anyio.fail_after(SECONDS):
        async with open_kernel(config, tmp_path) as app:
            local, ids = app.agents.get("local"), list[str]()
            for number in range(20):
                call = AddCall(draft=MemoryDraft(content=str(number)), namespace="self")
                ids.append((await app.kernel.add_memory(local, call)).id)
    moments, rest = [each[:11] for each in ids], {each[11:] for each in ids}
    assert moments == sorted(moments)
    assert len(rest) == 20
    assert {len(each) for each in ids} == {26}


@pytest.mark.parametrize(("mebibytes", "reads_again"), [(128, False), (0, True)])
async def test_what_searches_read_stays_in_memory_up_to_the_configured_bound(
    tmp_path: Path, mebibytes: int, reads_again: bool
) -> None:
    config = configure(tmp_path, f'[memory]\nembedder = "static"\ncache_mb = {mebibytes}')
    query = SearchCall(query=MemoryQuery(text="teapot"), namespace=None)
    with running() as ran, anyio.fail_after(SECONDS):
        async with open_kernel(config, tmp_path) as app:
            local = app.agents.get("local")
            for number in range(LOOSE_ROWS):
                draft = MemoryDraft(content=f"teapot {number}")
                await app.kernel.add_memory(local, AddCall(draft=draft, namespace="self"))
            assert await app.kernel.search_memory(local, query)
            ran.clear()
            assert await app.kernel.search_memory(local, query)
    assert any("JOIN part ON" in each.sql for each in ran) is reads_again


async def test_a_kernel_whose_only_core_failed_is_not_ready(tmp_path: Path) -> None:
    model = tmp_path / "m.gguf"
    model.write_bytes(BUNDLED_MODEL.read_bytes())
    config = configure(tmp_path, '[cores.x]\nbackend = "llama_cpp"\nmodel = "m.gguf"')
    with anyio.fail_after(SECONDS):
        async with open_kernel(config, tmp_path) as app:
            assert await app.is_ready()
            model.write_bytes(b"no model")
            with pytest.raises(BackendError):
                await generate(app)
            assert not await app.is_ready()


async def test_what_the_file_grants_is_what_the_agent_has(tmp_path: Path) -> None:
    config = configure(
        tmp_path,
        """
[agents.local]
tools = ["fs.*"]
args = [{ tool = "fs.*", path = "path", under = "research" }]
memory = { read = ["self/*"], max_rows = 7, max_mb = 0.5, add_rate = "90/min" }
llm.max_tokens = 9
llm.tokens_per_day = 100
llm.usd_per_day = 0.25
llm.concurrency = 2
rate = "60/min"
""",
    )
    async with open_kernel(config, tmp_path) as app:
        agent = app.agents.get("local")
    assert agent.allowance.calls_per_minute == 60
    assert agent.allowance.micro_usd_per_day == 250_000
    assert (agent.allowance.memory_rows, agent.allowance.memory_bytes) == (7, 500_000)
    assert agent.allowance.adds_per_minute == 90
    assert (agent.allowance.tokens_per_day, agent.allowance.generations_at_once) == (100, 2)
    assert agent.grants.allows_arguments("fs.read", {"path": str(tmp_path / "research" / "a")})
    assert not agent.grants.allows_arguments("fs.read", {"path": str(tmp_path / "other")})
    assert agent.grants.max_tokens == 9


@pytest.mark.parametrize(("policy", "place"), [("fair", 1), ("fifo", 4)])
async def test_the_policy_of_the_file_says_who_runs_next(
    tmp_path: Path, policy: str, place: int
) -> None:
    agents = "".join(f'[agents.{name}]\nllm.tiers = ["balanced"]\n' for name in ("local", "polite"))
    config = configure(
        tmp_path,
        f'[scheduler]\npolicy = "{policy}"\n{agents}[cores.x]\nbackend = "llama_cpp"\nslots = 1\n',
    )
    served: list[str] = []

    async def ask(app: App, agent: str) -> None:
        await generate(app, agent=agent)
        served.append(agent)

    with anyio.fail_after(SECONDS):
        async with open_kernel(config, tmp_path) as app, anyio.create_task_group() as tasks:
            for agent in ("local", "local", "local", "local", "polite"):
                tasks.start_soon(ask, app, agent)
    assert served.index("polite") == place


@pytest.mark.parametrize(
    "scheduler",
    [
        'policy = "fair"',
        'policy = "round_robin"',
        'policy = "deadline"',
        'policy = "priority"',
        'lanes.urgent.policy = "fifo"',
    ],
)
async def test_a_long_generation_stands_still_for_one_that_goes_first(
    tmp_path: Path, scheduler: str
) -> None:
    write_language_model(tmp_path / "endless.gguf", context_tokens=50_000)
    agent = 'llm = { tiers = ["balanced"], max_tokens = 40000 }'
    config = configure(
        tmp_path,
        f"[scheduler]\n{scheduler}\n[agents.local]\n{agent}\n[agents.polite]\n{agent}\n"
        '[cores.x]\nbackend = "llama_cpp"\nmodel = "endless.gguf"\nslots = 1\n'
        "context_tokens = 50000\n",
    )
    has_begun, goes_on = anyio.Event(), anyio.Event()
    is_answered = False

    async def note(_: Piece, /) -> None:
        has_begun.set()
        if is_answered:
            goes_on.set()

    async def forget(_: Piece, /) -> None:
        pass

    async def ask(app: App, agent: str, emit: Emit, call: GenerateCall) -> Generation:
        return await app.kernel.llm_generate(app.agents.get(agent), call, emit)

    endless = GenerateRequest(messages=(Message("user", "Hello"),), max_tokens=40_000)
    urgent = GenerateCall(
        request=replace(endless, max_tokens=8), lane=Lane.URGENT, deadline_seconds=25
    )
    with anyio.fail_after(SECONDS):
        async with open_kernel(config, tmp_path) as app, anyio.create_task_group() as tasks:
            tasks.start_soon(ask, app, "local", note, GenerateCall(request=endless))
            await has_begun.wait()
            answer = await ask(app, "polite", forget, urgent)
            assert answer.usage.output_tokens == 8
            is_answered = True
            await goes_on.wait()
            tasks.cancel_scope.cancel()


async def test_a_remote_core_is_not_contacted_before_its_first_call(tmp_path: Path) -> None:
    remote = '[cores.x]\nbackend = "openai"\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "m"\n'
    config = configure(tmp_path, remote + 'tiers = ["balanced"]')
    with anyio.fail_after(SECONDS):
        async with open_kernel(config, tmp_path) as app:
            assert await app.is_ready()
            with pytest.raises(BackendError):
                await generate(app)


@pytest.mark.parametrize("embedder", ["auto", "static"])
async def test_without_the_converted_model_the_static_embedder_is_used(
    tmp_path: Path, embedder: str
) -> None:
    config = configure(tmp_path, f'[memory]\nembedder = "{embedder}"')
    async with AsyncExitStack() as stack:
        opened = await open_embedder(stack, config, Directories.of(config, tmp_path))
        assert "static" in opened.name
        assert (await opened.embed(["a", "b"])).shape[0] == 2


async def test_an_embedder_that_is_asked_for_and_absent_is_refused(tmp_path: Path) -> None:
    config = configure(tmp_path, '[memory]\nembedder = "minilm"')
    with pytest.raises(ConfigError, match="aios-mcp models pull minilm"):
        async with AsyncExitStack() as stack:
            await open_embedder(stack, config, Directories.of(config, tmp_path))

"""Working memory and extraction with the adapters of production and the bundled model."""

from pathlib import Path

import anyio

from aios_mcp.app import App, open_kernel
from aios_mcp.config import load_config
from aios_mcp.kernel.calls import (
    ExtractionReport,
    ForgetCall,
    Forgotten,
    GenerateCall,
    Generation,
    MemoryInjection,
    SearchCall,
)
from backends.messages import GenerateRequest, MemoryQuery, Message, Piece, Selection
from tests.marks import asyncio_only

_FILE = """
[kernel]
data_dir = "data"
cache_dir = "cache"

[memory.extract]
agents = ["local"]
after_turns = 2
max_memories = 1
kinds = ["fact"]
"""


async def say(app: App, text: str) -> Generation:
    async def emit(piece: Piece, /) -> None:
        del piece

    request = GenerateRequest(messages=(Message("user", text),), max_tokens=8, temperature=0.0)
    call = GenerateCall(request=request, session="s", memory=MemoryInjection(k=0, turns=3))
    return await app.kernel.llm_generate(app.agents.get("local"), call, emit)


async def extraction(app: App) -> ExtractionReport:
    report = (await app.kernel.status(app.agents.get("local"))).extraction
    assert report is not None
    return report


@asyncio_only
async def test_a_session_outlives_the_kernel_and_becomes_a_memory(tmp_path: Path) -> None:
    file = tmp_path / "aios.toml"
    file.write_text(_FILE)
    config = load_config(file).config
    with anyio.fail_after(120):
        async with open_kernel(config, tmp_path) as app:
            first = await say(app, "Hello.")
            assert first.turns == ()
        async with open_kernel(config, tmp_path) as app:
            second = await say(app, "Who are you?")
            assert second.turns == (first.request_id,)
            assert (await extraction(app)).waiting == 2
        async with open_kernel(config, tmp_path) as app:  # looks at the backlog when it starts
            while (done := await extraction(app)).waiting:
                assert done.failed == 0
                await anyio.sleep(0.05)
            local = app.agents.get("local")
            query = SearchCall(query=MemoryQuery(session="s"))
            hits = await app.kernel.search_memory(local, query)
            assert done.stored == len(hits)
            for hit in hits:
                assert hit.source["extracted_from"] == [first.request_id, second.request_id]


@asyncio_only
async def test_a_forgotten_session_leaves_no_word_in_the_data_directory(tmp_path: Path) -> None:
    file = tmp_path / "aios.toml"
    file.write_text('[kernel]\ndata_dir = "data"\ncache_dir = "cache"\n')
    with anyio.fail_after(120):
        async with open_kernel(load_config(file).config, tmp_path) as app:
            await say(app, "Keep the zebracode to yourself.")
            data = tmp_path / "data"
            assert b"zebracode" in content_of(data)
            call = ForgetCall(selection=Selection(session="s"))
            gone = await app.kernel.forget_memory(app.agents.get("local"), call)
            assert gone == Forgotten(memories=0, exchanges=1)
            assert b"zebracode" not in content_of(data)
            assert (await say(app, "Hello.")).turns == ()


def content_of(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())

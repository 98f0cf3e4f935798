"""The composition root with endpoints: what of the file reaches cores and embedders."""

from pathlib import Path
from typing import cast

import anyio
import pytest

from aios_mcp.app import App, open_kernel
from aios_mcp.config import ConfigError, load_config
from aios_mcp.kernel.calls import AddCall, GenerateCall, Generation, SearchCall
from backends.errors import SchemaUnsupportedError
from backends.messages import GenerateRequest, MemoryDraft, MemoryQuery, Message, Piece
from tests.backends.openai_compatible.endpoint import Exchange, open_endpoint
from tests.marks import asyncio_only

pytestmark = asyncio_only
SECONDS = 60
HEAD = '[kernel]\ndata_dir = "data"\ncache_dir = "cache"\n'


async def embeds(exchange: Exchange) -> None:
    """Embed by two words, after the manner of a very small model."""
    texts = cast("list[str]", exchange.request.body["input"])
    rows = [
        {"index": index, "embedding": ["tea" in text, "war" in text, 0.1]}
        for index, text in enumerate(texts)
    ]
    await exchange.document({"data": rows})


async def ask(app: App, request: GenerateRequest) -> Generation:
    async def ignore(piece: Piece, /) -> None:
        del piece

    call = GenerateCall(request=request, model="capable")
    return await app.kernel.llm_generate(app.agents.get("local"), call, ignore)


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "aios.toml"
    path.write_text(HEAD + text)
    return path


async def test_a_core_of_a_preset_is_asked_in_the_endpoint_s_words(tmp_path: Path) -> None:
    request = GenerateRequest(messages=(Message("user", "hi"),), max_tokens=7, repeat_penalty=1.5)
    async with open_endpoint() as endpoint:
        path = file(
            tmp_path,
            f"""
[cores.a]
backend = "openai"
preset = "openrouter"
base_url = "{endpoint.url}"
model = "m"
max_tokens_field = "max_completion_tokens"
schema_output = false
price = {{ input = 1, output = 2 }}
""",
        )
        with anyio.fail_after(SECONDS):
            async with open_kernel(load_config(path).config, tmp_path) as app:
                answer = await ask(app, request)
                schema = {"type": "object"}
                with pytest.raises(SchemaUnsupportedError):
                    await ask(app, GenerateRequest(messages=request.messages, schema=schema))
                [report] = app.kernel.cores(app.agents.get("local"))
    body = endpoint.requests[0].body
    assert (body["max_completion_tokens"], body["repetition_penalty"]) == (7, 1.5)
    assert answer.cost_micro_usd == 7 * 1 + 2 * 2  # 7 tokens in, 2 out, as reported
    assert report.is_local  # an endpoint on loopback is on this machine
    assert report.price == (1.0, 1.0, 2.0)


async def test_memories_leave_only_where_the_file_says_so(tmp_path: Path) -> None:
    async with open_endpoint(embeds) as endpoint:
        embedders = f'[embedders.words]\nbase_url = "{endpoint.url}"\nmodel = "m"\n'
        silent = file(tmp_path, f'[memory]\nembedder = "words"\n{embedders}')
        with pytest.raises(ConfigError, match="embeddings_may_leave = true"):
            async with open_kernel(load_config(silent).config, tmp_path):
                pass
        assert not endpoint.requests
        await _remember(embedders, tmp_path)
        assert len(endpoint.requests) == 3  # two memories and a query


async def _remember(embedders: str, tmp_path: Path) -> None:
    allowed = file(
        tmp_path, f'[memory]\nembedder = "words"\nembeddings_may_leave = true\n{embedders}'
    )
    with anyio.fail_after(SECONDS):
        async with open_kernel(load_config(allowed).config, tmp_path) as app:
            local = app.agents.get("local")
            for text in ("tea at four", "war at noon"):
                draft = MemoryDraft(content=text)
                await app.kernel.add_memory(local, AddCall(draft=draft))
            query = MemoryQuery(text="about tea", k=1, mode="vector")
            [hit] = await app.kernel.search_memory(local, SearchCall(query=query))
    assert hit.content == "tea at four"


async def test_a_ceiling_for_one_call_is_granted_in_dollars(tmp_path: Path) -> None:
    config = load_config(file(tmp_path, "[agents.local]\nllm.usd_per_call = 0.25\n")).config
    async with open_kernel(config, tmp_path) as app:
        assert app.agents.get("local").allowance.micro_usd_per_call == 250_000

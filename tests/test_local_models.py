"""Several models of one kernel, and the memory that the configuration gives them."""

import re
from pathlib import Path

import anyio
import pytest

from aios_mcp.app import App, open_kernel
from aios_mcp.cli.failures import explain
from aios_mcp.config import ConfigError, load_config
from aios_mcp.kernel.calls import GenerateCall
from backends.messages import GenerateRequest, Message, Piece
from tests.backends.llama_cpp.tiny_models import write_embedding_model
from tests.marks import asyncio_only

pytestmark = asyncio_only
SECONDS = 60

TWO_MODELS = """
[kernel]
data_dir = "data"
cache_dir = "cache"

[limits]
model_memory_mb = {megabytes}

[cores.one]
backend = "llama_cpp"
slots = 1

[cores.other]
backend = "llama_cpp"
slots = 1
"""


async def generate(app: App, model: str) -> str:
    async def ignore(_: Piece, /) -> None:
        """Take a piece that nobody reads."""

    request = GenerateRequest(messages=(Message("user", "Hello"),), max_tokens=8)
    call = GenerateCall(request=request, model=model)
    return (await app.kernel.llm_generate(app.agents.get("local"), call, ignore)).text


def states(app: App) -> list[str]:
    return [core.status().state for core in app.cores]


async def test_models_that_do_not_fit_at_once_take_turns(tmp_path: Path) -> None:
    (tmp_path / "aios.toml").write_text(TWO_MODELS.format(megabytes=100))
    config = load_config(tmp_path / "aios.toml").config
    with anyio.fail_after(SECONDS):
        async with open_kernel(config, tmp_path) as app:
            text = await generate(app, "one")
            assert states(app) == ["ready", "idle"]
            assert await generate(app, "other") == text
            assert states(app) == ["idle", "ready"]
            assert await generate(app, "one") == text
            held = [core.status().memory_bytes for core in app.cores]
            assert 0 == held[1] < held[0] <= 100_000_000


async def test_a_model_that_never_fits_stops_the_start_with_figures(tmp_path: Path) -> None:
    (tmp_path / "aios.toml").write_text(TWO_MODELS.format(megabytes=60))
    config = load_config(tmp_path / "aios.toml").config
    # In a group where parts of the kernel were already running.
    with pytest.raises((ConfigError, ExceptionGroup)) as caught:
        async with open_kernel(config, tmp_path):
            pass
    failure = explain(caught.value)
    assert failure is not None
    [line] = failure.lines
    figures = (
        r"cores\.one: needs \d+ MiB of memory \(weights 1 MiB, context 2 MiB, work space .+\),"
    )
    assert re.match(figures + r" and limits\.model_memory_mb allows 57 MiB; lower slots", line)


async def test_without_a_figure_models_share_what_is_free(tmp_path: Path) -> None:
    (tmp_path / "aios.toml").write_text(TWO_MODELS.format(megabytes=0))
    config = load_config(tmp_path / "aios.toml").config
    with anyio.fail_after(SECONDS):
        async with open_kernel(config, tmp_path) as app:
            await generate(app, "one")
            await generate(app, "other")
            assert states(app) == ["ready", "ready"]


async def test_an_embedder_takes_its_room_before_the_models(tmp_path: Path) -> None:
    write_embedding_model(tmp_path / "embed.gguf")
    embedder = '\n[memory]\nembedder = "embed.gguf"\n'
    (tmp_path / "aios.toml").write_text(TWO_MODELS.format(megabytes=100) + embedder)
    config = load_config(tmp_path / "aios.toml").config
    with pytest.raises((ConfigError, ExceptionGroup)) as caught:
        async with open_kernel(config, tmp_path):
            pass

    # Without an embedder each of these models fits into as much.
    failure = explain(caught.value)
    assert failure is not None
    assert re.match(r"cores\.one: needs \d+ MiB", failure.lines[0])

"""Several models in less memory than they need together, with real workers."""

import dataclasses
import logging
import os
import re
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from backends.errors import BackendUnavailableError
from backends.llama_cpp import LlamaCore, LlamaSettings, ModelPool, open_llama_core
from backends.llama_cpp.gguf_info import read_model_info
from backends.llama_cpp.memory_plan import plan_memory
from tests.backends.llama_cpp.asking import (
    DEADLINE_SECONDS,
    ENDLESS_TOKENS,
    ask,
    request,
    worker_pids,
)
from tests.backends.llama_cpp.tiny_models import write_language_model
from tests.backends.pieces import Pieces


def need(settings: LlamaSettings) -> int:
    return plan_memory(read_model_info(settings.model), settings).total_bytes


async def open_cores(
    stack: AsyncExitStack, pool: ModelPool, *all_: LlamaSettings
) -> list[LlamaCore]:
    return [await stack.enter_async_context(open_llama_core(each, pool)) for each in all_]


def states(*cores: LlamaCore) -> list[str]:
    return [core.status().state for core in cores]


@pytest.fixture
def pool(language: LlamaSettings) -> ModelPool:
    """Room for one model of random weights and not for two."""
    return ModelPool(need(language) * 3 // 2)


async def test_a_model_that_nobody_uses_leaves_for_one_that_is_asked(
    language: LlamaSettings, pool: ModelPool
) -> None:
    async with AsyncExitStack() as stack:
        one, other = await open_cores(stack, pool, language, language)
        first = await ask(one, request("hello"))
        assert states(one, other) == ["ready", "idle"]
        assert one.status().memory_bytes == need(language)
        await ask(other, request("hello"))
        assert states(one, other) == ["idle", "ready"]
        assert one.status().memory_bytes == 0
        assert len(worker_pids()) == 1
        assert await ask(one, request("hello")) == first


async def test_models_that_fit_together_both_stay(language: LlamaSettings) -> None:
    async with AsyncExitStack() as stack:
        one, other = await open_cores(stack, ModelPool(2 * need(language)), language, language)
        await ask(one, request("hello"))
        await ask(other, request("hello"))
        assert states(one, other) == ["ready", "ready"]


async def test_a_running_answer_is_never_cut_off_for_another_model(
    endless: LlamaSettings, language: LlamaSettings
) -> None:
    small = dataclasses.replace(endless, context_tokens=2000)
    async with AsyncExitStack() as stack:
        budget = max(need(small), need(language))
        one, other = await open_cores(stack, ModelPool(budget), small, language)
        pieces = Pieces()
        async with anyio.create_task_group() as group:
            with anyio.fail_after(DEADLINE_SECONDS):
                group.start_soon(one.generate, request("hello", max_tokens=1500), pieces.emit)
                await pieces.first.wait()
                # It waits until the answer is complete, which the model at work is let finish.
                await other.generate(request("hello"), Pieces().emit)
        assert sum(piece.tokens for piece in pieces.all) == 1500
        assert states(one, other) == ["idle", "ready"]


async def test_a_call_that_waits_for_room_in_vain_is_told_the_figures(
    endless: LlamaSettings, language: LlamaSettings
) -> None:
    hasty = dataclasses.replace(language, room_deadline_seconds=0.1)
    async with AsyncExitStack() as stack:
        one, other = await open_cores(stack, ModelPool(need(endless)), endless, hasty)
        pieces = Pieces()
        async with anyio.create_task_group() as group:
            asked = request("hello", max_tokens=ENDLESS_TOKENS - 100)
            group.start_soon(one.generate, asked, pieces.emit)
            with anyio.fail_after(DEADLINE_SECONDS):
                await pieces.first.wait()
                figures = r"needs \d+ MiB of memory, and \d MiB of \d+ MiB for models are free"
                with pytest.raises(BackendUnavailableError, match=figures):
                    await other.generate(request("hello"), Pieces().emit)
            group.cancel_scope.cancel()
        # Nobody waits for the other one any more, so this one stays.
        await ask(one, request("hello"))
        assert states(one, other) == ["ready", "idle"]


async def test_a_model_that_can_never_fit_is_refused_with_figures(language: LlamaSettings) -> None:
    async with open_llama_core(language, ModelPool(50 * 1024**2)) as core:
        with pytest.raises(
            BackendUnavailableError,
            match=r"needs \d+ MiB of memory \(weights 2 MiB, context 4 MiB, work space \d+ MiB\),"
            r" and there are 50 MiB for models; lower slots",
        ):
            await core.generate(request("hello"), Pieces().emit)
        assert not worker_pids()


async def test_a_killed_worker_gives_its_room_back(
    endless: LlamaSettings, language: LlamaSettings
) -> None:
    async with AsyncExitStack() as stack:
        one, other = await open_cores(stack, ModelPool(need(endless)), endless, language)
        with anyio.move_on_after(DEADLINE_SECONDS) as scope:
            pieces = Pieces()
            async with anyio.create_task_group() as group:
                asked = request("hello", max_tokens=1000)
                group.start_soon(one.generate, asked, pieces.emit)
                await pieces.first.wait()
                group.cancel_scope.cancel()
            await ask(other, request("hello"))
        assert not scope.cancelled_caught
        assert states(one, other) == ["idle", "ready"]


async def test_an_unused_model_gives_its_memory_back_where_that_is_wanted(
    language: LlamaSettings,
) -> None:
    brief = dataclasses.replace(language, unload_after_seconds=0.01)
    async with open_llama_core(brief) as core:
        pieces = Pieces()
        async with anyio.create_task_group() as group:
            with anyio.fail_after(DEADLINE_SECONDS):
                group.start_soon(core.generate, request("hello"), pieces.emit)
                await pieces.first.wait()
                [worker] = worker_pids()
                ended = os.pidfd_open(worker)
                await anyio.wait_readable(ended)
                os.close(ended)
        assert pieces.text == (await ask(core, request("hello"))).text


async def test_the_plan_is_close_to_what_a_worker_takes(
    models: Path, language: LlamaSettings, caplog: pytest.LogCaptureFixture
) -> None:
    model = write_language_model(models / "plan.gguf", context_tokens=8192)
    settings = dataclasses.replace(language, model=model)
    with caplog.at_level(logging.DEBUG, "backends.llama_cpp.pipes"):
        async with open_llama_core(settings) as core:
            await ask(core, request("hello"))
            [worker] = worker_pids()
            seen = await anyio.Path(f"/proc/{worker}/status").read_text()
    lines = [str(getattr(record, "line", "")) for record in caplog.records]
    told = {
        found[1]: float(found[2])
        for line in lines
        if (found := re.search(r"(model|KV) buffer size = +([\d.]+) MiB", line))
    }
    peak = re.search(r"VmHWM:\s*(\d+) kB", seen)
    assert peak is not None

    plan = plan_memory(read_model_info(model), settings)
    assert plan.weights_bytes / 2**20 == pytest.approx(told["model"], abs=0.1)
    assert plan.context_bytes / 2**20 == pytest.approx(told["KV"], abs=0.1)
    assert plan.total_bytes == pytest.approx(int(peak[1]) * 1024, rel=0.3)

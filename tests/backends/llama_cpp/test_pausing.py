"""Generations that stand still and go on, over real llama.cpp."""

import dataclasses
import os
import signal
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from backends.errors import BackendUnavailableError
from backends.llama_cpp import LlamaCore, LlamaSettings, open_llama_core
from backends.messages import Completion, GenerateRequest
from tests.backends.llama_cpp.asking import (
    DEADLINE_SECONDS,
    ask,
    ask_together,
    request,
    worker_pids,
)
from tests.backends.llama_cpp.turns import BriefTurn, HeldTurn
from tests.backends.pieces import Pieces

IN_MEMORY = Path("/dev/shm")
GREEDY = request("a question of some length " * 8, max_tokens=200)
SEEDED = dataclasses.replace(
    GREEDY, temperature=1.1, top_p=0.97, min_p=0.01, frequency_penalty=0.3, seed=11, logprobs=2
)
IN_SCHEMA = dataclasses.replace(
    SEEDED, schema={"type": "array", "items": {"type": "string"}, "minItems": 20}
)
REQUESTS = pytest.mark.parametrize(
    "asked", [GREEDY, SEEDED, IN_SCHEMA], ids=["greedy", "seeded", "schema"]
)
# Where the cells of a paused answer go when another takes its slot.
PLACES = ("memory", "disk", "nowhere")


def saving_to(place: str, settings: LlamaSettings) -> LlamaSettings:
    """The settings, with room in that place only."""
    return dataclasses.replace(
        settings,
        paused_memory_mb=64 if place == "memory" else 0,
        paused_disk_mb=64 if place == "disk" else 0,
    )


def saved_files(settings: LlamaSettings) -> list[Path]:
    """What the core of these settings has saved; only one of this process may be open."""
    assert settings.cache_dir is not None
    pattern = f"aios-mcp-paused-{os.getpid()}-*/*"
    return [*IN_MEMORY.glob(pattern), *settings.cache_dir.glob(pattern)]


@dataclasses.dataclass(slots=True)
class Paused:
    """A generation that stands still."""

    core: LlamaCore
    turn: HeldTurn
    answers: list[Completion]
    finished: anyio.Event

    async def finish(self) -> Completion:
        self.turn.give()
        with anyio.fail_after(DEADLINE_SECONDS):
            await self.finished.wait()
        return self.answers[0]


@asynccontextmanager
async def open_paused(settings: LlamaSettings, asked: GenerateRequest) -> AsyncGenerator[Paused]:
    """A generation on a new core that stands still after its first pieces."""
    async with open_llama_core(settings) as core:
        paused = Paused(core, HeldTurn(), [], anyio.Event())
        pieces = Pieces()

        async def generate() -> None:
            answer = await core.generate(asked, pieces.emit, paused.turn)
            assert answer.text == pieces.text
            assert sum(piece.tokens for piece in pieces.all) == answer.usage.output_tokens
            paused.answers.append(answer)
            paused.finished.set()

        async with anyio.create_task_group() as group:
            group.start_soon(generate)
            with anyio.fail_after(DEADLINE_SECONDS):
                await pieces.first.wait()
                paused.turn.ask_back()
                await paused.turn.passed.wait()
            yield paused
            group.cancel_scope.cancel()


async def kill_worker(core: LlamaCore) -> None:
    for pid in worker_pids():
        os.kill(pid, signal.SIGKILL)
    with anyio.fail_after(DEADLINE_SECONDS):
        while core.status().state == "ready":
            await anyio.lowlevel.checkpoint()


async def uninterrupted(settings: LlamaSettings, asked: GenerateRequest) -> Completion:
    async with open_llama_core(settings) as core:
        return await ask(core, asked)


@pytest.fixture
def one_slot(language: LlamaSettings, tmp_path: Path) -> LlamaSettings:
    return dataclasses.replace(language, slots=1, cache_dir=tmp_path)


@REQUESTS
async def test_an_answer_paused_in_its_slot_goes_on_as_if_nothing_had_been(
    one_slot: LlamaSettings, asked: GenerateRequest
) -> None:
    async with open_paused(one_slot, asked) as paused:
        assert not saved_files(one_slot)
        answer = await paused.finish()

    assert answer == await uninterrupted(one_slot, asked)


@REQUESTS
@pytest.mark.parametrize("place", PLACES)
async def test_an_answer_that_made_room_for_another_goes_on_as_if_nothing_had_been(
    one_slot: LlamaSettings, asked: GenerateRequest, place: str
) -> None:
    settings = saving_to(place, one_slot)
    async with open_paused(settings, asked) as paused:
        other = await ask(paused.core, request("an urgent one", max_tokens=30))
        saved = saved_files(settings)
        answer = await paused.finish()
        left = saved_files(settings)

    assert len(saved) == (place != "nowhere")
    assert all(path.is_relative_to(IN_MEMORY) == (place == "memory") for path in saved)
    assert not left
    assert answer == await uninterrupted(settings, asked)
    assert other == await uninterrupted(settings, request("an urgent one", max_tokens=30))


@pytest.mark.parametrize(
    ("place", "asked"),
    [("slot", SEEDED), ("memory", SEEDED), ("disk", IN_SCHEMA), ("nowhere", GREEDY)],
    ids=["slot", "memory", "disk", "nowhere"],
)
async def test_a_paused_answer_goes_on_in_the_next_worker_as_if_nothing_had_been(
    one_slot: LlamaSettings, asked: GenerateRequest, place: str
) -> None:
    settings = saving_to(place, one_slot)
    async with open_paused(settings, asked) as paused:
        if place != "slot":
            await ask(paused.core, request("an urgent one", max_tokens=30))
        await kill_worker(paused.core)
        answer = await paused.finish()

    assert answer == await uninterrupted(settings, asked)


async def test_a_killed_worker_fails_what_runs_and_not_what_is_paused(
    one_slot: LlamaSettings,
) -> None:
    endless = dataclasses.replace(GREEDY, max_tokens=700)
    async with open_paused(one_slot, GREEDY) as paused:
        pieces = Pieces()

        async def fail() -> None:
            with pytest.raises(BackendUnavailableError, match="signal 9"):
                await paused.core.generate(endless, pieces.emit)

        with anyio.fail_after(DEADLINE_SECONDS):
            async with anyio.create_task_group() as group:
                group.start_soon(fail)
                await pieces.first.wait()
                for pid in worker_pids():
                    os.kill(pid, signal.SIGKILL)
        next_one = await ask(paused.core, request("next", max_tokens=5))
        answer = await paused.finish()

    assert next_one.usage.output_tokens == 5
    assert answer == await uninterrupted(one_slot, GREEDY)


@REQUESTS
async def test_an_answer_that_is_paused_again_and_again_is_the_same(
    one_slot: LlamaSettings, asked: GenerateRequest
) -> None:
    async with open_llama_core(one_slot) as core:
        whole = await ask(core, asked)
    turns = [BriefTurn() for _ in range(3)]
    answers: list[Completion] = []
    async with open_llama_core(one_slot) as core:

        async def generate(turn: BriefTurn) -> None:
            answers.append(await core.generate(asked, Pieces().emit, turn))

        with anyio.fail_after(DEADLINE_SECONDS):
            async with anyio.create_task_group() as group:
                for turn in turns:
                    group.start_soon(generate, turn)

    assert [answer.text for answer in answers] == [whole.text] * 3
    assert min(turn.times for turn in turns) > 3


async def test_a_cancelled_call_leaves_nothing_of_its_pause_behind(one_slot: LlamaSettings) -> None:
    settings = saving_to("disk", one_slot)
    async with open_llama_core(settings) as core:
        pieces, turn = Pieces(), HeldTurn()
        during: list[Path] = []
        with anyio.fail_after(DEADLINE_SECONDS):
            async with anyio.create_task_group() as group:
                group.start_soon(core.generate, GREEDY, pieces.emit, turn)
                await pieces.first.wait()
                turn.ask_back()
                await turn.passed.wait()
                await ask(core, request("an urgent one", max_tokens=5))
                during += saved_files(settings)
                group.cancel_scope.cancel()
        # Answered after the cancellation was heard.
        await ask(core, request("next", max_tokens=5))
        after = saved_files(settings)

    assert len(during) == 1
    assert not after


async def test_what_is_saved_is_for_this_user_only_and_gone_at_the_end(
    one_slot: LlamaSettings,
) -> None:
    settings = saving_to("disk", one_slot)
    async with open_paused(settings, GREEDY) as paused:
        await ask(paused.core, request("an urgent one", max_tokens=5))
        [saved] = saved_files(settings)
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (saved, saved.parent)]

    assert modes == [0o600, 0o700]
    assert not saved.parent.exists()


async def test_what_a_killed_kernel_left_is_removed(one_slot: LlamaSettings) -> None:
    assert one_slot.cache_dir is not None
    pid = 2**22 + 1
    left = one_slot.cache_dir / f"aios-mcp-paused-{pid}-abc"
    left.mkdir(mode=0o700)
    (left / "1").write_bytes(b"cells")
    other = one_slot.cache_dir / f"aios-mcp-paused-{os.getpid()}-abc"
    other.mkdir(mode=0o700)
    async with open_llama_core(one_slot):
        assert not left.exists()
        assert other.exists()


async def test_a_turn_that_does_not_come_back_ends_the_call_with_its_own_error(
    one_slot: LlamaSettings,
) -> None:
    class TooLateError(Exception):
        pass

    class LateTurn(BriefTurn):
        async def pass_on(self, /) -> None:
            raise TooLateError

    async with open_llama_core(one_slot) as core:
        with anyio.fail_after(DEADLINE_SECONDS), pytest.raises(TooLateError):
            await core.generate(GREEDY, Pieces().emit, LateTurn())
        served = await ask(core, request("next", max_tokens=5))

    assert served.usage.output_tokens == 5


async def test_the_same_text_alone_among_sixteen_paused_and_moved_to_disk_and_resumed(
    one_slot: LlamaSettings,
) -> None:
    settings = saving_to("disk", one_slot)
    sixteen = dataclasses.replace(settings, slots=16)
    for asked in (GREEDY, SEEDED):
        others = [
            request(f"{at} " * (5 + 9 * at), max_tokens=40 + 10 * at, temperature=at % 2)
            for at in range(15)
        ]
        alone = await uninterrupted(settings, asked)
        async with open_llama_core(sixteen) as core:
            among = (await ask_together(core, [*others[:8], asked, *others[8:]]))[8]
        async with open_paused(settings, asked) as paused:
            await ask(paused.core, others[3])
            assert saved_files(settings)
            resumed = await paused.finish()

        assert alone.text == among.text == resumed.text
        assert len(alone.text) > 50

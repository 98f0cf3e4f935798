"""A core that does not begin leaves time for the next one."""

import math
from dataclasses import dataclass, field

import anyio
import pytest

from aios_mcp.kernel import Kernel
from aios_mcp.kernel.calls import GenerateCall, Generation
from aios_mcp.kernel.patience import Patience
from backends.errors import BackendTimeoutError, BackendUnavailableError
from backends.messages import Completion, CoreStatus, GenerateRequest, Piece
from backends.protocols import Emit, Turn
from backends.scripted import EchoCore
from backends.turns import UNINTERRUPTED
from tests.kernel.kernels import agent, build, core, ignore, prompt
from tests.marks import virtual_time

pytestmark = virtual_time
SECONDS = 10.0


@dataclass(slots=True)
class Slow:
    """An echo that takes its time to begin, and may stand still before it does."""

    first_seconds: float = math.inf
    asks_back: bool = False
    asked: int = 0
    echo: EchoCore = field(default_factory=EchoCore)

    async def generate(
        self, request: GenerateRequest, emit: Emit, turn: Turn = UNINTERRUPTED, /
    ) -> Completion:
        self.asked += 1
        await anyio.sleep(self.first_seconds)
        if self.asks_back:
            await turn.pass_on()
        return await self.echo.generate(request, emit, turn)

    def status(self) -> CoreStatus:
        return self.echo.status()


async def ask(kernel: Kernel, text: str = "hello") -> Generation:
    call = GenerateCall(request=prompt(text), deadline_seconds=SECONDS)
    return await kernel.llm_generate(agent(), call, ignore)


def outcomes(answer: Generation) -> list[tuple[str, str]]:
    return [(each.core, each.outcome) for each in answer.attempts]


async def test_a_core_that_hangs_leaves_the_next_one_half_of_the_call_s_time() -> None:
    started = anyio.current_time()
    answer = await ask(build(core("hangs", Slow()), core("good")))
    assert outcomes(answer) == [("hangs", "backend_timeout"), ("good", "ok")]
    assert anyio.current_time() - started == pytest.approx(SECONDS / 2)


async def test_of_several_cores_that_hang_each_gets_half_of_what_is_left() -> None:
    started = anyio.current_time()
    answer = await ask(build(core("one", Slow()), core("two", Slow()), core("good")))
    assert [each.core for each in answer.attempts] == ["one", "two", "good"]
    assert anyio.current_time() - started == pytest.approx(SECONDS * 3 / 4)


async def test_the_only_core_may_take_all_of_the_time() -> None:
    assert (await ask(build(core("slow", Slow(SECONDS * 0.9))))).core == "slow"
    with pytest.raises(BackendTimeoutError, match="did not end within 10 s"):
        await ask(build(core("hangs", Slow())))


async def test_cores_that_cannot_take_the_call_leave_it_to_the_one_that_can() -> None:
    class Resting(EchoCore):
        def status(self) -> CoreStatus:
            return CoreStatus(model="m", state="failed", context_tokens=0, resting_seconds=99.0)

    kernel = build(core("slow", Slow(SECONDS * 0.9)), core("resting", Resting()))
    assert outcomes(await ask(kernel)) == [("slow", "ok")]


async def test_a_core_that_has_begun_may_take_the_rest_of_the_time() -> None:
    writes = EchoCore(seconds_per_token=SECONDS * 0.3)
    answer = await ask(build(core("writes", writes), core("good")), "one two three")
    assert outcomes(answer) == [("writes", "ok")]


async def test_standing_still_for_others_is_not_silence() -> None:
    class Waits:
        async def wanted(self, /) -> None:
            await anyio.sleep_forever()

        async def pass_on(self, /) -> None:
            await anyio.sleep(SECONDS)

    async def emit(piece: Piece) -> None:
        said.append(piece.text)

    said: list[str] = []
    paused = core("paused", Slow(1.0, asks_back=True))
    completion = await Patience().generate(
        paused, prompt("hello"), emit, Waits(), until=anyio.current_time() + 4.0, is_last=False
    )
    assert completion.text == "hello "
    assert said == ["hello "]


async def test_a_core_that_was_silent_is_asked_last_for_a_while() -> None:
    slow = Slow()
    kernel = build(core("silent", slow), core("good"))
    assert [(await ask(kernel, text)).core for text in "abc"] == ["good"] * 3
    assert slow.asked == 1
    slow.first_seconds = 0.0
    await anyio.sleep(30.0)
    assert (await ask(kernel, "d")).core == "silent"


async def test_a_core_that_answers_again_is_not_doubted_any_more() -> None:
    slow = Slow()
    kernel = build(core("silent", slow), core("good"))
    assert (await ask(kernel, "a")).core == "good"
    slow.first_seconds = 0.0
    named = GenerateCall(request=prompt("b"), model="silent")
    assert (await kernel.llm_generate(agent(), named, ignore)).core == "silent"
    assert (await ask(kernel, "c")).core == "silent"


async def test_what_a_silent_core_leaves_is_told_when_no_other_can_answer() -> None:
    down = EchoCore(fails_with=BackendUnavailableError("down", retry_after_seconds=3.0))
    with pytest.raises(BackendUnavailableError):
        await ask(build(core("silent", Slow()), core("down", down)))

"""Cores at endpoints that fail, through the kernel: who is asked next, and what the caller sees."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import pytest

from aios_mcp.errors import failure_of
from aios_mcp.kernel import Kernel
from aios_mcp.kernel.calls import GenerateCall, Generation
from aios_mcp.kernel.routing import Router
from backends.errors import (
    BackendError,
    BackendTimeoutError,
    BackendUnavailableError,
    IncompleteAnswerError,
)
from backends.messages import Piece
from backends.openai_compatible import OpenAISettings, open_openai_core
from backends.scripted import ListJournal
from tests.backends.openai_compatible.endpoint import (
    Behaviour,
    Endpoint,
    delta,
    fails,
    hangs,
    open_endpoint,
    says,
    streams,
    streams_then_cuts,
    streams_then_waits,
)
from tests.kernel.kernels import agent, build, core, ignore, prompt
from tests.marks import asyncio_only

pytestmark = asyncio_only
SECONDS = 20.0
ERROR_IN_A_200 = streams({"error": {"code": 502, "message": "upstream"}}, "[DONE]")


@dataclass(frozen=True, slots=True)
class Pair:
    """A kernel over two endpoints, the first of them preferred."""

    kernel: Kernel
    first: Endpoint
    second: Endpoint
    journal: ListJournal

    async def ask(self) -> Generation:
        with anyio.fail_after(SECONDS):
            call = GenerateCall(request=prompt("hello"))
            return await self.kernel.llm_generate(agent(), call, ignore)


@asynccontextmanager
async def pair(
    first: Behaviour | None = None, *, first_token_seconds: float = SECONDS
) -> AsyncGenerator[Pair]:
    def settings(name: str, endpoint: Endpoint, seconds: float = SECONDS) -> OpenAISettings:
        return OpenAISettings(
            name=name,
            base_url=endpoint.url,
            model="m",
            first_token_deadline_seconds=seconds,
        )

    journal = ListJournal()
    async with (
        open_endpoint(first) as one,
        open_endpoint(says("from", " two")) as two,
        open_openai_core(settings("one", one, first_token_seconds)) as core_one,
        open_openai_core(settings("two", two)) as core_two,
    ):
        kernel = build(
            core("one", core_one, is_local=False),
            core("two", core_two, is_local=False),
            journal=journal,
            router=Router(prefer="listed"),
        )
        yield Pair(kernel, one, two, journal)


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        pytest.param(fails(500), "backend_unavailable", id="500"),
        pytest.param(fails(429), "backend_unavailable", id="429"),
        pytest.param(fails(401), "backend_unavailable", id="401"),
        pytest.param(fails(402), "backend_unavailable", id="402"),
        pytest.param(fails(403), "backend_unavailable", id="403"),
        pytest.param(ERROR_IN_A_200, "backend_unavailable", id="error in a 200"),
        pytest.param(streams_then_cuts(), "backend_unavailable", id="cut at once"),
        pytest.param(streams("[DONE]"), "backend_unavailable", id="nothing"),
        pytest.param(
            streams_then_cuts(delta(reasoning_content="hm")), "backend_unavailable", id="thoughts"
        ),
    ],
)
async def test_a_core_that_fails_before_its_first_text_is_replaced(
    behaviour: Behaviour, outcome: str
) -> None:
    async with pair(behaviour) as both:
        answer = await both.ask()
    assert answer.text == "from two"
    assert [(each.core, each.outcome) for each in answer.attempts] == [
        ("one", outcome),
        ("two", "ok"),
    ]


async def test_a_core_that_hangs_before_its_first_text_is_replaced() -> None:
    async with pair(first_token_seconds=0.2) as both:
        both.first.behaviour = hangs(both.first)
        answer = await both.ask()
        assert answer.attempts[0].outcome == "backend_timeout"
        assert answer.text == "from two"
        with anyio.fail_after(SECONDS):
            await both.first.left.wait()  # and its endpoint was told


async def test_a_core_that_keeps_hanging_is_not_asked_again() -> None:
    async with pair(first_token_seconds=0.05) as both:
        both.first.behaviour = hangs(both.first)
        for _ in range(6):
            assert (await both.ask()).core == "two"
        assert len(both.first.requests) < 6


@pytest.mark.parametrize("status", [401, 402, 403, 429])
async def test_a_dead_credential_and_a_limit_are_remembered_and_shown(status: int) -> None:
    async with pair(fails(status, retry_after="30")) as both:
        for _ in range(3):
            assert (await both.ask()).core == "two"
        one, _ = both.kernel.cores(agent())
        assert len(both.first.requests) == 1
        assert one.status.resting_seconds > 20
        assert one.status.note
        both.second.behaviour = fails(500)
        with pytest.raises(BackendUnavailableError):
            await both.ask()
        both.second.behaviour = fails(401)
        with pytest.raises(BackendUnavailableError):
            await both.ask()
        with pytest.raises(BackendUnavailableError, match=r"'one'.*'two'") as none_left:
            await both.ask()
        assert none_left.value.retry_after_seconds is not None


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (streams_then_cuts(delta("half")), IncompleteAnswerError),
        (
            streams(delta("half"), {"error": {"code": 500, "message": "x"}}),
            IncompleteAnswerError,
        ),
        (streams(delta("half"), "[DONE]"), IncompleteAnswerError),
    ],
    ids=["cut", "error", "no reason"],
)
async def test_after_the_first_text_a_failure_is_the_caller_s_with_what_was_used(
    behaviour: Behaviour, error: type[BackendError]
) -> None:
    async with pair(behaviour) as both:
        with pytest.raises(error) as broken:
            await both.ask()
        assert not both.second.requests
        failure = failure_of(broken.value)
        assert failure is not None
        assert failure.usage is not None
        assert failure.usage.output_tokens == 1
        assert both.journal.audit[-1].tokens == failure.usage.total


async def test_silence_within_an_answer_is_a_time_out_with_what_was_used() -> None:
    async with open_endpoint() as endpoint:
        endpoint.behaviour = streams_then_waits(endpoint, delta("half"))
        settings = OpenAISettings(
            name="one", base_url=endpoint.url, model="m", idle_deadline_seconds=0.2
        )
        async with open_openai_core(settings) as one:
            kernel = build(core("one", one), core("two"))
            with pytest.raises(BackendTimeoutError) as silent:
                await kernel.llm_generate(agent(), GenerateCall(request=prompt("x")), ignore)
    failure = failure_of(silent.value)
    assert failure is not None
    assert failure.usage is not None
    assert failure.usage.output_tokens == 1


@pytest.mark.parametrize("is_streaming", [True, False])
async def test_a_caller_that_leaves_aborts_the_request_at_the_endpoint(is_streaming: bool) -> None:
    async with pair() as both:
        first = both.first
        first.behaviour = streams_then_waits(first, delta("a")) if is_streaming else hangs(first)
        emitted = anyio.Event()

        async def emit(piece: Piece) -> None:
            del piece
            emitted.set()

        async with anyio.create_task_group() as tasks:
            with anyio.fail_after(SECONDS):
                call = GenerateCall(request=prompt("x"))
                tasks.start_soon(both.kernel.llm_generate, agent(), call, emit)
                await (emitted if is_streaming else first.asked).wait()
                tasks.cancel_scope.cancel()
        with anyio.fail_after(SECONDS):
            await first.left.wait()
        assert not both.second.requests
        assert both.journal.audit[-1].outcome == "cancelled"
        assert (await both.kernel.status(agent())).running == 0

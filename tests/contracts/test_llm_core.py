"""Contract of `LLMCore`: every implementation passes these tests."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from backends.llama_cpp import BUNDLED_MODEL, LlamaSettings, open_llama_core
from backends.messages import Completion, GenerateRequest, Message, Piece
from backends.openai_compatible import OpenAISettings, open_openai_core
from backends.protocols import LLMCore
from backends.scripted import EchoCore
from tests.backends.openai_compatible.endpoint import Exchange, delta, open_endpoint, usage

Opener = Callable[[], AbstractAsyncContextManager[LLMCore]]
DEADLINE_SECONDS = 120.0


@asynccontextmanager
async def echo() -> AsyncGenerator[LLMCore]:
    yield EchoCore()


@asynccontextmanager
async def behind_an_endpoint() -> AsyncGenerator[LLMCore]:
    async def echo_words(exchange: Exchange) -> None:
        body = exchange.request.body
        words = str(body["messages"]).split()
        limit = body["max_tokens"]
        assert isinstance(limit, int)
        await exchange.start()
        for word in words[:limit]:
            await exchange.event(delta(f"{word} "))
        await exchange.event(delta(finish="stop" if len(words) <= limit else "length"))
        await exchange.event(usage(len(words), min(limit, len(words))))
        await exchange.send(b"data: [DONE]\n\n")
        await exchange.end()

    async with open_endpoint(echo_words) as endpoint:
        settings = OpenAISettings(name="remote", base_url=endpoint.url, model="echo")
        async with open_openai_core(settings) as core:
            yield core


@asynccontextmanager
async def over_llama_cpp() -> AsyncGenerator[LLMCore]:
    async with open_llama_core(LlamaSettings(model=BUNDLED_MODEL, name="demo")) as core:
        yield core


@pytest.fixture(
    params=[
        pytest.param(("trio", echo), id="echo-trio"),
        pytest.param(("asyncio", echo), id="echo-asyncio"),
        pytest.param(("asyncio", behind_an_endpoint), id="openai"),
        pytest.param(("asyncio", over_llama_cpp), id="llama_cpp"),
    ]
)
def case(request: pytest.FixtureRequest) -> tuple[str, Opener]:
    found: tuple[str, Opener] = request.param
    return found


@pytest.fixture
def anyio_backend(case: tuple[str, Opener]) -> str:
    """The real cores' libraries know asyncio only."""
    return case[0]


@pytest.fixture
async def core(case: tuple[str, Opener]) -> AsyncGenerator[LLMCore]:
    async with case[1]() as opened:
        yield opened


def request(text: str = "tell me a story about the sea", *, max_tokens: int) -> GenerateRequest:
    return GenerateRequest(
        messages=(Message("system", "Be brief."), Message("user", text)), max_tokens=max_tokens
    )


async def ask(core: LLMCore, asked: GenerateRequest) -> tuple[Completion, list[Piece]]:
    pieces: list[Piece] = []

    async def emit(piece: Piece) -> None:
        pieces.append(piece)

    with anyio.fail_after(DEADLINE_SECONDS):
        return await core.generate(asked, emit), pieces


async def test_the_completion_is_its_pieces_joined(core: LLMCore) -> None:
    completion, pieces = await ask(core, request(max_tokens=6))
    assert completion.text
    assert completion.text == "".join(piece.text for piece in pieces)
    assert all(piece.tokens >= 0 for piece in pieces)


async def test_usage_counts_the_prompt_and_the_answer(core: LLMCore) -> None:
    completion, _ = await ask(core, request(max_tokens=6))
    usage = completion.usage
    assert usage.input_tokens > 0
    assert 0 <= usage.cached_tokens <= usage.input_tokens
    assert 0 < usage.output_tokens <= 6


async def test_an_answer_that_reaches_the_limit_says_so(core: LLMCore) -> None:
    completion, _ = await ask(core, request(max_tokens=1))
    assert completion.reason == "length"
    assert completion.usage.output_tokens == 1


async def test_calls_at_once_get_their_own_answers(core: LLMCore) -> None:
    alone, _ = await ask(core, request(max_tokens=4))
    answers: list[Completion] = []

    async def one() -> None:
        completion, _ = await ask(core, request(max_tokens=4))
        answers.append(completion)

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(one)
    assert [answer.text for answer in answers] == [alone.text] * 4


async def test_a_cancelled_call_ends_and_the_next_one_works(core: LLMCore) -> None:
    async def cancel(piece: Piece) -> None:
        del piece
        scope.cancel()
        await anyio.sleep_forever()

    with anyio.fail_after(DEADLINE_SECONDS):
        with anyio.CancelScope() as scope:
            await core.generate(request(max_tokens=6), cancel)
        assert scope.cancelled_caught
    completion, _ = await ask(core, request(max_tokens=6))
    assert completion.text


class BriefTurn:
    """A turn that is asked back all the time and given again at once."""

    async def wanted(self, /) -> None:
        await anyio.lowlevel.checkpoint()

    async def pass_on(self, /) -> None:
        await anyio.lowlevel.checkpoint()


async def test_an_answer_whose_turn_is_asked_back_is_the_same(core: LLMCore) -> None:
    pieces: list[str] = []

    async def emit(piece: Piece) -> None:
        pieces.append(piece.text)

    whole, _ = await ask(core, request(max_tokens=6))
    with anyio.fail_after(DEADLINE_SECONDS):
        sliced = await core.generate(request(max_tokens=6), emit, BriefTurn())

    assert sliced.text == whole.text == "".join(pieces)
    assert sliced.usage.output_tokens == whole.usage.output_tokens


async def test_the_status_names_the_model(core: LLMCore) -> None:
    await ask(core, request(max_tokens=1))
    status = core.status()
    assert status.model in {"echo", "demo"}
    assert status.state == "ready"
    assert status.context_tokens >= 0

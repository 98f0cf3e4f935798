"""What a core at an endpoint makes of many streams at once, against the plain `openai` client.

Both read the same answers from one endpoint in a process of its own on loopback, in turn.
"""

import sys
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import median

import anyio
import httpx2
from anyio.streams.buffered import BufferedByteReceiveStream
from openai import AsyncOpenAI

from backends.messages import GenerateRequest, Message, Piece
from backends.openai_compatible import OpenAISettings, open_openai_core
from benchmarks.figures import Figure

STREAMS = 64
TOKENS = 64

Ask = Callable[[int, Callable[[], None]], Coroutine[None, None, int]]
"""Asks for so many tokens, says when the first has come, and gives the size of the text."""


async def streams(*, quick: bool) -> list[Figure]:
    """Measure throughput, the way to the first token, and how soon a cancelled call is over."""
    rounds = 2 if quick else 7
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(_open_stub())
        ours = await stack.enter_async_context(_through_the_core(url, "stub"))
        plain = await stack.enter_async_context(_through_the_client(url))
        endless = await stack.enter_async_context(_through_the_core(url, "endless"))
        for each in (ours, plain):  # their connections are made
            await _together(each)
        rates = [(await _together(ours), await _together(plain)) for _ in range(rounds)]
        first = [(await _first_ms(ours), await _first_ms(plain)) for _ in range(30 * rounds)]
        aborted_ms = await _aborted_ms(endless, url)
    return [
        _throughput(*(median(each) for each in zip(*rates, strict=True))),
        _overhead(*(median(each) for each in zip(*first, strict=True))),
        Figure(
            name=f"{STREAMS} streams cancelled: until the endpoint has seen the last one end",
            value=aborted_ms,
            unit="ms",
            bar=200.0,
        ),
    ]


def _throughput(ours: float, plain: float) -> Figure:
    return Figure(
        name=f"{STREAMS} streams of {TOKENS} tokens at once: tokens per second / openai client",
        value=ours / plain,
        unit="x",
        bar=1.0,
        better="higher",
        peer=f"{ours:,.0f}/s, openai client: {plain:,.0f}/s",
    )


def _overhead(ours: float, plain: float) -> Figure:
    return Figure(
        name="time to the first token of one stream, added to the openai client's",
        value=ours - plain,
        unit="ms",
        bar=3.0,
        peer=f"{ours:.2f} ms, openai client: {plain:.2f} ms",
    )


async def _together(ask: Ask) -> float:
    """Give the tokens per second of all streams together."""
    sizes: list[int] = []

    async def one() -> None:
        sizes.append(await ask(TOKENS, _nothing))

    start = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(STREAMS):
            tasks.start_soon(one)
    seconds = time.perf_counter() - start
    assert sizes == [len("word ") * TOKENS] * STREAMS
    return STREAMS * TOKENS / seconds


async def _first_ms(ask: Ask) -> float:
    first = 0.0

    def note() -> None:
        nonlocal first
        first = time.perf_counter()

    start = time.perf_counter()
    await ask(4, note)
    return (first - start) * 1000


async def _aborted_ms(ask: Ask, url: str) -> float:
    begun = 0
    all_begun = anyio.Event()

    def note() -> None:
        nonlocal begun
        begun += 1
        if begun == STREAMS:
            all_begun.set()

    start = 0.0
    async with anyio.create_task_group() as tasks:
        for _ in range(STREAMS):
            tasks.start_soon(ask, 1, note)
        with anyio.fail_after(30):
            await all_begun.wait()
        start = time.monotonic()
        tasks.cancel_scope.cancel()
    async with httpx2.AsyncClient(timeout=30) as client:
        last: float = (await client.get(f"{url}/left/{STREAMS}")).json()
    return (last - start) * 1000


def _nothing() -> None:
    pass


# --- The endpoint and who asks it --------------------------------------------------------------


@asynccontextmanager
async def _open_stub() -> AsyncGenerator[str]:
    command = [sys.executable, "-m", "benchmarks.stream_stub"]
    async with await anyio.open_process(command, stderr=None) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with anyio.fail_after(30):
            line = await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", 100)
        try:
            yield f"http://127.0.0.1:{int(line)}/v1"
        finally:
            process.terminate()


@asynccontextmanager
async def _through_the_core(url: str, model: str) -> AsyncGenerator[Ask]:
    settings = OpenAISettings(name="stub", base_url=url, model=model, max_connections=STREAMS)
    async with open_openai_core(settings) as core:

        async def ask(tokens: int, on_first: Callable[[], None]) -> int:
            size = 0

            async def emit(piece: Piece) -> None:
                nonlocal size
                if not size:
                    on_first()
                size += len(piece.text)

            messages = (Message("user", "say something"),)
            await core.generate(GenerateRequest(messages=messages, max_tokens=tokens), emit)
            return size

        yield ask


@asynccontextmanager
async def _through_the_client(url: str) -> AsyncGenerator[Ask]:
    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

        async def ask(tokens: int, on_first: Callable[[], None]) -> int:
            size = 0
            stream = await client.chat.completions.create(
                model="stub",
                messages=[{"role": "user", "content": "say something"}],
                max_tokens=tokens,
                stream=True,
                stream_options={"include_usage": True},
            )
            async for chunk in stream:
                for choice in chunk.choices:
                    if not size:
                        on_first()
                    size += len(choice.delta.content or "")
            return size

        yield ask

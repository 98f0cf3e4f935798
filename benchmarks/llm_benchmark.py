"""What agents get out of one model: our core against other ways to serve the same GGUF.

All run the same 18-million-weight model of random numbers in the same llama.cpp, on one thread,
greedily; our core from its worker process, as in production, the servers over loopback.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import anyio

from backends.llama_cpp import LlamaCore, LlamaSettings, open_llama_core
from backends.messages import Completion, GenerateRequest, Message, Piece
from benchmarks.figures import Figure
from benchmarks.llm_extra_buffers import extra_buffers
from benchmarks.llm_loop import loop_cost
from benchmarks.llm_peers import (
    HOW_TO_BUILD,
    HOW_TO_INSTALL,
    find_llama_server,
    find_packaged_server,
    llama_server,
    locked_llama,
    packaged_server,
)
from benchmarks.llm_preemption import preemption
from benchmarks.llm_restart import restart
from benchmarks.llm_schema import schema_cost
from benchmarks.llm_streams import streams
from benchmarks.llm_waves import (
    Ask,
    Prompt,
    Wave,
    ask_core,
    first_ms,
    send_wave,
    tokens_per_second,
    words,
)
from benchmarks.random_model import Shape, write_random_model

SLOTS = 16
CONTEXT_TOKENS = 2048
PROMPT_BYTES = 32
NEW_TOKENS, QUICK_TOKENS = 128, 64
WAVES, QUICK_WAVES = 2, 1
ROUNDS, QUICK_ROUNDS = 3, 2
SYSTEM_BYTES = 1000

OURS, LOCK, SERVER, PACKAGED = "ours", "Llama behind a lock", "llama-server", "llama_cpp.server"
NOT_QUICK = "left out of the quick run"
Waves = Mapping[str, Sequence[Wave]]


def run(*, quick: bool) -> list[Figure]:
    """Measure every figure of the LLM cores."""
    with TemporaryDirectory() as folder:
        model = Path(folder) / "random.gguf"
        write_random_model(model, Shape(context=CONTEXT_TOKENS))
        figures = anyio.run(partial(_measure, model, quick=quick))
        if not quick:
            figures += anyio.run(partial(preemption, model, quick=False))
        figures.append(anyio.run(partial(restart, quick=quick)))
        figures += loop_cost(model, quick=quick)
        figures.append(extra_buffers(model, rounds=1 if quick else 3))
    if not quick:
        figures += schema_cost(quick=False)
    return [*figures, *anyio.run(partial(streams, quick=quick))]


async def _measure(model: Path, *, quick: bool) -> list[Figure]:
    async with AsyncExitStack() as stack:
        settings = LlamaSettings(
            model=model, name="random", slots=SLOTS, context_tokens=CONTEXT_TOKENS, threads=1
        )
        core = await stack.enter_async_context(open_llama_core(settings))
        asks: dict[str, Ask] = {
            OURS: ask_core(core),
            LOCK: stack.enter_context(locked_llama(model, CONTEXT_TOKENS)),
        }
        if (program := find_llama_server()) is not None:
            asks[SERVER] = await stack.enter_async_context(
                llama_server(program, model, slots=SLOTS, context_tokens=CONTEXT_TOKENS)
            )
        if not quick and (python := find_packaged_server()) is not None:
            asks[PACKAGED] = await stack.enter_async_context(
                packaged_server(python, model, context_tokens=CONTEXT_TOKENS)
            )
        for ask in asks.values():
            await ask(Prompt("warm up"), 2)
        eight = await _waves(asks, agents=8, quick=quick)
        batching = {name: asks[name] for name in (OURS, SERVER) if name in asks}
        sixteen = await _waves({} if quick else batching, agents=16, quick=quick)
        return [
            *_throughput(eight, sixteen),
            *_first_token(eight),
            *([] if quick else await _shared_start(batching)),
            await _equality(core),
        ]


async def _waves(asks: Mapping[str, Ask], *, agents: int, quick: bool) -> Waves:
    """Send waves of agents with fresh prompts, each wave to everybody in turn."""
    waves: dict[str, list[Wave]] = defaultdict(list)
    new_tokens = QUICK_TOKENS if quick else NEW_TOKENS
    for wave in range(QUICK_WAVES if quick else WAVES):
        work = [
            [
                Prompt(words(1000 * agents + 100 * wave + ROUNDS * agent + at, PROMPT_BYTES))
                for at in range(QUICK_ROUNDS if quick else ROUNDS)
            ]
            for agent in range(agents)
        ]
        for name, ask in asks.items():
            waves[name].append(await send_wave(ask, work, new_tokens))
    return waves


# --- figures -----------------------------------------------------------------------------------


def _throughput(eight: Waves, sixteen: Waves) -> list[Figure]:
    def against(peer: str, waves: Waves, agents: int, bar: float, missing: str = "") -> Figure:
        ours = tokens_per_second(waves[OURS]) if peer in waves else 0.0
        theirs = tokens_per_second(waves[peer]) if peer in waves else None
        return Figure(
            name=f"{agents} agents: tokens per second / {peer}",
            value=None if theirs is None else ours / theirs,
            unit="x",
            bar=bar,
            better="higher",
            peer=missing if theirs is None else f"{ours:.0f}/s, {peer}: {theirs:.0f}/s",
        )

    return [
        against(SERVER, eight, 8, 1.0, HOW_TO_BUILD),
        against(SERVER, sixteen, 16, 1.0, NOT_QUICK if SERVER in eight else HOW_TO_BUILD),
        against(LOCK, eight, 8, 2.0),
        against(
            PACKAGED, eight, 8, 2.0, HOW_TO_INSTALL if find_packaged_server() is None else NOT_QUICK
        ),
    ]


def _first_token(eight: Waves) -> list[Figure]:
    def against(
        peer: str, bar: float | None, missing: str = "", *, at_once: bool = False
    ) -> Figure:
        ours = first_ms(eight[OURS], at_once=at_once)
        theirs = first_ms(eight[peer], at_once=at_once) if peer in eight else None
        whose = "8 requests at the same moment" if at_once else "8 agents"
        return Figure(
            name=f"{whose}: median time to the first token, {peer} / ours",
            value=None if theirs is None else theirs / ours,
            unit="x",
            bar=bar,
            better="higher",
            peer=missing if theirs is None else f"{ours:.0f} ms, {peer}: {theirs:,.0f} ms",
        )

    return [
        against(LOCK, 10.0),
        against(SERVER, 2.0, HOW_TO_BUILD),
        # No bar: with prompts read one after the other at most 8 / 4.5, where the server reads
        # all eight before it gives any a token.
        against(SERVER, None, HOW_TO_BUILD, at_once=True),
    ]


async def _shared_start(asks: Mapping[str, Ask]) -> list[Figure]:
    """Eight agents start at once with a system prompt that nobody has seen before."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for number in range(3):
        shared = words(5000 + number, SYSTEM_BYTES)
        alike = [[Prompt(words(6000 + agent, 30), system=shared)] for agent in range(8)]
        for name, ask in asks.items():
            seconds[name].append((await send_wave(ask, alike, 4)).seconds)
        apart = [
            [
                Prompt(
                    words(6000 + agent, 30), system=words(7000 + 10 * number + agent, SYSTEM_BYTES)
                )
            ]
            for agent in range(8)
        ]
        seconds[""].append((await send_wave(asks[OURS], apart, 4)).seconds)
    ours = median(seconds[OURS])

    def against(peer: str, shown: str, missing: str = "") -> Figure:
        theirs = median(seconds[peer]) if peer in seconds else None
        return Figure(
            name=f"8 agents start with one system prompt of 1,000 tokens: time, {shown} / ours",
            value=None if theirs is None else theirs / ours,
            unit="x",
            bar=3.0,
            better="higher",
            peer=missing if theirs is None else f"{ours:.2f} s, {shown}: {theirs:.2f} s",
        )

    return [against(SERVER, SERVER, HOW_TO_BUILD), against("", "nothing in common")]


async def _equality(core: LlamaCore) -> Figure:
    prompts = [words(1000 + agent, 10 + 10 * agent) for agent in range(SLOTS)]
    together: dict[str, str] = {}

    async def one(prompt: str) -> None:
        together[prompt] = (await _complete(core, prompt)).text

    async with anyio.create_task_group() as group:
        for prompt in prompts:
            group.start_soon(one, prompt)
    same = [together[prompt] == (await _complete(core, prompt)).text for prompt in prompts]
    return Figure(
        name="greedy answers that are the same alone and among sixteen",
        value=sum(same),
        unit=f"of {SLOTS}",
        bar=SLOTS,
        better="higher",
    )


async def _complete(core: LlamaCore, prompt: str) -> Completion:
    async def ignore(_piece: Piece) -> None:
        """Take a piece that nobody reads."""

    request = GenerateRequest(messages=(Message("user", prompt),), max_tokens=24)
    return await core.generate(request, ignore)

"""How soon a core serves again whose worker process was killed in the middle of an answer."""

import logging
import os
import signal
import time
from pathlib import Path
from statistics import median

import anyio

from backends.errors import BackendUnavailableError
from backends.llama_cpp import BUNDLED_MODEL, LlamaCore, LlamaSettings, open_llama_core
from backends.messages import GenerateRequest, Message, Piece
from benchmarks.figures import Figure

_DEADLINE_SECONDS = 30.0


async def restart(*, quick: bool) -> Figure:
    """Measure from `kill -9` to the whole answer of the next call, on the bundled model."""
    settings = LlamaSettings(model=BUNDLED_MODEL, name="bundled", threads=1)
    seconds: list[float] = []
    # It warns of each worker's end, which here is meant.
    logging.getLogger("backends.llama_cpp.process").setLevel(logging.ERROR)
    with anyio.fail_after(_DEADLINE_SECONDS):
        async with open_llama_core(settings) as core:
            for _ in range(3 if quick else 9):
                killed = await _kill_at_work(core)
                await core.generate(_request(8), _ignore)
                seconds.append(time.perf_counter() - killed)
    return Figure(
        name="worker killed with -9 in the middle of an answer: until the next call is served",
        value=median(seconds),
        unit="s",
        bar=1.0,
        peer=f"longest: {max(seconds):.2f} s; the bundled model",
    )


async def _kill_at_work(core: LlamaCore) -> float:
    """Kill the worker while it answers; give the time of it once the call has failed."""
    killed = 0.0

    async def kill(_piece: Piece) -> None:
        nonlocal killed
        if not killed:
            killed = time.perf_counter()
            for pid in _workers():
                os.kill(pid, signal.SIGKILL)

    try:
        await core.generate(_request(400), kill)
    except BackendUnavailableError:
        return killed
    raise RuntimeError("the answer ended before its worker was killed")


def _workers() -> list[int]:
    """Worker processes that this one has started."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if int(words[1]) == os.getpid() and b"backends.llama_cpp.worker" in command:
            found.append(int(folder.name))
    return found


def _request(max_tokens: int) -> GenerateRequest:
    prompt = "Tell me a story about a small fox named Mia."
    return GenerateRequest(messages=(Message("user", prompt),), max_tokens=max_tokens)


async def _ignore(_piece: Piece) -> None:
    """Take a piece that nobody reads."""

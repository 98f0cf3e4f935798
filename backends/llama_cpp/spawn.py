"""Starts worker processes: same interpreter, same packages, three pipes."""

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE

import anyio
from anyio.abc import Process

_ROOT = Path(__file__).resolve().parents[2]
_END_DEADLINE_SECONDS = 5.0


@asynccontextmanager
async def open_worker() -> AsyncGenerator[Process]:
    """Run a worker process; it is gone when the block is left."""
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")]))
    # Without this, a failed assertion inside ggml starts a debugger on the process.
    environment = os.environ | {"PYTHONPATH": path, "GGML_NO_BACKTRACE": "1"}
    # numpy would start a thread on each core, of which nothing here makes use.
    environment["OPENBLAS_NUM_THREADS"] = "1"
    process = await anyio.open_process(
        [sys.executable, "-P", "-m", "backends.llama_cpp.worker"],
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=environment,
    )
    try:
        yield process
    finally:
        await end_process(process)


async def end_process(process: Process, *, grace_seconds: float = 0.0) -> int | None:
    """Kill a worker, which has nothing to save, and wait until it is gone; give its exit code.

    One that ends by itself needs a moment of grace: killing it meanwhile loses its exit code.
    """
    with anyio.move_on_after(_END_DEADLINE_SECONDS, shield=True):
        with anyio.move_on_after(grace_seconds):
            await process.wait()
        if process.returncode is None:
            process.kill()
        await process.wait()
        await process.aclose()
    return process.returncode

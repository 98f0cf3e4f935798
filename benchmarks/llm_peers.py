"""Other ways to serve a GGUF to many agents: what our core is measured against."""

import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import llama_cpp
from anyio import to_thread

from benchmarks.llm_waves import Answered, Ask, Prompt

_START_SECONDS = 60.0
_ANSWER_SECONDS = 120.0
_END_SECONDS = 10.0
_TEXT = re.compile(rb'"content": ?"[^"]')
_TOKENS = re.compile(rb'"completion_tokens": ?(\d+)')

HOW_TO_BUILD = "not here: build it with `sh scripts/llama_server.sh`, or name it in LLAMA_SERVER"
HOW_TO_INSTALL = (
    "not here: pip install 'llama-cpp-python[server]' into some environment, and name its"
    " interpreter in LLAMA_CPP_SERVER_PYTHON"
)


def find_llama_server() -> str | None:
    """Find llama-server: as LLAMA_SERVER, beside this interpreter, or on PATH."""
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return shutil.which(os.environ.get("LLAMA_SERVER", "llama-server"), path=beside)


def find_packaged_server() -> str | None:
    """Find an interpreter that can run `llama_cpp.server`."""
    named = os.environ.get("LLAMA_CPP_SERVER_PYTHON")
    here = importlib.util.find_spec("fastapi") and importlib.util.find_spec("starlette_context")
    return named or (sys.executable if here else None)


@contextmanager
def locked_llama(model: Path, context_tokens: int) -> Generator[Ask]:
    """Open `llama_cpp.Llama`, which takes one call at a time, behind a lock."""
    llama = llama_cpp.Llama(
        str(model), n_ctx=context_tokens, n_threads=1, n_threads_batch=1, verbose=False
    )
    lock = anyio.Lock()

    def stream(prompt: Prompt, new_tokens: int, started: float) -> float:
        first = 0.0
        for _ in llama.create_chat_completion(
            [{"role": each.role, "content": each.text} for each in prompt.messages],  # type: ignore[misc]  # its messages are TypedDicts by role
            max_tokens=new_tokens,
            temperature=0.0,
            repeat_penalty=1.0,
            stream=True,
        ):
            first = first or 1000 * (time.perf_counter() - started)
        return first

    async def ask(prompt: Prompt, new_tokens: int) -> Answered:
        started = time.perf_counter()
        async with lock:
            first = await to_thread.run_sync(stream, prompt, new_tokens, started)
        return Answered(first, new_tokens)

    yield ask
    llama.close()


@asynccontextmanager
async def llama_server(
    program: str, model: Path, *, slots: int, context_tokens: int
) -> AsyncGenerator[Ask]:
    """Run llama-server with continuous batching, as many slots as our core and one thread."""
    options = (
        f"--parallel {slots} --ctx-size {slots * context_tokens} --threads 1 --threads-batch 1"
        " --no-webui --no-kv-unified"
    )
    async with _serving([program, "--model", str(model), *options.split()], "/health") as ask:
        yield ask


@asynccontextmanager
async def packaged_server(python: str, model: Path, *, context_tokens: int) -> AsyncGenerator[Ask]:
    """Run `llama_cpp.server`, the server that comes with llama-cpp-python."""
    # Else each request breaks off the one before it.
    options = f"--n_ctx {context_tokens} --n_threads 1 --n_threads_batch 1 --interrupt_requests 0"
    command = [python, "-m", "llama_cpp.server", "--model", str(model), *options.split()]
    async with _serving(command, "/v1/models") as ask:
        yield ask


@asynccontextmanager
async def _serving(command: list[str], health: str) -> AsyncGenerator[Ask]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    process = await anyio.open_process(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with anyio.fail_after(_START_SECONDS):
            while not await _answers(port, health):  # noqa: ASYNC110 - no other way to know
                await anyio.sleep(0.05)
        yield lambda prompt, new_tokens: _ask(port, prompt, new_tokens)
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(_END_SECONDS):
            process.kill()
            await process.wait()


async def _answers(port: int, path: str) -> bool:
    try:
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            return b" 200 " in (await stream.receive())[:20]
    except (OSError, anyio.EndOfStream):
        return False


async def _ask(port: int, prompt: Prompt, new_tokens: int) -> Answered:
    """Ask over a plain socket: an HTTP client would take as much time as these servers do."""
    body = json.dumps(
        {
            "messages": [{"role": each.role, "content": each.text} for each in prompt.messages],
            "max_tokens": new_tokens,
            "temperature": 0.0,
            "repeat_penalty": 1.0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    )
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    started = time.perf_counter()
    first, seen = 0.0, b""
    with anyio.fail_after(_ANSWER_SECONDS):
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send((head + body).encode())
            while b"[DONE]" not in seen[-64:]:
                seen += await stream.receive()
                if not first and _TEXT.search(seen):
                    first = 1000 * (time.perf_counter() - started)
    told = _TOKENS.search(seen)
    # The model never ends an answer, so that a server which does not tell has used them all.
    return Answered(first, int(told[1]) if told else new_tokens)

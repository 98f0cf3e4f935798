"""Short ways to ask a core, for the tests of this folder."""

import os
from pathlib import Path

import anyio

from backends.llama_cpp import LlamaCore
from backends.messages import Completion, GenerateRequest, JsonObject, Message
from tests.backends.pieces import Pieces

DEADLINE_SECONDS = 60.0
ENDLESS_TOKENS = 100_000


def request(
    text: str,
    *,
    max_tokens: int = 24,
    temperature: float | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    stop: tuple[str, ...] = (),
    schema: JsonObject | None = None,
) -> GenerateRequest:
    return GenerateRequest(
        messages=(Message("user", text),),
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        stop=stop,
        schema=schema,
    )


async def ask(core: LlamaCore, asked: GenerateRequest) -> Completion:
    with anyio.fail_after(DEADLINE_SECONDS):
        return await core.generate(asked, Pieces().emit)


async def ask_together(core: LlamaCore, requests: list[GenerateRequest]) -> list[Completion]:
    answers: dict[int, Completion] = {}

    async def one(at: int) -> None:
        answers[at] = await core.generate(requests[at], Pieces().emit)

    with anyio.fail_after(DEADLINE_SECONDS):
        async with anyio.create_task_group() as group:
            for at in range(len(requests)):
                group.start_soon(one, at)
    return [answers[at] for at in range(len(requests))]


def worker_pids(of: int | None = None) -> set[int]:
    """Children of a process, this one by default, that run a worker."""
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"backends.llama_cpp.worker" in command and int(parent) == (of or os.getpid()):
            found.add(int(entry.name))
    return found

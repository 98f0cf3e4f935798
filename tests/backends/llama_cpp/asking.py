"""Short ways to ask a core, for the tests of this folder."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from backends.llama_cpp import LlamaCore
from backends.messages import Completion, GenerateRequest, JsonObject, Message, Piece

DEADLINE_SECONDS = 60.0
ENDLESS_TOKENS = 100_000


@dataclass(slots=True)
class Pieces:
    """Receives pieces; `first` is set when one has come."""

    all: list[Piece] = field(default_factory=list[Piece])
    first: anyio.Event = field(default_factory=anyio.Event)

    async def emit(self, piece: Piece) -> None:
        self.all.append(piece)
        self.first.set()

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.all)


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

"""Lets a generation run in slices: it stands still when its turn is asked back."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Protocol

import anyio

from backends.llama_cpp.calls import Call
from backends.llama_cpp.frames import Progress, Submit
from backends.llama_cpp.process import WorkerProcess
from backends.protocols import Turn
from backends.turns import UNINTERRUPTED


class SubmitCommand(Protocol):
    """Makes the command for a call, from its beginning or from where it stands."""

    def __call__(self, call_id: int, progress: Progress | None = None) -> Submit:
        """The command for the call with this id."""
        ...


@asynccontextmanager
async def minding(
    turn: Turn, worker: WorkerProcess, call: Call, command: SubmitCommand
) -> AsyncGenerator[None]:
    """Mind a call's turn beside the block; what goes wrong there ends the block."""
    if turn is UNINTERRUPTED:
        yield
        return
    failures: list[Exception] = []

    async def mind() -> None:
        try:
            while True:
                await turn.wanted()
                if not await worker.pause(call):
                    return
                await turn.pass_on()
                await worker.resume(call, command)
        except Exception as error:  # noqa: BLE001 - raised below, where no group wraps it
            failures.append(error)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(mind)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised below, where no group wraps it
            failures.insert(0, error)
        group.cancel_scope.cancel()
    if failures:
        raise failures[0]

"""The line of writes that wait for a database: behind a writer at work, and filled to its end."""

import contextlib
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
import apsw

from backends.database import Database
from backends.errors import StoreBusyError


@asynccontextmanager
async def occupied(database: Database, seconds: float = 0.0) -> AsyncGenerator[None]:
    """Keep the writer at work for the length of the block, and some seconds longer."""
    started, go = threading.Event(), threading.Event()

    def work(connection: apsw.Connection) -> None:
        del connection
        started.set()
        assert go.wait(60)
        time.sleep(seconds)

    async with anyio.create_task_group() as tg:
        tg.start_soon(database.write, work)
        assert await anyio.to_thread.run_sync(started.wait, 60)
        try:
            yield
        finally:
            go.set()


def fill(database: Database) -> None:
    """Put so much in the writer's line that nothing else finds room."""

    def nothing(connection: apsw.Connection, items: Sequence[object]) -> list[None]:
        del connection
        return [None for _ in items]

    def fail(exc: BaseException) -> None:
        raise exc

    with contextlib.suppress(StoreBusyError):
        while True:
            database.send(nothing, 0, failed=fail)

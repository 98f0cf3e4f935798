"""What keeps the memories in order while nobody waits for it."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Protocol

import anyio

from backends.errors import BackendError, StoreError

logger = logging.getLogger(__name__)


class Keepable(Protocol):
    """A store that gathers what has to be done later."""

    async def purge(self) -> int:
        """Take all that has expired out; returns how many memories."""
        ...

    async def reembed(self) -> int:
        """Make the vectors that are missing; returns how many."""
        ...


@asynccontextmanager
async def keep_in_order(store: Keepable, *, every_seconds: float) -> AsyncGenerator[None]:
    """Make missing vectors and purge what has expired, now and from time to time."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_upkeep, store, every_seconds)
        yield
        tasks.cancel_scope.cancel()


async def _upkeep(store: Keepable, every_seconds: float) -> None:
    while True:
        try:
            await store.purge()
            await store.reembed()
        except (BackendError, StoreError):
            logger.warning("memories not kept in order; tried again later", exc_info=True)
        await anyio.sleep(every_seconds)

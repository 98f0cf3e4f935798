"""Many calls of the kernel in a row: pages of a listing, and patience with an agent's rate."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TypeVar

import anyio

from aios_mcp.errors import QuotaExceededError, RateLimitedError
from aios_mcp.kernel import Agent, Kernel
from backends.messages import MemoryRecord

T = TypeVar("T")

_PAGE = 500


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Call until the agent's rates let the call in."""
    while True:
        try:
            return await call()
        except (RateLimitedError, QuotaExceededError) as exc:
            await anyio.sleep(exc.retry_after_seconds)


async def read_memories(
    kernel: Kernel, agent: Agent, namespace: str | None
) -> AsyncIterator[MemoryRecord]:
    """Give the memories that an agent may read, oldest first, older versions included.

    Raises:
        KernelError, SchedulerError, StoreError: See `aios_mcp.errors`.
    """
    after = 0
    while True:
        page = await patiently(
            partial(kernel.list_memories, agent, namespace, after=after, limit=_PAGE)
        )
        for record in page:
            yield record
        if len(page) < _PAGE:
            return
        after = page[-1].position

"""Errands: downstream tool calls whose servers may call back, to get done what they were asked.

The server is told a token with the call, and gives it back with what it asks of this kernel while
the call lasts. Such a call is as urgent as the one that waits for it, and goes no later. That is
all a token is good for: who calls, what it may do and who pays is a matter of its own credential.
"""

import math
import secrets
from collections.abc import Collection, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import Self

from aios_mcp.kernel.agents import Agent

MOST_AT_ONCE = 8
"""Calls of one errand that go ahead together; further ones go as any call would."""


class Errand:
    """One of them; open on it are the calls that it is the reason for.

    Attributes:
        job_id: The job that waits for them; "" for none, and once it is over.
        until: When that must have ended, on the event loop's clock.
        calls: How many are open.
    """

    __slots__ = ("calls", "job_id", "until")

    def __init__(self, job_id: str = "", until: float = math.inf) -> None:
        self.job_id = job_id
        self.until = until
        self.calls = 0

    def __enter__(self) -> Self:
        """Count a call."""
        self.calls += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Count it no more."""
        self.calls -= 1

    def end(self) -> None:
        """Be no reason any more, for calls that hold it already either."""
        self.job_id, self.until = "", math.inf


class Errands:
    """Those that have not ended, by their tokens.

    Args:
        calling_back: Names of the servers that are told tokens.
    """

    def __init__(self, calling_back: Collection[str] = ()) -> None:
        self._calling_back = frozenset(calling_back)
        self._live: dict[str, Errand] = {}
        self._none = Errand()
        self._unsent = nullcontext("")

    def sent_to(self, server: str, job_id: str, until: float) -> AbstractContextManager[str]:
        """Give a token that holds for the length of the block; "" for a server that is told none.

        Args:
            server: Its name.
            job_id: The job of the call.
            until: When the call must have ended.
        """
        return self._sent(job_id, until) if server in self._calling_back else self._unsent

    def of(self, agent: Agent) -> Errand:
        """Give the errand that an agent calls for, or one that is no reason for anything."""
        errand = self._live.get(agent.errand, self._none)
        return errand if errand.calls < MOST_AT_ONCE else self._none

    @contextmanager
    def _sent(self, job_id: str, until: float) -> Generator[str]:
        token = secrets.token_hex(16)
        errand = self._live[token] = Errand(job_id, until)
        try:
            yield token
        finally:
            del self._live[token]
            errand.end()

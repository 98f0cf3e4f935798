"""Sessions in a plain list that pass the contract tests."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import anyio.lowlevel

from backends.messages import Exchange

_TRIES = 3
_TAKEN_SECONDS = 600.0


@dataclass(slots=True, kw_only=True)
class _Kept:
    exchange: Exchange
    due: float | None
    tries: int = 0


class ListSessions:
    """Sessions of this process. It forgets everything at its end."""

    def __init__(
        self,
        *,
        now: Callable[[], float],
        per_session: int = 32,
        per_agent: int = 500,
        keep_seconds: float = 86_400.0,
    ) -> None:
        self._now = now
        self._per_session = per_session
        self._per_agent = per_agent
        self._keep_seconds = keep_seconds
        self._kept: list[_Kept] = []
        self._next = 1

    async def keep(self, exchange: Exchange, /, *, extract: bool) -> None:
        """Keep an exchange."""
        await anyio.lowlevel.checkpoint()
        kept = replace(exchange, no=self._next)
        self._next += 1
        self._kept.append(_Kept(exchange=kept, due=exchange.at if extract else None))
        of_agent = [each for each in self._kept if each.exchange.agent == exchange.agent]
        of_session = [each for each in of_agent if each.exchange.session == exchange.session]
        leaving = of_agent[: -self._per_agent] + of_session[: -self._per_session]
        self._kept = [each for each in self._kept if each not in leaving]

    async def last(self, agent: str, session: str, most: int, /) -> tuple[Exchange, ...]:
        """Give the last exchanges of a session, oldest first."""
        await anyio.lowlevel.checkpoint()
        own = [each.exchange for each in self._current() if each.exchange.agent == agent]
        return tuple([each for each in own if each.session == session][-most:])

    async def forget(self, agent: str, session: str, /, *, until: float | None = None) -> int:
        """Delete a session's exchanges, those in the backlog too; returns how many."""
        await anyio.lowlevel.checkpoint()
        kept = [each for each in self._kept if not _is_of(each.exchange, agent, session, until)]
        count = len(self._kept) - len(kept)
        self._kept = kept
        return count

    async def take(self, *, least: int, idle_seconds: float) -> tuple[Exchange, ...]:
        """Take what waits in one session, oldest first."""
        await anyio.lowlevel.checkpoint()
        waiting: dict[tuple[str, str], list[_Kept]] = {}
        for each in self._current():
            if each.due is not None and each.due <= self._now() and each.tries < _TRIES:
                waiting.setdefault((each.exchange.agent, each.exchange.session), []).append(each)
        for taken in waiting.values():
            is_idle = taken[-1].exchange.at <= self._now() - idle_seconds
            if len(taken) >= least or is_idle:
                for each in taken:
                    each.due = self._now() + _TAKEN_SECONDS
                    each.tries += 1
                return tuple(each.exchange for each in taken)
        return ()

    async def put_back(self, exchanges: Sequence[Exchange], /, *, after_seconds: float) -> None:
        """Let exchanges be taken again later, as if they had not been taken this time."""
        await anyio.lowlevel.checkpoint()
        for each in self._kept:
            if each.exchange in exchanges:
                each.due = self._now() + after_seconds
                each.tries = max(0, each.tries - 1)

    async def settle(self, exchanges: Sequence[Exchange], /) -> None:
        """Let exchanges not be taken any more."""
        await anyio.lowlevel.checkpoint()
        for each in self._kept:
            if each.exchange in exchanges:
                each.due = None

    async def holds(self, exchanges: Sequence[Exchange], /) -> bool:
        """Whether all of the exchanges are still there."""
        await anyio.lowlevel.checkpoint()
        return {each.no for each in exchanges} <= {each.exchange.no for each in self._kept}

    async def waiting(self, agent: str, /) -> int:
        """Count the exchanges of an agent that wait to be taken."""
        await anyio.lowlevel.checkpoint()
        own = [each for each in self._current() if each.exchange.agent == agent]
        return sum(each.due is not None and each.tries < _TRIES for each in own)

    def _current(self) -> list[_Kept]:
        oldest = self._now() - self._keep_seconds
        return [each for each in self._kept if each.exchange.at > oldest]


def _is_of(exchange: Exchange, agent: str, session: str, until: float | None) -> bool:
    is_early = until is None or exchange.at < until
    return (exchange.agent, exchange.session) == (agent, session) and is_early

"""The session store: `backends.protocols.Sessions` and `Backlog` on the kernel's database."""

import json
import logging
from collections.abc import Callable, Sequence
from typing import Final

import anyio
import anyio.to_thread
import apsw

from backends.database import Database, fetch, fetch_one, scrub
from backends.errors import StoreError
from backends.messages import Exchange
from backends.text import well_formed

_MOST_CHARACTERS = 16_384
_TRIES: Final = 3
_TAKEN_SECONDS: Final = 600.0

logger = logging.getLogger(__name__)


class SqliteSessions:
    """The last exchanges of each session; others go, and all of them after some time.

    Several kernels may share them: what one has taken, no other takes within ten minutes.
    """

    def __init__(
        self,
        database: Database,
        *,
        now: Callable[[], float],
        per_session: int,
        per_agent: int,
        keep_seconds: float,
    ) -> None:
        """Keep what it works with.

        Args:
            database: Opened with the component `SESSIONS`.
            now: Gives Unix seconds.
            per_session: Most exchanges of one session.
            per_agent: Most exchanges of all sessions of one agent.
            keep_seconds: An exchange is gone after so long.
        """
        self._database = database
        self._now = now
        self._per_session = per_session
        self._per_agent = per_agent
        self._keep_seconds = keep_seconds

    async def keep(self, exchange: Exchange, /, *, extract: bool) -> None:
        """Keep an exchange; returns after it is durable."""
        agent, session = well_formed(exchange.agent), well_formed(exchange.session)
        oldest = self._oldest()
        row = (
            agent,
            session,
            exchange.request,
            _shortened(exchange.asked),
            _shortened(exchange.answered),
            exchange.at,
            exchange.at if extract else None,
        )

        def work(connection: apsw.Connection) -> None:
            connection.execute(_PURGE, (oldest,))
            connection.execute(_KEEP, row)
            connection.execute(_SHORTEN_SESSION, (agent, session, self._per_session))
            connection.execute(_SHORTEN_AGENT, (agent, self._per_agent))

        await self._database.write(work)

    async def last(self, agent: str, session: str, most: int, /) -> tuple[Exchange, ...]:
        """Give the last exchanges of a session, oldest first."""
        values = (well_formed(agent), well_formed(session), self._oldest(), most)
        rows = await self._database.read(lambda connection: fetch(connection, _LAST, values))
        return tuple(_exchange(row) for row in reversed(rows))

    async def forget(self, agent: str, session: str, /, *, until: float | None = None) -> int:
        """Delete a session's exchanges, those in the backlog too; returns how many."""
        values = (well_formed(agent), well_formed(session), until)

        def work(connection: apsw.Connection) -> int:
            connection.execute(_FORGET, values)
            return connection.changes()

        count = await self._database.write(work)
        if count:
            await self._scrub()
        return count

    async def take(self, *, least: int, idle_seconds: float) -> tuple[Exchange, ...]:
        """Take what waits in one session, oldest first, so that nobody else takes it for a while.

        An exchange is taken three times at most.

        Args:
            least: So many exchanges have to wait in the session,
            idle_seconds: or none has come for so long.
        """
        now = self._now()
        values = {
            "now": now,
            "oldest": self._oldest(),
            "least": least,
            "idle_since": now - idle_seconds,
            "tries": _TRIES,
            "until": now + _TAKEN_SECONDS,
        }

        def work(connection: apsw.Connection) -> list[tuple[object, ...]]:
            row = fetch_one(connection, _RIPE, values)
            if row is None:
                return []
            return sorted(fetch(connection, _TAKE, {**values, "agent": row[0], "session": row[1]}))

        return tuple(_exchange(row) for row in await self._database.write(work))

    async def put_back(self, exchanges: Sequence[Exchange], /, *, after_seconds: float) -> None:
        """Let exchanges be taken again later, as if they had not been taken this time."""
        values = (self._now() + after_seconds, _numbers(exchanges))
        await self._database.write(lambda connection: connection.execute(_PUT_BACK, values))

    async def settle(self, exchanges: Sequence[Exchange], /) -> None:
        """Let exchanges not be taken any more."""
        values = (_numbers(exchanges),)
        await self._database.write(lambda connection: connection.execute(_SETTLE, values))

    async def holds(self, exchanges: Sequence[Exchange], /) -> bool:
        """Whether all of the exchanges are still there, and none was forgotten meanwhile."""
        values = (_numbers(exchanges),)
        row = await self._database.read(lambda connection: fetch_one(connection, _HELD, values))
        return row == (len(exchanges),)

    async def waiting(self, agent: str, /) -> int:
        """Count the exchanges of an agent that wait to be taken."""
        values = (well_formed(agent), _TRIES, self._oldest())
        row = await self._database.read(lambda connection: fetch_one(connection, _WAITING, values))
        return 0 if row is None else int(row[0])

    async def purge(self) -> None:
        """Delete what was kept long enough, as `keep` does; nothing deleted stays on disk then."""
        values = (self._oldest(),)
        await self._database.write(lambda connection: connection.execute(_PURGE, values))
        await self._scrub()

    async def keep_short(self, *, every_seconds: float) -> None:
        """Purge now and from time to time, until it is cancelled."""
        while True:
            try:
                await self.purge()
            except StoreError:
                logger.warning("sessions not purged; tried again later", exc_info=True)
            await anyio.sleep(every_seconds)

    async def _scrub(self) -> None:
        if not await anyio.to_thread.run_sync(scrub, self._database.path):
            logger.info("deleted exchanges wait in the log")

    def _oldest(self) -> float:
        return self._now() - self._keep_seconds


def _shortened(text: str) -> str:
    text = well_formed(text)
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"


def _numbers(exchanges: Sequence[Exchange]) -> str:
    return json.dumps([each.no for each in exchanges])


def _exchange(row: Sequence[object]) -> Exchange:
    no, agent, session, request, asked, answered, at = row
    assert isinstance(no, int)
    assert isinstance(at, float)
    return Exchange(
        no=no,
        agent=str(agent),
        session=str(session),
        request=str(request),
        asked=str(asked),
        answered=str(answered),
        at=at,
    )


_PURGE = "DELETE FROM exchange WHERE at <= ?"

_KEEP = """
INSERT INTO exchange(agent, session, request, asked, answered, at, due) VALUES(?, ?, ?, ?, ?, ?, ?)
"""

_SHORTEN_SESSION = """
DELETE FROM exchange WHERE agent = ?1 AND session = ?2 AND no <= (
    SELECT no FROM exchange WHERE agent = ?1 AND session = ?2 ORDER BY no DESC LIMIT 1 OFFSET ?3
)
"""

_SHORTEN_AGENT = """
DELETE FROM exchange WHERE agent = ?1 AND no <= (
    SELECT no FROM exchange WHERE agent = ?1 ORDER BY no DESC LIMIT 1 OFFSET ?2
)
"""

_FORGET = """
DELETE FROM exchange WHERE agent = ?1 AND session = ?2 AND (?3 IS NULL OR at < ?3)
"""

_HELD = "SELECT count(*) FROM exchange WHERE no IN (SELECT value FROM json_each(?))"

_FIELDS = "no, agent, session, request, asked, answered, at"

_LAST = f"""
SELECT {_FIELDS} FROM exchange WHERE agent = ? AND session = ? AND at > ? ORDER BY no DESC LIMIT ?
"""

_RIPE = """
SELECT agent, session FROM exchange
WHERE due <= :now AND tries < :tries AND at > :oldest
GROUP BY agent, session HAVING count(*) >= :least OR max(at) <= :idle_since
ORDER BY min(no) LIMIT 1
"""

_TAKE = f"""
UPDATE exchange SET due = :until, tries = tries + 1
WHERE agent = :agent AND session = :session AND due <= :now AND tries < :tries AND at > :oldest
RETURNING {_FIELDS}
"""

_PUT_BACK = """
UPDATE exchange SET due = ?, tries = max(0, tries - 1)
WHERE due IS NOT NULL AND no IN (SELECT value FROM json_each(?))
"""

_SETTLE = "UPDATE exchange SET due = NULL WHERE no IN (SELECT value FROM json_each(?))"

_WAITING = """
SELECT count(*) FROM exchange WHERE agent = ? AND due IS NOT NULL AND tries < ? AND at > ?
"""

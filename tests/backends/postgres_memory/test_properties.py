"""The store against the plain one, as for SQLite."""

import importlib
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.backends.memory_store.test_properties import QUOTA, Checkable, Purgeable, StoresAgree
from tests.backends.postgres_memory.servers import Server, postgres

__all__ = ["postgres"]  # the fixture

_MISCOUNTED = """
SELECT 'space ' || s.no FROM space s LEFT JOIN memory m ON m.space = s.no GROUP BY s.no
HAVING s.rows <> count(m.id) OR s.bytes <> coalesce(sum(m.size), 0)
UNION ALL
SELECT 'namespace ' || n.no FROM namespace n LEFT JOIN entry e ON e.namespace = n.no GROUP BY n.no
HAVING n.current <> count(e.id) OR n.words <> coalesce(sum(e.length), 0)
UNION ALL
SELECT 'memory ' || m.id FROM memory m LEFT JOIN entry e USING (id)
WHERE (m.replaced_by IS NULL) <> (e.id IS NOT NULL) OR e.namespace <> m.namespace
    OR e.tags <> m.tags OR e.kind <> m.kind
    OR e.id IS NOT NULL AND e.expires IS DISTINCT FROM m.expires
"""


@dataclass(frozen=True)
class Opened:
    store: Purgeable
    server: Server
    url: str

    async def problems(self) -> list[str]:
        return self.server.query(self.url, _MISCOUNTED)


def test_whatever_is_done_both_answer_the_same(postgres: Server) -> None:
    stores = importlib.import_module("tests.backends.postgres_memory.stores")

    class Agree(StoresAgree):
        def open_store(self) -> AbstractAsyncContextManager[Checkable]:
            return self.opened_anew()

        @asynccontextmanager
        async def opened_anew(self) -> AsyncGenerator[Checkable]:
            url = postgres.new_database()
            async with stores.open_store(
                url, clock=self.clock, quota=QUOTA, new_id=self.new_id
            ) as store:
                yield Opened(store, postgres, url)

    run_state_machine_as_test(
        Agree,
        settings=settings(
            max_examples=8,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )

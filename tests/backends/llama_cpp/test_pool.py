"""Room for several models, with scripted models in place of processes."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from backends.llama_cpp.pool import PATIENCE_SECONDS, ModelPool, Standing

VIRTUAL_TIME = ("trio", {"clock": MockClock(autojump_threshold=0)})
pytestmark = pytest.mark.parametrize("anyio_backend", [VIRTUAL_TIME])


class ScriptedModel:
    """A model that loads at once and ends at once."""

    def __init__(self, name: str, need_bytes: int, pool: ModelPool) -> None:
        self.name = name
        self.need_bytes = need_bytes
        self.standing: Standing = "coming"
        self.last_used = 0.0
        self._pool = pool
        self._ending = anyio.Event()

    async def load(self) -> None:
        await self._pool.enter(self, self.need_bytes)
        self.rest()

    def work(self) -> None:
        assert self.standing == "unused"
        self.standing = "used"

    def rest(self) -> None:
        """Be loaded, or end the last call."""
        if self.standing == "leaving":
            self._ending.set()
            return
        self.standing = "unused"
        self.last_used = anyio.current_time()
        self._pool.look_again()

    def leave(self) -> None:
        if self.standing == "unused":
            self._ending.set()
        self.standing = "leaving"

    async def gone_or_loaded(self) -> None:
        """Wait until one that leaves is gone."""
        while self.standing == "leaving":
            await checkpoint()

    async def end(self) -> None:
        """Be gone when it is time."""
        await self._ending.wait()
        self._ending = anyio.Event()
        self.standing = "coming"
        self._pool.exit(self)


class House:
    """A pool of 10 bytes and its models by name."""

    def __init__(self, tasks: TaskGroup, **needs: int) -> None:
        self.pool = ModelPool(10)
        self.models = {name: ScriptedModel(name, need, self.pool) for name, need in needs.items()}
        self._tasks = tasks

    def __getitem__(self, name: str) -> ScriptedModel:
        return self.models[name]

    @property
    def held(self) -> str:
        return "".join(sorted(tenant.name for tenant in self.pool.held))

    async def load(self, *names: str) -> None:
        for name in names:
            self._tasks.start_soon(self[name].end)
            await self[name].load()
            await anyio.sleep(1)

    def want(self, name: str) -> None:
        self._tasks.start_soon(self.load, name)


@asynccontextmanager
async def house(**needs: int) -> AsyncGenerator[House]:
    async with anyio.create_task_group() as tasks:
        yield House(tasks, **needs)
        tasks.cancel_scope.cancel()


async def test_models_that_fit_together_stay() -> None:
    async with house(a=4, b=4, c=2) as h:
        await h.load("a", "b", "c")
        assert h.held == "abc"
        assert h.pool.free_bytes == 0


async def test_the_longest_unused_model_leaves_and_no_more_than_is_needed() -> None:
    async with house(a=4, b=4, c=2, d=3) as h:
        await h.load("a", "b", "c")
        h["a"].work()
        h["a"].rest()
        await h.load("d")
        assert h.held == "acd"


async def test_nobody_leaves_for_a_model_that_would_not_fit_even_then() -> None:
    async with house(a=3, b=4, c=7) as h:
        await h.load("a", "b")
        h["b"].work()
        h.want("c")
        await anyio.sleep(PATIENCE_SECONDS / 2)
        assert h.held == "ab"
        h["b"].rest()
        await anyio.sleep(1)
        assert h.held == "c"


async def test_a_model_at_work_is_let_finish_but_takes_no_new_calls_for_ever() -> None:
    async with house(a=6, b=6) as h:
        await h.load("a")
        h["a"].work()
        h.want("b")
        await anyio.sleep(PATIENCE_SECONDS / 2)
        assert h["a"].standing == "used"
        await anyio.sleep(PATIENCE_SECONDS)
        assert (h["a"].standing, h.held) == ("leaving", "a")
        h["a"].rest()
        await anyio.sleep(1)
        assert h.held == "b"


async def test_nobody_overtakes_in_the_line() -> None:
    async with house(a=6, b=6, c=2) as h:
        await h.load("a")
        h["a"].work()
        h.want("b")
        await checkpoint()
        h.want("c")
        await anyio.sleep(1)
        assert h.held == "a"
        h["a"].rest()
        await anyio.sleep(1)
        assert h.held == "bc"


async def test_one_that_gives_up_makes_way_for_the_next() -> None:
    async with house(a=6, b=6, c=2) as h:
        await h.load("a")
        h["a"].work()
        with anyio.move_on_after(1):
            h.want("c")
            await h["b"].load()
        await anyio.sleep(1)
        assert h.held == "ac"


async def _live(
    model: ScriptedModel, visits: list[tuple[int, int]], pool: ModelPool, done: set[str]
) -> None:
    """Pause, have room, work: once for each visit."""
    async with anyio.create_task_group() as tasks:
        for pause, work in visits:
            await anyio.sleep(pause)
            await model.gone_or_loaded()
            if model.standing == "coming":
                tasks.start_soon(model.end)
                await model.load()
            assert sum(pool.held.values()) <= pool.budget_bytes
            model.work()
            await anyio.sleep(work)
            model.rest()
        done.add(model.name)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 10),
            st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=4),
        ),
        min_size=1,
        max_size=6,
    )
)
@settings(deadline=None, max_examples=60)
def test_the_budget_holds_and_every_model_gets_in(
    anyio_backend: object, plans: list[tuple[int, list[tuple[int, int]]]]
) -> None:
    done: set[str] = set()

    async def run() -> None:
        pool = ModelPool(10)
        # Those that are done stay loaded, and may be made to leave, until all are.
        with anyio.move_on_after(10_000):
            async with anyio.create_task_group() as tasks:
                for number, (need, visits) in enumerate(plans):
                    model = ScriptedModel(str(number), need, pool)
                    tasks.start_soon(_live, model, visits, pool, done)

    anyio.run(run, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    assert len(done) == len(plans)

"""The store against the plain one: whatever is done, both answer the same."""

import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, ExitStack
from pathlib import Path
from typing import Protocol

import apsw
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from backends.database import fetch
from backends.errors import StoreError
from backends.memory_store.entries import pack
from backends.messages import Added, MemoryDraft, MemoryQuery, Reach, Selection
from backends.protocols import MemoryStore
from backends.scripted_memories import ListMemories
from tests.backends.memory_store.stores import Clock, Opened, open_store, place

QUOTA = (6, 1_000_000)
OWNERS = st.sampled_from(["ada", "ben", ""])
NAMESPACES = st.sampled_from(["self", "self/work", "shared"])
WORDS = st.sampled_from(["apple", "pear", "plum"])
CONTENTS = st.lists(WORDS, min_size=1, max_size=2).map(" ".join)
REACHES = st.lists(
    st.builds(
        Reach,
        OWNERS,
        st.lists(st.sampled_from(["self", "self/*", "shared", "self/work"]), max_size=2).map(tuple),
    ),
    max_size=2,
)


_NOTHING: object = multiple(*list[object]())


class Purgeable(MemoryStore, Protocol):
    """A store that keeps what has expired until it is purged."""

    async def purge(self) -> int: ...


class Checkable(Protocol):
    """A store, and what is wrong with its tables."""

    @property
    def store(self) -> Purgeable: ...

    async def problems(self) -> list[str]: ...


class StoresAgree(RuleBasedStateMachine):
    """Two stores that are given the same calls."""

    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.given = 0
        self.owners: dict[str, str] = {}
        self.directory = Path(tempfile.mkdtemp())
        self.stack = ExitStack()
        self.portal = self.stack.enter_context(start_blocking_portal())
        self.opened = self.stack.enter_context(
            self.portal.wrap_async_context_manager(self.open_store())
        )
        self.plain = ListMemories(now=self.clock, new_id=self.new_id, quota=lambda _: QUOTA)

    def open_store(self) -> AbstractAsyncContextManager[Checkable]:
        return open_store(self.directory, clock=self.clock, quota=QUOTA, new_id=self.new_id)

    def new_id(self) -> str:
        return f"m{self.given}"

    def teardown(self) -> None:
        self.stack.close()
        shutil.rmtree(self.directory)

    def both(self, call: Callable[[MemoryStore], Awaitable[object]]) -> object:
        """Give what both answer, errors by their type."""
        answers = [self.answer(call, store) for store in (self.opened.store, self.plain)]
        assert answers[0] == answers[1]
        return answers[0]

    def answer(
        self, call: Callable[[MemoryStore], Awaitable[object]], store: MemoryStore
    ) -> object:
        try:
            return self.portal.call(call, store)
        except StoreError as exc:
            return type(exc)

    @rule(
        target=ids,
        owner=OWNERS,
        namespace=NAMESPACES,
        content=CONTENTS,
        tags=st.lists(st.sampled_from("xy"), max_size=2).map(tuple),
        lives=st.none() | st.integers(1, 3),
    )
    def add(
        self, owner: str, namespace: str, content: str, tags: tuple[str, ...], lives: int | None
    ) -> object:
        self.given += 1
        expires = None if lives is None else self.clock.now + lives
        draft = MemoryDraft(content=content, tags=tags, expires=expires)
        return self.added(owner, self.both(lambda store: store.add(draft, place(owner, namespace))))

    @rule(target=ids, owner=OWNERS, namespace=NAMESPACES, content=CONTENTS, old=ids, linked=ids)
    def replace(self, owner: str, namespace: str, content: str, old: str, linked: str) -> object:
        self.given += 1
        draft = MemoryDraft(content=content, replaces=old, links=(("of", linked),))
        return self.added(owner, self.both(lambda store: store.add(draft, place(owner, namespace))))

    def added(self, owner: str, answer: object) -> object:
        if not isinstance(answer, Added):
            return _NOTHING
        assert self.owners.setdefault(answer.id, owner) == owner
        return answer.id

    @rule(chosen=st.lists(ids, max_size=2).map(tuple), reach=REACHES)
    def forget(self, chosen: tuple[str, ...], reach: list[Reach]) -> None:
        self.both(lambda store: store.forget(Selection(ids=chosen), reach, "why"))

    @rule(tag=st.sampled_from("xy"), reach=REACHES)
    def forget_tagged(self, tag: str, reach: list[Reach]) -> None:
        self.both(lambda store: store.forget(Selection(tags=(tag,)), reach, "why"))

    @rule()
    def pack(self) -> None:
        if not isinstance(self.opened, Opened):
            return  # only SQLite's store packs

        def work(connection: apsw.Connection) -> None:
            for (space,) in fetch(connection, "SELECT no FROM space"):
                pack(connection, space, least=1)

        self.portal.call(self.opened.database.write, work)

    @rule()
    def purge(self) -> None:
        self.portal.call(self.opened.store.purge)

    @rule()
    def wait(self) -> None:
        self.clock.now += 1

    @rule(chosen=ids, reach=REACHES)
    def fetch(self, chosen: str, reach: list[Reach]) -> None:
        self.both(lambda store: store.search(MemoryQuery(id=chosen), reach))

    @rule(word=WORDS, tags=st.sampled_from([(), ("x",), ("x", "y")]), reach=REACHES)
    def search(self, word: str, tags: tuple[str, ...], reach: list[Reach]) -> None:
        query = MemoryQuery(text=word, mode="keyword", tags=tags, k=50)

        async def found(store: MemoryStore) -> set[str]:
            return {hit.id for hit in await store.search(query, reach)}

        self.both(found)
        assert {self.owners[each] for each in self.portal.call(found, self.opened.store)} <= {
            each.owner for each in reach
        }

    @invariant()
    def the_file_is_sound(self) -> None:
        assert self.portal.call(self.opened.problems) == []


StoresAgree.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestStoresAgree = StoresAgree.TestCase

"""Contract of `MemoryStore`: every implementation passes these tests."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import anyio
import anyio.to_thread
import pytest

from backends.embedding import StaticEmbedder
from backends.errors import IdempotencyConflictError, MemoryNotFoundError, StoreFullError
from backends.memory_store.ranking import FUSION
from backends.messages import MemoryDraft, MemoryQuery, MemoryRecord, Place, Reach, Selection
from backends.protocols import Embedder, MemoryStore
from backends.scripted_memories import ListMemories
from tests.backends.memory_store.embedders import WordEmbedder
from tests.backends.memory_store.stores import (
    NOW,
    PLENTY,
    Clock,
    found,
    numbered_ids,
    open_store,
    own,
    place,
)
from tests.backends.postgres_memory.servers import Server, postgres

__all__ = ["postgres"]  # the fixture

Opener = Callable[..., AbstractAsyncContextManager[MemoryStore]]


def in_sqlite(embedder: Callable[[], Embedder]) -> Opener:
    @asynccontextmanager
    async def opener(
        directory: Path, clock: Clock | None = None, quota: tuple[int, int] = PLENTY
    ) -> AsyncGenerator[MemoryStore]:
        async with open_store(directory, embedder(), clock=clock, quota=quota) as opened:
            yield opened.store

    return opener


@asynccontextmanager
async def in_a_list(
    directory: Path, clock: Clock | None = None, quota: tuple[int, int] = PLENTY
) -> AsyncGenerator[MemoryStore]:
    del directory
    yield ListMemories(now=clock or Clock(), new_id=numbered_ids(), quota=lambda _: quota)


def in_postgres(server: Server) -> Opener:
    @asynccontextmanager
    async def opener(
        directory: Path, clock: Clock | None = None, quota: tuple[int, int] = PLENTY
    ) -> AsyncGenerator[MemoryStore]:
        from tests.backends.postgres_memory import stores  # needs psycopg

        del directory
        url = await anyio.to_thread.run_sync(server.new_database)
        async with stores.open_store(url, clock=clock, quota=quota) as store:
            yield store

    return opener


@pytest.fixture(
    params=[in_sqlite(WordEmbedder), in_sqlite(StaticEmbedder), in_a_list, in_postgres],
    ids=["sqlite-words", "sqlite-static", "list", "postgres"],
)
def opener(request: pytest.FixtureRequest) -> Opener:
    return chosen_by(request)


@pytest.fixture(params=[in_sqlite(WordEmbedder), in_postgres], ids=["sqlite", "postgres"])
def real_opener(request: pytest.FixtureRequest) -> Opener:
    """Stores that rank as the kernel promises, which a list does not."""
    return chosen_by(request)


def chosen_by(request: pytest.FixtureRequest) -> Opener:
    chosen: object = request.param
    if chosen is in_postgres:
        server: Server = request.getfixturevalue("postgres")
        return in_postgres(server)
    return cast("Opener", chosen)


def draft(content: str = "the harbour is closed on Sundays", **fields: object) -> MemoryDraft:
    return replace(MemoryDraft(content=content), **fields)  # type: ignore[arg-type]


async def test_a_memory_is_found_with_everything_it_was_given(
    opener: Opener, tmp_path: Path
) -> None:
    async with opener(tmp_path) as store:
        added = await store.add(
            draft(kind="rule", tags=("b", "a"), data={"n": [1, None]}, source={"tool": "t"}),
            place(namespace="self/work"),
        )
        assert (added.deduplicated, added.replaced) == (False, None)
        for mode in ("hybrid", "keyword"):
            [hit] = await store.search(MemoryQuery(text="harbour closed", mode=mode), own())
            assert hit.id == added.id
            assert hit.content == "the harbour is closed on Sundays"
            assert (hit.kind, hit.tags, hit.namespace) == ("rule", ("a", "b"), "self/work")
            assert (hit.created, hit.data, hit.source) == (NOW, {"n": [1, None]}, {"tool": "t"})
            assert 0 < hit.score <= 1
        [fetched] = await store.search(MemoryQuery(id=added.id), own())
        assert replace(fetched, score=hit.score) == hit


async def test_more_shared_words_rank_higher(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path) as store:
        for text in ("apples and pears", "apples, plums and cherries", "a house of stone"):
            await store.add(draft(text), place())
        for mode in ("hybrid", "keyword", "vector"):
            hits = await store.search(MemoryQuery(text="plums, apples", mode=mode), own())
            assert hits[0].content == "apples, plums and cherries"
            assert [hit.score for hit in hits] == sorted((h.score for h in hits), reverse=True)
            assert all(0 <= hit.score <= 1 for hit in hits)
        assert len(await store.search(MemoryQuery(text="apples", k=1), own())) == 1


@pytest.mark.parametrize("mode", ["hybrid", "keyword", "vector"])
async def test_filters_narrow_a_search(opener: Opener, tmp_path: Path, mode: str) -> None:
    clock = Clock()
    async with opener(tmp_path, clock) as store:
        for number, (kind, tags) in enumerate(
            [("fact", ("a",)), ("fact", ("a", "b")), ("rule", ("a", "b", "c"))]
        ):
            clock.now = NOW + number
            await store.add(draft(f"apples number {number}", kind=kind, tags=tags), place())
        query = MemoryQuery(text="apples", mode=mode)  # type: ignore[arg-type]

        async def numbers(**fields: object) -> set[str]:
            hits = await store.search(replace(query, **fields), own())  # type: ignore[arg-type]
            return {hit.content[-1] for hit in hits}

        assert await numbers() == {"0", "1", "2"}
        assert await numbers(kinds=("fact",)) == {"0", "1"}
        assert await numbers(kinds=("rule", "fact")) == {"0", "1", "2"}
        assert await numbers(tags=("a", "b")) == {"1", "2"}
        assert await numbers(tags=("b", "c"), kinds=("fact",)) == set()
        assert await numbers(since=NOW + 1) == {"1", "2"}
        assert await numbers(until=NOW + 1) == {"0"}
        assert await numbers(since=NOW + 1, until=NOW + 2) == {"1"}


async def test_hits_fit_into_the_tokens_given(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path) as store:
        await store.add(draft("apples " + "and then some " * 30), place())
        await store.add(draft("apples are red"), place())
        await store.add(draft("apples are green"), place())
        for room, fits in ((1000, 3), (12, 2), (4, 1), (1, 0)):
            hits = await store.search(MemoryQuery(text="apples", max_tokens=room), own())
            assert len(hits) == fits
            assert sum(len(hit.content) for hit in hits) <= 4 * room


async def test_patterns_choose_namespaces(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path) as store:
        names = ("self", "self/work", "self/work/deep", "selfish", "self0", "self-made")
        for name in names:
            await store.add(draft(f"apples in {name}"), place(namespace=name))

        async def reached(*patterns: str) -> set[str]:
            hits = await store.search(MemoryQuery(text="apples"), [Reach("ada", patterns)])
            return {hit.namespace for hit in hits}

        assert await reached("self") == {"self"}
        assert await reached("self/*") == {"self", "self/work", "self/work/deep"}
        assert await reached("self/work/*") == {"self/work", "self/work/deep"}
        assert await reached("selfish", "self") == {"selfish", "self"}
        assert await reached("other", "sel") == set()
        assert await reached() == set()


async def test_a_search_spans_what_is_within_reach(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path) as store:
        await store.add(draft("apples of ada"), place())
        await store.add(draft("apples of all"), place("", "shared"))
        await store.add(draft("apples of the team"), place("", "team/alpha"))
        reach = [*own(), Reach("", ("shared",))]
        assert set(await found(store, "apples", reach)) == {"apples of ada", "apples of all"}


async def test_the_same_content_is_kept_once(opener: Opener, tmp_path: Path) -> None:
    clock = Clock()
    async with opener(tmp_path, clock) as store:
        first = await store.add(draft(tags=("x",), expires=NOW + 10), place())
        again = await store.add(draft(tags=("y",), expires=NOW + 20), place())
        assert (again.id, again.deduplicated) == (first.id, True)
        clock.now = NOW + 15
        [hit] = await store.search(MemoryQuery(text="harbour", tags=("x", "y")), own())
        assert hit.tags == ("x", "y")
        for other in (draft(kind="rule"), draft(data={"n": 1})):
            assert not (await store.add(other, place())).deduplicated
        assert not (await store.add(draft(), place(namespace="self/x"))).deduplicated
        assert (await store.count("ada")).rows == 4
        clock.now = NOW + 20
        assert not (await store.add(draft(), place())).deduplicated


async def test_a_new_version_takes_the_place_of_the_old(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path) as store:
        old = await store.add(draft("apples are red"), place())
        new = await store.add(draft("apples are green", replaces=old.id), place())
        assert new.replaced == old.id
        assert await found(store, "apples") == ["apples are green"]
        with pytest.raises(MemoryNotFoundError):
            await store.search(MemoryQuery(id=old.id), own())
        with pytest.raises(MemoryNotFoundError, match=old.id):
            await store.add(draft("apples are blue", replaces=old.id), place())
        assert (await store.count("ada")).rows == 2
        back = await store.add(draft("apples are red"), place())
        assert not back.deduplicated


async def test_a_version_is_replaced_in_its_own_namespace_only(
    opener: Opener, tmp_path: Path
) -> None:
    async with opener(tmp_path) as store:
        old = await store.add(draft("apples are red"), place("", "team/alpha"))
        with pytest.raises(MemoryNotFoundError):
            await store.add(draft("no apples", replaces=old.id), place("", "shared"))
        assert await found(store, "apples", [Reach("", ("team/*", "shared"))]) == ["apples are red"]


async def test_links_name_memories_that_are_there(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path) as store:
        first = await store.add(draft("apples"), place())
        second = await store.add(draft("pears", links=(("beside", first.id),)), place())
        assert not second.deduplicated
        with pytest.raises(MemoryNotFoundError, match="m99"):
            await store.add(draft("plums", links=(("beside", "m99"),)), place())
        assert await found(store, "plums") == []


async def test_what_has_expired_is_gone(opener: Opener, tmp_path: Path) -> None:
    clock = Clock()
    async with opener(tmp_path, clock) as store:
        added = await store.add(draft(expires=NOW + 10), place())
        assert len(await found(store, "harbour")) == 1
        clock.now = NOW + 10
        for mode in ("hybrid", "keyword", "vector"):
            assert await found(store, "harbour", mode=mode) == []
        for failing in (draft("x", replaces=added.id), draft("x", links=(("of", added.id),))):
            with pytest.raises(MemoryNotFoundError):
                await store.add(failing, place())
        with pytest.raises(MemoryNotFoundError):
            await store.search(MemoryQuery(id=added.id), own())
        assert await store.forget(Selection(ids=(added.id,)), own(), "") == 0
        assert (await store.count("ada")).rows == 0


async def test_forgotten_memories_are_gone(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path) as store:
        first = await store.add(draft("apples one"), place())
        await store.add(draft("apples two"), place())
        assert await store.forget(Selection(ids=(first.id, "m99")), own(), "wrong") == 1
        assert await found(store, "apples") == ["apples two"]
        with pytest.raises(MemoryNotFoundError):
            await store.search(MemoryQuery(id=first.id), own())
        assert await store.forget(Selection(ids=(first.id,)), own(), "again") == 0
        assert (await store.count("ada")).rows == 1


async def test_forgetting_takes_older_versions_along(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path) as store:
        old = await store.add(draft("apples one"), place())
        new = await store.add(draft("apples two", replaces=old.id), place())
        assert await store.forget(Selection(ids=(new.id,)), own(), "") == 1
        assert (await store.count("ada")).rows == 0
        assert await store.forget(Selection(ids=(old.id,)), own(), "") == 0


async def test_memories_are_forgotten_by_filter(opener: Opener, tmp_path: Path) -> None:
    clock = Clock()
    async with opener(tmp_path, clock) as store:
        for number, kind in enumerate(("fact", "fact", "rule", "rule")):
            clock.now = NOW + number
            await store.add(draft(f"apples {number}", kind=kind, tags=(str(number),)), place())
        assert await store.forget(Selection(), own(), "") == 0
        assert await store.forget(Selection(kinds=("fact",), until=NOW + 1), own(), "") == 1
        assert await store.forget(Selection(tags=("2",)), own(), "") == 1
        assert await store.forget(Selection(tags=("1",), kinds=("rule",)), own(), "") == 0
        assert set(await found(store, "apples")) == {"apples 1", "apples 3"}
        assert await store.forget(Selection(until=NOW + 100), own(), "") == 2


async def test_a_session_s_memories_are_forgotten_and_no_others(
    opener: Opener, tmp_path: Path
) -> None:
    clock = Clock()
    async with opener(tmp_path, clock) as store:
        for number, session in enumerate(("standup", "retro", "", "standup", "standup")):
            clock.now = NOW + number
            kind = "message" if number < 4 else "fact"
            await store.add(draft(f"apples {number}", session=session, kind=kind), place())
        await store.add(draft("apples 5", session="standup"), place("ben"))
        chosen = Selection(session="standup")
        assert await store.forget(Selection(session="none"), own(), "") == 0
        assert await store.forget(replace(chosen, until=NOW + 1), own(), "") == 1
        assert await store.forget(replace(chosen, kinds=("message",)), own(), "") == 1
        assert set(await found(store, "apples")) == {"apples 1", "apples 2", "apples 4"}
        assert await store.forget(chosen, own(), "") == 1
        assert set(await found(store, "apples")) == {"apples 1", "apples 2"}
        assert await found(store, "apples", own("ben")) == ["apples 5"]


async def test_a_key_adds_once(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path) as store:
        once = draft(idempotency_key="k", source={"request": "1"}, expires=NOW + 10)
        first = await store.add(once, place())
        again = await store.add(replace(once, source={"request": "2"}, expires=NOW + 11), place())
        assert (again.id, again.deduplicated) == (first.id, True)
        with pytest.raises(IdempotencyConflictError):
            await store.add(replace(once, content="something else"), place())
        assert not (await store.add(once, place("ben"))).deduplicated
        assert (await store.count("ada")).rows == 1


async def test_agents_that_share_a_partition_do_not_share_keys(
    opener: Opener, tmp_path: Path
) -> None:
    async with opener(tmp_path) as store:
        for agent in ("ada", "ben"):
            one = draft(f"apples of {agent}", idempotency_key="k", source={"agent": agent})
            assert not (await store.add(one, place("", "shared"))).deduplicated
            assert (await store.add(one, place("", "shared"))).deduplicated


async def test_a_failed_add_leaves_its_key_free(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path) as store:
        with pytest.raises(MemoryNotFoundError):
            await store.add(draft(idempotency_key="k", replaces="m99"), place())
        assert not (await store.add(draft(idempotency_key="k"), place())).deduplicated


async def test_a_repeated_call_does_not_bring_back_what_was_forgotten(
    opener: Opener, tmp_path: Path
) -> None:
    async with opener(tmp_path) as store:
        first = await store.add(draft(idempotency_key="k"), place())
        await store.forget(Selection(ids=(first.id,)), own(), "")
        again = await store.add(draft(idempotency_key="k"), place())
        assert (again.id, again.deduplicated) == (first.id, True)
        assert await found(store, "harbour") == []


async def test_a_partition_holds_no_more_rows_than_its_quota(
    opener: Opener, tmp_path: Path
) -> None:
    async with opener(tmp_path, quota=(2, 1_000_000)) as store:
        first = await store.add(draft("apples 1"), place())
        await store.add(draft("apples 2"), place())
        with pytest.raises(StoreFullError, match="rows"):
            await store.add(draft("apples 3"), place())
        assert (await store.add(draft("apples 2"), place())).deduplicated
        await store.add(draft("apples 3"), place("ben"))
        await store.forget(Selection(ids=(first.id,)), own(), "")
        await store.add(draft("apples 3"), place())
        assert (await store.count("ada")).rows == 2


async def test_a_partition_holds_no_more_bytes_than_its_quota(
    opener: Opener, tmp_path: Path
) -> None:
    async with opener(tmp_path, quota=(100, 20_000)) as store:
        await store.add(draft("apple " * 2000), place())
        with pytest.raises(StoreFullError, match="bytes"):
            await store.add(draft("pear " * 2000), place())
        assert 12_000 <= (await store.count("ada")).size_bytes <= 20_000


async def test_what_has_expired_makes_room(opener: Opener, tmp_path: Path) -> None:
    clock = Clock()
    async with opener(tmp_path, clock, (1, 1_000_000)) as store:
        await store.add(draft("apples", expires=NOW + 1), place())
        clock.now = NOW + 1
        await store.add(draft("pears"), place())
        assert await found(store, "apples pears") == ["pears"]


async def test_agents_do_not_share_anything(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path) as store:
        secret = await store.add(draft("the code is 4711"), place())
        before = await store.search(MemoryQuery(text="code 4711"), own())
        for reach in (own("ben"), [Reach("", ("shared", "self/*"))], [Reach("ben", ("*",))]):
            for mode in ("hybrid", "keyword", "vector"):
                assert await found(store, "the code is 4711", reach, mode=mode) == []
            with pytest.raises(MemoryNotFoundError) as stolen:
                await store.search(MemoryQuery(id=secret.id), reach)
            with pytest.raises(MemoryNotFoundError) as absent:
                await store.search(MemoryQuery(id="m99"), reach)
            assert str(stolen.value) == str(absent.value).replace("m99", secret.id)
            assert await store.forget(Selection(ids=(secret.id,)), reach, "") == 0
            assert await store.forget(Selection(until=NOW + 1), reach, "") == 0
        for failing in (draft("x", replaces=secret.id), draft("x", links=(("of", secret.id),))):
            with pytest.raises(MemoryNotFoundError):
                await store.add(failing, place("ben"))
        assert not (await store.add(draft("the code is 4711"), place("ben"))).deduplicated
        # Scores must not tell what others store either.
        await store.add(draft("another code of mine"), place("ben"))
        assert await store.search(MemoryQuery(text="code 4711"), own()) == before
        assert (await store.count("ada")).rows == 1
        assert (await store.count("nobody")).rows == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "the of and",
        '"',
        '"unclosed',
        "apples AND",
        "NEAR(apples, 2)",
        "content:apples",
        "apples* OR -pears^2 NOT + {x}: (",
        "'; DROP TABLE memory; --",
        "\N{GRINNING FACE}\N{PILE OF POO}",
        "\ud800 lone surrogate",
        "nul\0byte",
        "apples " * 5000,
        "x" * 100_000,
        "\u0301\u0302",
        "½ ² ٣",
        "苹果和梨",
    ],
)
async def test_any_text_can_be_stored_and_searched_for(
    opener: Opener, tmp_path: Path, text: str
) -> None:
    async with opener(tmp_path) as store:
        await store.add(draft("apples and pears"), place())
        if text.strip():
            await store.add(
                draft(text, tags=(text[:50],), data={"text": text}, idempotency_key=text[:50]),
                place(),
            )
        for mode in ("hybrid", "keyword", "vector"):
            hits = await store.search(MemoryQuery(text=text, mode=mode), own())
            for hit in hits:
                hit.content.encode(errors="strict" if "\ud800" not in text else "replace")
                assert 0 <= hit.score <= 1
        with pytest.raises(MemoryNotFoundError):
            await store.search(MemoryQuery(id=text), own())


async def test_any_number_of_hits_can_be_asked_for(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path) as store:
        async with anyio.create_task_group() as tg:
            for number in range(60):
                tg.start_soon(store.add, draft(f"apples {number}"), place())
        for k in (0, 1, 51, 1000, 10**9):
            assert len(await found(store, "apples", k=k)) == min(60, k)


async def test_places_are_compared_exactly(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path) as store:
        await store.add(draft("apples"), Place("ada", "self"))
        for owner in ("Ada", "ada ", "ad", "ada%", "a_a"):
            assert await found(store, "apples", own(owner)) == []


async def all_records(store: MemoryStore, reach: list[Reach], page: int) -> list[MemoryRecord]:
    records: list[MemoryRecord] = []
    while True:
        after = records[-1].position if records else 0
        found = await store.records(reach, after=after, limit=page)
        records += found
        if len(found) < page:
            return records


async def test_a_listing_gives_all_that_was_kept(opener: Opener, tmp_path: Path) -> None:
    clock = Clock()
    async with opener(tmp_path, clock) as store:
        first = await store.add(
            draft("apples", kind="rule", tags=("b", "a"), data={"n": 1}, source={"tool": "t"}),
            place(namespace="self/work"),
        )
        clock.now = NOW + 1
        newer = draft(
            "green apples", replaces=first.id, reason="riper", session="s", importance=0.9
        )
        second = await store.add(newer, place(namespace="self/work"))
        third = await store.add(
            draft("pears", links=(("beside", second.id),), expires=NOW + 9, idempotency_key="k"),
            place(),
        )
        one, two, three = await all_records(store, own(), page=2)
        assert (one.id, one.namespace, one.is_current) == (first.id, "self/work", False)
        assert one.draft == draft(
            "apples",
            kind="rule",
            tags=("a", "b"),
            data={"n": 1},
            source={"tool": "t"},
            created=NOW,
        )
        assert (two.id, two.is_current, two.draft) == (
            second.id,
            True,
            replace(newer, created=NOW + 1),
        )
        assert (three.id, three.namespace, three.draft) == (
            third.id,
            "self",
            draft("pears", links=(("beside", second.id),), expires=NOW + 9, created=NOW + 1),
        )
        assert one.position < two.position < three.position
        clock.now = NOW + 9
        assert [each.id for each in await all_records(store, own(), page=500)] == [
            first.id,
            second.id,
        ]


async def test_a_listing_keeps_within_reach(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path) as store:
        for number in range(5):
            await store.add(draft(f"apples {number}"), place())
            await store.add(draft(f"pears {number}"), place(namespace="self/work"))
            await store.add(draft(f"plums {number}"), place("", "shared"))
            await store.add(draft(f"secret {number}"), place("ben"))
        reach = [Reach("ada", ("self/work",)), Reach("", ("shared",))]
        for page in (1, 3, 500):
            found = [each.draft.content for each in await all_records(store, reach, page)]
            assert sorted(found) == sorted(f"{f} {n}" for f in ("pears", "plums") for n in range(5))
        assert await store.records([], after=0) == ()
        assert await store.records(own("nobody")) == ()


async def test_the_last_turns_of_a_session_are_its_working_memory(
    opener: Opener, tmp_path: Path
) -> None:
    clock = Clock()
    async with opener(tmp_path, clock) as store:
        for number in range(5):
            clock.now = NOW + number
            session = "standup" if number % 2 == 0 else "retro"
            await store.add(draft(f"turn {number}", session=session, kind="message"), place())
        last = await store.search(MemoryQuery(session="standup", k=2), own())
        assert [hit.content for hit in last] == ["turn 4", "turn 2"]
        assert {hit.session for hit in last} == {"standup"}
        assert await store.search(MemoryQuery(session="none"), own()) == ()
        assert await store.search(MemoryQuery(session="standup"), own("ben")) == ()
        for mode in ("hybrid", "keyword", "vector"):
            query = MemoryQuery(text="turn", session="retro", mode=mode)
            hits = await store.search(query, own())
            assert {hit.content for hit in hits} == {"turn 1", "turn 3"}
        again = draft("turn 0", session="retro", kind="message")
        assert not (await store.add(again, place())).deduplicated


async def test_history_tells_all_versions_and_why_they_were_replaced(
    opener: Opener, tmp_path: Path
) -> None:
    async with opener(tmp_path) as store:
        first = await store.add(draft("apples are red"), place())
        second = await store.add(
            draft("apples are green", replaces=first.id, reason="it is spring"), place()
        )
        third = await store.add(draft("apples are gone", replaces=second.id), place())
        for asked in (first, second, third):
            versions = await store.search(MemoryQuery(id=asked.id, history=True), own())
            assert [(hit.id, hit.replaced) for hit in versions] == [
                (third.id, None),
                (second.id, ""),
                (first.id, "it is spring"),
            ]
        assert len(await store.search(MemoryQuery(id=third.id), own())) == 1
        for reach in (own("ben"), [Reach("ada", ("other",))]):
            with pytest.raises(MemoryNotFoundError):
                await store.search(MemoryQuery(id=first.id, history=True), reach)


async def test_links_are_followed_on_request_within_reach(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path) as store:
        far = await store.add(draft("plums"), place(namespace="hidden"))
        last = await store.add(draft("cherries", links=(("of", far.id),)), place())
        middle = await store.add(draft("pears", links=(("of", last.id),)), place())
        await store.add(draft("apples", links=(("beside", middle.id),)), place())

        async def reached(steps: int, k: int = 10) -> list[tuple[str, str]]:
            query = MemoryQuery(text="apples", mode="keyword", links=steps, k=k)
            return [(hit.content, hit.via) for hit in await store.search(query, own())]

        [hit] = await store.search(MemoryQuery(text="apples", mode="keyword"), own())
        assert hit.links == (("beside", middle.id),)
        assert await reached(0) == [("apples", "")]
        assert await reached(1) == [("apples", ""), ("pears", hit.id)]
        assert await reached(3) == [("apples", ""), ("pears", hit.id), ("cherries", middle.id)]
        [fetched, linked] = await store.search(MemoryQuery(id=middle.id, links=1), own())
        assert (fetched.content, linked.content, linked.links) == ("pears", "cherries", ())


async def test_near_duplicates_are_folded_on_request(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path) as store:
        first = await store.add(draft("The harbour is closed on Sundays."), place())
        near = draft("the harbour is closed, on sundays", tags=("port",))
        folded = await store.add(replace(near, fold=True), place())
        assert (folded.id, folded.deduplicated) == (first.id, True)
        for mode in ("hybrid", "keyword", "vector"):  # at once, not after the next upkeep
            query = MemoryQuery(text="harbour", tags=("port",), mode=mode)
            [hit] = await store.search(query, own())
            assert hit.content == "The harbour is closed on Sundays."
        for other in (
            draft("The harbour is not closed on Sundays.", fold=True),
            draft("The harbour is closed on 3 Sundays.", fold=True),
            draft("The harbour is closed on Sundays.", kind="rule", fold=True),
            near,
        ):
            assert not (await store.add(other, place())).deduplicated
        query = MemoryQuery(text="harbour closed sundays", kinds=("fact",))
        assert len(await store.search(query, own())) == 4
        assert len(await store.search(replace(query, distinct=True), own())) == 3


async def test_newer_and_more_important_memories_rank_higher_on_request(
    opener: Opener, tmp_path: Path
) -> None:
    clock = Clock()
    async with opener(tmp_path, clock) as store:
        year = 365 * 86_400.0
        await store.add(draft("apples one", created=NOW - year, importance=1.0), place())
        await store.add(draft("apples two", importance=0.0), place())
        query = MemoryQuery(text="apples", mode="keyword", explain=True)

        async def first(**weights: float) -> str:
            hits = await store.search(replace(query, **weights), own())  # type: ignore[arg-type]
            for hit in hits:
                assert hit.why is not None
                assert abs(sum(hit.why.values()) - hit.score) < 1e-6
                assert 0 <= hit.score <= 1
            return hits[0].content

        assert await first(recency=1.0) == "apples two"
        assert await first(importance=1.0) == "apples one"
        [hit, _] = await store.search(MemoryQuery(text="apples"), own())
        assert hit.why is None
        [old] = await store.search(replace(query, until=NOW - 1), own())
        assert (old.created, old.importance) == (NOW - year, 1.0)


async def test_a_memory_that_is_added_again_has_the_links_of_both(
    opener: Opener, tmp_path: Path
) -> None:
    async with opener(tmp_path) as store:
        pears, plums = [await store.add(draft(text), place()) for text in ("pears", "plums")]
        for links in ((), (("of", pears.id),), (("of", pears.id), ("of", plums.id))):
            await store.add(draft("apples", links=links), place())
        records = await store.records(own())
        assert records[-1].draft.links == (("of", pears.id), ("of", plums.id))


ADA, BEN = {"agent": "ada"}, {"agent": "ben"}
SAID_AFTER: list[tuple[str, dict[str, object], float]] = [
    ("s", {"session": "s"}, 1.0),
    ("s", {"session": "s", "source": BEN, "created": NOW + 86_400}, 1.0),
    ("s", {}, 0.0),
    ("", {"session": "s"}, 0.0),
    ("", {}, 0.6),
    ("", {"created": NOW + 600}, 0.6),
    ("", {"created": NOW + 601}, 0.0),
    ("", {"source": BEN}, 0.0),
]


@pytest.mark.parametrize(("session", "fields", "nearness"), SAID_AFTER)
async def test_what_was_said_right_after_a_hit_gets_a_part_of_its_score(
    real_opener: Opener, tmp_path: Path, session: str, fields: dict[str, object], nearness: float
) -> None:
    said = draft("when does the harbour close", session=session, source=ADA)
    answer = replace(draft("on Sundays", source=ADA), **fields)  # type: ignore[arg-type]
    query = MemoryQuery(text="harbour", explain=True)
    async with real_opener(tmp_path) as store:
        await store.add(said, place())
        await store.add(answer, place())
        [first, second] = [hit.why or {} for hit in await store.search(query, own())]
        given = FUSION.after * nearness * (first["words"] + first["meaning"])
        assert second["neighbours"] == pytest.approx(given, abs=1e-6)
        back = FUSION.before * nearness * (second["words"] + second["meaning"])
        assert first["neighbours"] == pytest.approx(back, abs=1e-6)


async def test_what_was_added_elsewhere_in_between_separates(
    real_opener: Opener, tmp_path: Path
) -> None:
    async with real_opener(tmp_path) as store:
        for text, namespace in (("the harbour", "self"), ("x", "self/y"), ("on Sundays", "self")):
            await store.add(draft(text, source=ADA), place(namespace=namespace))
        query = MemoryQuery(text="harbour", explain=True)
        for hit in await store.search(query, own()):
            assert (hit.why or {})["neighbours"] == 0

"""Callers at the same time share the embedder's calls, never each other's failures or timings."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio
import numpy as np
import pytest

from backends.errors import BackendError, BackendTimeoutError, BackendUnavailableError
from backends.memory_store.text_vectors import TextVectors
from backends.messages import MemoryDraft, MemoryQuery, Reach, Selection
from backends.protocols import Vectors
from tests.backends.memory_store.stores import open_store, own, place
from tests.marks import virtual_time

TEXTS = [f"text {number}" for number in range(10)]


class NotingEmbedder:
    """Gives a text's length and notes what it is asked; fails over `bad`, lingers over `slow`."""

    name = "noting"

    def __init__(self, seconds: float = 1.0) -> None:
        self.calls: list[list[str]] = []
        self._seconds = seconds

    async def embed(self, texts: Sequence[str], /) -> Vectors:
        self.calls.append(list(texts))
        await anyio.sleep(60 if "slow" in texts else self._seconds)
        if "bad" in texts:
            raise BackendUnavailableError("no vector for that")
        return np.array([[len(text)] for text in texts], np.float32)


def lengths(vectors: Vectors) -> list[int]:
    return [int(vector[0]) for vector in vectors]


def opened() -> tuple[NotingEmbedder, TextVectors[int]]:
    embedder = NotingEmbedder()
    return embedder, TextVectors(embedder, lengths)


async def ask(vectors: TextVectors[int], texts: Sequence[str]) -> dict[str, int | None]:
    """Ask for all at once, each for an owner of its own."""
    found: dict[str, int | None] = {}

    async def one(text: str) -> None:
        found[text] = await vectors.of_memory(text, f"owner of {text}")

    async with anyio.create_task_group() as tg:
        for text in texts:
            tg.start_soon(one, text)
    return found


@virtual_time
async def test_who_asks_at_the_same_time_shares_a_call() -> None:
    embedder, vectors = opened()
    assert await ask(vectors, TEXTS) == {text: len(text) for text in TEXTS}
    [call] = embedder.calls
    assert sorted(call) == TEXTS


@virtual_time
async def test_a_call_takes_so_many_texts_and_others_run_beside_it() -> None:
    embedder, vectors = opened()
    many = [f"number {number}" for number in range(150)]
    start = anyio.current_time()
    assert await ask(vectors, many) == {text: len(text) for text in many}
    assert sorted(map(len, embedder.calls)) == [22, 64, 64]
    assert anyio.current_time() - start == pytest.approx(1)
    embedder.calls.clear()
    await ask(vectors, [letter * 1500 for letter in "abcde"])
    assert sorted(map(len, embedder.calls)) == [1, 2, 2]


@virtual_time
async def test_a_text_that_fails_costs_only_its_own_vector() -> None:
    embedder, vectors = opened()
    assert await ask(vectors, [*TEXTS, "bad"]) == {
        **{text: len(text) for text in TEXTS},
        "bad": None,
    }
    assert sorted(map(len, embedder.calls)) == [1] * 11 + [11]


@virtual_time
async def test_all_of_a_call_that_takes_too_long_are_answered_in_time() -> None:
    _, vectors = opened()
    start = anyio.current_time()
    assert await ask(vectors, ["slow", "text"]) == {"slow": None, "text": None}
    assert anyio.current_time() - start == pytest.approx(10)
    with pytest.raises(BackendTimeoutError):
        await vectors.of(["slow"])


@virtual_time
async def test_a_caller_that_is_cancelled_takes_no_other_one_with_it() -> None:
    embedder, vectors = opened()
    found: list[int | None] = []

    async def ask_for(text: str, *, seconds: float = 60) -> None:
        with anyio.move_on_after(seconds):
            found.append(await vectors.of_memory(text, "ada"))

    async with anyio.create_task_group() as tg:
        for text in TEXTS[:4]:  # so many calls run at once
            tg.start_soon(ask_for, text)
            await anyio.wait_all_tasks_blocked()
        async with anyio.create_task_group() as waiting:
            waiting.start_soon(partial(ask_for, "first", seconds=0.5))
            await anyio.wait_all_tasks_blocked()
            waiting.start_soon(ask_for, "second")
    assert len("second") in found
    assert embedder.calls[4:] == [["first", "second"]]


@virtual_time
async def test_an_owner_s_text_is_embedded_once_and_another_s_anew() -> None:
    embedder, vectors = opened()
    for _ in range(2):
        assert await vectors.of_memory("text", "ada") == len("text")
    assert len(embedder.calls) == 1
    await vectors.of_memory("text", "ben")
    assert len(embedder.calls) == 2
    query = MemoryQuery(text="text")
    for owner, calls in (("ada", 3), ("ada", 3), ("ben", 4)):
        assert await vectors.of_query(query, [Reach(owner, ("self",))]) == len("text")
        assert len(embedder.calls) == calls
    with pytest.raises(BackendError):
        await vectors.of_query(MemoryQuery(text="bad", mode="vector"), [])
    assert await vectors.of_memory("bad", "ada") is None  # a failure is not kept


@virtual_time
async def test_only_the_last_texts_are_kept() -> None:
    embedder, vectors = opened()
    many = [f"number {number}" for number in range(2049)]
    await ask(vectors, many[:1])
    await ask(vectors, many[1:])
    calls = len(embedder.calls)
    await ask(vectors, many[1:])
    assert len(embedder.calls) == calls
    await ask(vectors, many[:1])
    assert len(embedder.calls) == calls + 1


async def test_what_is_forgotten_is_embedded_anew(tmp_path: Path) -> None:
    embedder = NotingEmbedder(seconds=0)
    async with open_store(tmp_path, embedder) as opened:
        for _ in range(2):
            await opened.store.add(MemoryDraft(content="text"), place())
        assert embedder.calls == [["text"]]
        assert await opened.store.forget(Selection(kinds=("fact",)), own(), "") == 1
        await opened.store.add(MemoryDraft(content="text"), place())
        assert embedder.calls == [["text"]] * 2

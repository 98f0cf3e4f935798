"""How well and how evenly memories are found."""

from pathlib import Path
from typing import get_args

import anyio

from backends.embedding import StaticEmbedder
from backends.memory_store.likeness import adds_nothing
from backends.memory_store.words import search_words
from backends.messages import MemoryDraft, MemoryQuery, Reach, SearchMode
from tests.backends.memory_store.stores import Opened, found, open_store, own, place
from tests.marks import asyncio_only

# Notes of an engineering team; each question says which of them answers it.
NOTES = (
    "Deploys to production go out on Friday mornings after the stand-up.",
    "The staging cluster is rebuilt every night at two.",
    "Error E4017 means that the certificate of the payment gateway has run out.",
    "Error E4018 means that the payment gateway refused the card.",
    "Maria owns the billing service; ask her before changing its database.",
    "Tomas is the person to call when the office network is down.",
    "The customer in Lisbon pays by bank transfer at the end of each quarter.",
    "Our largest client is a hospital in Porto.",
    "Passwords are kept in the vault; never write them into tickets.",
    "The coffee machine on the third floor needs descaling once a month.",
    "Use feature flags for anything that touches the checkout page.",
    "The mobile app crashes on phones with less than two gigabytes of memory.",
    "Backups are copied to another region and tried out every first Monday.",
    "The search index is rebuilt with the command make reindex.",
    "Invoices over ten thousand euros need a second signature.",
    "Anna is allergic to peanuts, so no satay at the team dinner.",
    "The new logo is blue and white; the old one was green.",
    "Interviews last an hour and end with a walk through the building.",
    "Tests that need the network are marked slow and run at night.",
    "The lease of the office ends in August.",
    *(f"Host db-eu-0{number} was patched and restarted without errors." for number in range(10)),
    *(f"Ticket OPS-312{number} was closed as a duplicate." for number in range(10)),
)
# A memory is seldom one sentence: each note stands among what else was said that day.
ASIDES = (
    "We began ten minutes late because the room was double booked.",
    "Everybody said in two sentences what they had done last week.",
    "The sprint goal was read out and nobody objected to it.",
    "Two people were on holiday and one joined by phone.",
    "We agreed to keep the meeting at thirty minutes from now on.",
    "Somebody asked for a bigger screen in the room.",
    "The summer party was put off until the weather gets better.",
)
MINUTES = tuple(
    " ".join((ASIDES[n % 7], ASIDES[(3 * n + 1) % 7], note, ASIDES[(5 * n + 2) % 7]))
    for n, note in enumerate(NOTES)
)
QUESTIONS = (
    ("what does E4017 mean", 2),
    ("E4018", 3),
    ("when do we release to production?", 0),
    ("who is responsible for billing?", 4),
    ("whom do I phone if the internet is broken", 5),
    ("how do I rebuild the search index", 13),
    ("where should secrets and credentials be stored", 8),
    ("which food must we avoid for Anna", 15),
    ("application fails on cheap smartphones", 11),
    ("approval of large bills", 14),
    ("medical customer", 7),
    ("do we test restoring from backup", 12),
    ("rent contract of our rooms", 19),
    ("colour of the logo", 16),
    ("cleaning the espresso maker", 9),
    ("job candidates", 17),
    ("has db-eu-04 been patched", 24),
    ("restart of db-eu-08", 28),
    ("status of OPS-3123", 33),
    ("was OPS-3129 a duplicate?", 39),
)


async def reciprocal_rank(opened: Opened, mode: SearchMode) -> float:
    total = 0.0
    for question, answer in QUESTIONS:
        hits = await opened.store.search(MemoryQuery(text=question, mode=mode, k=10), own())
        ranks = [hit.content for hit in hits]
        if MINUTES[answer] in ranks:
            total += 1 / (1 + ranks.index(MINUTES[answer]))
    return total / len(QUESTIONS)


async def test_both_halves_together_find_more_than_either(tmp_path: Path) -> None:
    async with open_store(tmp_path, StaticEmbedder()) as opened:
        for text in MINUTES:
            await opened.store.add(MemoryDraft(content=text), place())
        found = {mode: await reciprocal_rank(opened, mode) for mode in get_args(SearchMode)}
    assert found["hybrid"] > max(found["vector"], found["keyword"])
    assert found["hybrid"] > 0.75


async def test_another_form_of_a_word_is_found(tmp_path: Path) -> None:
    async with open_store(tmp_path) as opened:
        await opened.store.add(MemoryDraft(content="She was running late"), place())
        [hit] = await opened.store.search(MemoryQuery(text="runs", mode="keyword"), own())
        assert hit.content == "She was running late"


async def test_a_tag_is_found_like_a_word(tmp_path: Path) -> None:
    async with open_store(tmp_path) as opened:
        await opened.store.add(MemoryDraft(content="red", tags=("colours",)), place())
        await opened.store.add(MemoryDraft(content="red", tags=("paint",)), place())
        for word in ("colour", "painting"):
            assert await opened.store.search(MemoryQuery(text=word, mode="keyword"), own())


def test_stop_words_are_dropped_unless_there_are_no_others() -> None:
    assert search_words("What did Caroline say to the Dog?") == ["caroline", "say", "dog"]
    assert search_words("to be or not to be") == ["to", "be", "or", "not"]
    assert search_words("!?") == []
    assert len(search_words(" ".join(map(str, range(1000))))) == 24


async def test_nothing_in_a_shared_partition_tells_of_namespaces_out_of_reach(
    tmp_path: Path,
) -> None:
    async with open_store(tmp_path) as opened:
        for number in range(5):
            await opened.store.add(MemoryDraft(content=f"apples {number}"), place("", "a"))
        reach = [Reach("", ("a",))]
        before = await opened.store.search(MemoryQuery(text="apples 3"), reach)
        for number in range(20):
            await opened.store.add(MemoryDraft(content=f"apples {number}"), place("", "b"))
        assert await opened.store.search(MemoryQuery(text="apples 3"), reach) == before


@asyncio_only  # virtual time does not wait for threads
async def test_searches_and_adds_run_side_by_side(tmp_path: Path) -> None:
    async with open_store(tmp_path) as opened:
        await opened.store.add(MemoryDraft(content="apples"), place())

        async def add(owner: str) -> None:
            for number in range(10):
                await opened.store.add(MemoryDraft(content=f"apples {number}"), place(owner))

        async def search() -> None:
            for _ in range(10):
                hits = await opened.store.search(MemoryQuery(text="apples"), own())
                assert [hit.content for hit in hits] == ["apples"]

        with anyio.fail_after(60):
            async with anyio.create_task_group() as tg:
                for owner in ("ben", "cleo"):
                    tg.start_soon(add, owner)
                    tg.start_soon(search)
        assert (await opened.store.count("ben")).rows == 10
        assert await opened.problems() == []


async def test_an_answer_is_found_by_the_question_before_it(tmp_path: Path) -> None:
    async with open_store(tmp_path) as opened:
        for number in range(12):
            text = f"small talk number {number}"
            await opened.store.add(MemoryDraft(content=text, session="standup"), place())
        asked = "who may open the harbour gate at night?"
        for text in (asked, "only the pilot and his deputy", "fine with me"):
            await opened.store.add(MemoryDraft(content=text, session="standup"), place())
        query = MemoryQuery(text="harbour gate night", k=2, explain=True)
        hits = await opened.store.search(query, own())
        assert [hit.content for hit in hits] == [asked, "only the pilot and his deputy"]
        assert hits[1].why is not None
        assert hits[1].why["neighbours"] > hits[1].why["words"]
        # Alone, by its words, the answer is not found.
        assert asked in await found(opened.store, "harbour gate night")
        assert "only the pilot and his deputy" not in await found(opened.store, "harbour gate")


async def test_a_memory_is_found_by_the_day_it_is_from(tmp_path: Path) -> None:
    async with open_store(tmp_path) as opened:
        for day in (1, 40, 80):
            draft = MemoryDraft(content=f"note {day}", created=day * 86_400.0)
            await opened.store.add(draft, place())
        for text, day in (("February", 40), ("1970-03-22", 80), ("Friday of January", 1)):
            assert (await found(opened.store, text))[0] == f"note {day}"


def test_a_text_adds_nothing_where_all_its_words_stand_in_another() -> None:
    same = "The pilot opens the gate at nine on 3 days."
    assert adds_nothing("the pilot opens gates at nine on 3 days", same)
    for other in (
        "The pilot opens the gate at nine on 4 days.",
        "The gate opens the pilot at nine on 3 days.",
        "The pilot does not open the gate at nine on 3 days.",
        "The pilot opens the gate at nine on 3 sunny days.",
        "The pilot opens the gate.",
        "",
    ):
        assert not adds_nothing(other, same)

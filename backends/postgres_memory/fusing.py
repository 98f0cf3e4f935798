"""How well memories fit a query: words and meaning fused as the SQLite store fuses them."""

from collections.abc import Sequence
from dataclasses import dataclass

from backends.memory_store.ranking import FUSION, HALF_LIFE_SECONDS, SPREADING, Ranked
from backends.messages import MemoryQuery

Parts = dict[str, float]


@dataclass(frozen=True, slots=True)
class Found:
    """A memory that may fit.

    Attributes:
        id: Its number.
        words: Its BM25 weight.
        meaning: The cosine of its vector to the query's, from 0 to 1; None without vectors.
        is_near: It is among the nearest by meaning.
        is_neighbour: It only stands here because it was said next to one that fits.
        before: What was said right before it.
        nearness: Of that one, from 0 to 1.
        created: Unix seconds.
        importance: From 0 to 1.
    """

    id: int
    words: float
    meaning: float | None
    is_near: bool
    is_neighbour: bool
    before: int | None
    nearness: float
    created: float
    importance: float


def rank(found: Sequence[Found], query: MemoryQuery, *, room: int, now: float) -> list[Ranked]:
    """Give what was found, best first, of equal ones the newest.

    Args:
        found: All of it.
        query: What was asked for.
        room: Most of each kind that was looked for.
        now: Unix seconds.
    """
    match query.mode:
        case "vector":
            parts = {each.id: {"meaning": each.meaning or 0.0} for each in found}
        case "keyword":
            most = max((each.words for each in found), default=0.0) or 1.0
            parts = {each.id: {"words": each.words / most} for each in found}
        case "hybrid":
            parts = _with_neighbours(found, _fused(found, room))
    for each in found:
        if each.id in parts and (query.recency or query.importance):
            age = max(0.0, now - each.created) / HALF_LIFE_SECONDS
            parts[each.id]["recency"] = query.recency * 0.5**age
            parts[each.id]["importance"] = query.importance * each.importance
    scale = max([1.0, *(sum(each.values()) for each in parts.values())])
    ranked = [
        Ranked(
            memory,
            min(1.0, sum(each.values()) / scale),
            {name: value / scale for name, value in each.items()},
        )
        for memory, each in parts.items()
    ]
    return sorted(ranked, key=lambda each: (-each.score, -each.id))


def _fused(found: Sequence[Found], room: int) -> dict[int, Parts]:
    """Give words and meaning as shares of the highest; one that is nothing leaves all to the other.

    Every text is somewhat like every other, so the share of meaning begins at the least alike of
    many that were compared.
    """
    heaviest = max((each.words for each in found if not each.is_neighbour), default=0.0)
    likest = max((each.meaning or 0.0 for each in found if not each.is_neighbour), default=0.0)
    near = [each.meaning or 0.0 for each in found if each.is_near]
    least = min(near) if len(near) == room else 0.0
    least = least if least < likest else 0.0
    share = FUSION.words if likest else 1.0
    share = share if heaviest else 0.0
    parts: dict[int, Parts] = {}
    for each in found:
        words = each.words / (heaviest or 1.0)
        above = max(0.0, (each.meaning or 0.0) - least) / ((likest - least) or 1.0)
        parts[each.id] = {"words": share * words, "meaning": (1 - share) * min(1.0, above)}
    return parts


def _with_neighbours(found: Sequence[Found], parts: dict[int, Parts]) -> dict[int, Parts]:
    """Let the best give some of their score to what was said right before and after them."""
    scores = {memory: sum(each.values()) for memory, each in parts.items()}
    fitting = [each for each in found if not each.is_neighbour]
    fitting.sort(key=lambda each: (-scores[each.id], each.id))
    best = {each.id for each in fitting[:SPREADING]}
    near: dict[int, float] = {}
    for each in found:
        if each.before not in parts or not best & {each.id, each.before}:
            continue
        after, before = FUSION.after * each.nearness, FUSION.before * each.nearness
        near[each.id] = near.get(each.id, 0.0) + after * scores[each.before]
        near[each.before] = near.get(each.before, 0.0) + before * scores[each.id]
    chosen = {each.id for each in fitting} | near.keys()
    return {memory: {**parts[memory], "neighbours": near.get(memory, 0.0)} for memory in chosen}

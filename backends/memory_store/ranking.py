"""Which memories fit a query, and how well: by words, by meaning, or both fused.

Words are weighed by BM25 with the statistics of what is within reach, not of the whole file:
neither a score nor its cost tells anything of another partition. Source: Robertson and Zaragoza,
The Probabilistic Relevance Framework: BM25 and Beyond, 2009. Texts are short, so a word counts
once however often it stands in one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import repeat
from typing import NamedTuple

import apsw
import numpy as np

from backends.memory_store.columns import Mask, Positions, union
from backends.memory_store.cosines import Cosines, Scores
from backends.memory_store.index import Costs, Index
from backends.memory_store.vectors import Stored
from backends.memory_store.words import search_words, stems, word_hash
from backends.messages import MemoryQuery

MOST_HITS = 1000

_CANDIDATES = 100
_LEAST_COMPARED = 100
_MOST_COMPARED = 4000
_COMPARED_SHARE = 100  # one of so many
SPREADING = 50  # of the best, that give some of their score to their neighbours
HALF_LIFE_SECONDS = 30 * 86_400.0


class Ranked(NamedTuple):
    """A memory that fits.

    Attributes:
        id: Its number.
        score: In [0, 1].
        why: What the score is the sum of; None where nobody asks.
    """

    id: int
    score: float
    why: Mapping[str, float] | None


@dataclass(frozen=True, slots=True)
class Fusion:
    """How the parts of a score are weighed, measured by `python -m benchmarks memory`.

    Attributes:
        words: Share of the words against the meaning.
        after: What goes to the one said right after, which often answers.
        before: What goes to the one said right before.
    """

    words: float = 0.45
    after: float = 0.35
    before: float = 0.15


FUSION = Fusion()


def query_words(connection: apsw.Connection, query: MemoryQuery) -> list[int]:
    """Give the words that a query is weighed by, as the index knows them."""
    if query.mode == "vector" or query.text is None:
        return []
    stemmed = stems(connection, " ".join(search_words(query.text)))
    return list(dict.fromkeys(map(word_hash, stemmed)))


def rank(
    index: Index,
    query: MemoryQuery,
    words: Sequence[int],
    vector: Stored | None,
    *,
    embedder: int,
    most: int,
    now: float,
    fusion: Fusion = FUSION,
) -> list[Ranked]:
    """Give at most so many memories that fit a query's text, best first.

    Args:
        index: Made for these words and this embedder.
        query: What is looked for.
        words: See `query_words`.
        vector: The query's.
        embedder: Number of what made it.
        most: How many.
        now: Unix seconds.
        fusion: How the parts of a score are weighed.
    """
    passing = index.passing(query)
    room = max(_CANDIDATES, min(query.k, MOST_HITS))
    weights = _weigh(index, words)
    found = (passing & (weights > 0)).nonzero()[0]
    by_words = _largest(found, weights[found], room)
    components = b"" if vector is None else vector.components
    cosines = Cosines(index, components, embedder)
    nearest = np.empty(0, np.int64)
    if components:
        compared = min(_LEAST_COMPARED + index.size // _COMPARED_SHARE, _MOST_COMPARED)
        near = _near(index.costs(components, embedder, passing), max(2 * room, compared))
        cosines.look_up(union(index.size, near, by_words))
        alike = cosines.of(near)
        nearest = _largest(near[alike >= 0], alike[alike >= 0], room)
    chosen = union(index.size, by_words, nearest)
    if not len(chosen):
        return []
    match query.mode:
        case "vector":
            parts = {"meaning": cosines.of(chosen)}
        case "keyword":
            parts = {"words": weights[chosen] / weights[chosen].max()}
        case "hybrid":
            least = float(cosines.of(nearest).min()) if len(nearest) == room else 0.0
            fused = _Fused(weights, cosines, chosen, least, fusion)
            chosen, parts = _with_neighbours(index, chosen, passing, fused)
    wished = _with_wishes(index, chosen, parts, query, now)
    return _best(index, chosen, wished, most, is_explained=query.explain)


def _weigh(index: Index, words: Sequence[int]) -> Scores:
    """Give the BM25 weight of every living entry."""
    held = [index.holding(word) for word in words]
    if not held:
        return np.zeros(index.size)
    counts = np.array([len(each) for each in held])
    rare = np.log1p((index.live - counts + 0.5) / (counts + 0.5))
    shares = np.repeat(rare, counts)
    weights = np.bincount(np.concatenate(held), shares, index.size).astype(np.float64, copy=False)
    found = weights.nonzero()[0]
    if len(found):
        lengths = index.fact("length", found) / index.mean_length()
        weights[found] *= 2.2 / (1 + 1.2 * (0.25 + 0.75 * lengths))
    return weights


def _largest(found: Positions, values: Scores, room: int) -> Positions:
    """Give those of the largest values; of equal ones the newest, so that it is always the same."""
    if len(found) <= room:
        return found
    is_large = values >= np.partition(values, -room)[-room]
    found, values = found[is_large], values[is_large]
    if len(found) <= room:
        return found
    largest: Positions = found[np.lexsort((-found, -values))[:room]]
    return largest


def _near(found: Costs, room: int) -> Positions:
    """Give those whose vectors are worth comparing, by their sketches."""
    positions, costs = found
    if room >= len(costs):
        return positions
    near: Positions = positions[costs.argpartition(room)[:room]]
    near.sort()
    return near


class _Fused:
    """Words and meaning as shares of the highest, weighed against each other.

    Every text is somewhat like every other, so the share of meaning begins at the least alike of
    many that were compared.
    """

    def __init__(
        self,
        weights: Scores,
        cosines: Cosines,
        chosen: Positions,
        least: float,
        fusion: Fusion,
    ) -> None:
        self.fusion = fusion
        self._weights = weights
        self._cosines = cosines
        self._heaviest = float(weights[chosen].max())
        self._likest = float(cosines.of(chosen).max())
        self._least = least if least < self._likest else 0.0

    def parts(self, positions: Positions) -> dict[str, Scores]:
        """Give both parts of the scores; one that is nothing leaves all to the other."""
        self._cosines.look_up(positions)
        words: Scores = self._weights[positions] / (self._heaviest or 1.0)
        if self._likest <= 0:
            return {"words": words}
        meaning = (self._cosines.of(positions) - self._least) / (self._likest - self._least)
        meaning = np.minimum(np.maximum(meaning, 0.0), 1.0)  # which is faster than to clip
        if not self._heaviest:
            return {"meaning": meaning}
        share = self.fusion.words
        return {"words": share * words, "meaning": (1 - share) * meaning}


def _with_neighbours(
    index: Index, chosen: Positions, passing: Mask, fused: _Fused
) -> tuple[Positions, dict[str, Scores]]:
    """Let the best give some of their score to what was said right before and after them."""
    parts = fused.parts(chosen)
    best = chosen[(-_total(parts)).argsort(kind="stable")[:SPREADING]]
    best.sort()
    pairs = [
        (earlier[both], later[both], nearness[both])
        for earlier, later, nearness in index.successions(best)
        if (both := passing[earlier] & passing[later]).any()
    ]
    if not pairs:
        return chosen, parts | {"neighbours": np.zeros(len(chosen))}
    earlier, later, nearness = map(np.concatenate, zip(*pairs, strict=True))
    chosen = union(index.size, chosen, earlier, later)
    parts = fused.parts(chosen)
    scores, near = _total(parts), np.zeros(len(chosen))
    before, after = chosen.searchsorted(earlier), chosen.searchsorted(later)
    np.add.at(near, after, fused.fusion.after * nearness * scores[before])
    np.add.at(near, before, fused.fusion.before * nearness * scores[after])
    return chosen, parts | {"neighbours": near}


def _total(parts: Mapping[str, Scores]) -> Scores:
    return reduce(np.add, parts.values())


def _with_wishes(
    index: Index, chosen: Positions, parts: Mapping[str, Scores], query: MemoryQuery, now: float
) -> Mapping[str, Scores]:
    if not (query.recency or query.importance):
        return parts
    age = np.maximum(0.0, now - index.fact("created", chosen))
    return {
        **parts,
        "recency": query.recency * np.exp2(-age / HALF_LIFE_SECONDS),
        "importance": query.importance * index.fact("importance", chosen),
    }


def _best(
    index: Index,
    chosen: Positions,
    parts: Mapping[str, Scores],
    most: int,
    *,
    is_explained: bool,
) -> list[Ranked]:
    scores, ids = _total(parts), index.ids(chosen)
    order = np.lexsort((-ids, -scores))[:most]
    scale = max(1.0, float(scores.max()))
    shown = np.minimum(scores[order] / scale, 1.0).tolist()
    whys: Iterable[Mapping[str, float] | None] = repeat(None)
    if is_explained:
        values = np.array(list(parts.values()))[:, order] / scale
        whys = [dict(zip(parts, each, strict=True)) for each in values.T.tolist()]
    return list(map(Ranked, ids[order].tolist(), shown, whys))

"""Which memories fit a query, and how well: by words, by meaning, or both fused.

Words are weighed by BM25 with the statistics of what is within reach, not of the whole file:
neither a score nor its cost tells anything of another partition. Source: Robertson and Zaragoza,
The Probabilistic Relevance Framework: BM25 and Beyond, 2009. Texts are short, so a word counts
once however often it stands in one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import apsw
import numpy as np
from numpy.typing import NDArray

from backends.memory_store.columns import Mask, Positions
from backends.memory_store.index import FARTHEST, Index, filter_words
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

Scores = NDArray[np.float64]

_OFFSET, _NO_VECTOR = 2.0, 1.0


@dataclass(frozen=True, slots=True)
class Ranked:
    """A memory that fits.

    Attributes:
        id: Its number.
        score: In [0, 1].
        why: What the score is the sum of.
    """

    id: int
    score: float
    why: Mapping[str, float]


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


def rank(
    connection: apsw.Connection,
    index: Index,
    query: MemoryQuery,
    vector: Stored | None,
    *,
    embedder: int,
    most: int,
    now: float,
    fusion: Fusion = FUSION,
) -> list[Ranked]:
    """Give at most so many memories that fit a query's text, best first."""
    words = [] if query.mode == "vector" else _words(connection, query.text or "")
    index.look_up([*words, *chain(*filter_words(query))])
    passing = index.passing(query)
    room = max(_CANDIDATES, min(query.k, MOST_HITS))
    weights = _weigh(index, words)
    by_words = _largest(weights, passing, room)
    cosines = _Cosines(connection, index, vector)
    nearest = np.empty(0, np.int64)
    if vector is not None and vector.components:
        near = _near(index.costs(vector.components, embedder, passing), room)
        cosines.look_up(np.union1d(near, by_words))
        nearest = _nearest(near, cosines, room)
    chosen = np.union1d(by_words, nearest)
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
    return _best(index, chosen, _with_wishes(index, chosen, parts, query, now), most)


def _words(connection: apsw.Connection, text: str) -> list[int]:
    stemmed = stems(connection, " ".join(search_words(text)))
    return list(dict.fromkeys(map(word_hash, stemmed)))


def _weigh(index: Index, words: Sequence[int]) -> NDArray[np.float32]:
    """Give the BM25 weight of every living entry."""
    weights = np.zeros(index.size, np.float32)
    live = int(np.count_nonzero(index.is_live)) if words else 0
    for word in words:
        parts = index.holding(word)
        count = sum(map(len, parts))
        for holders in parts:
            weights[holders] += math.log1p((live - count + 0.5) / (count + 0.5))
    found = weights.nonzero()[0]
    if len(found):
        shares = index.fact("length", found) / index.mean_length()
        weights[found] *= 2.2 / (1 + 1.2 * (0.25 + 0.75 * shares))
    return weights


def _largest(weights: NDArray[np.float32], passing: Mask, room: int) -> Positions:
    found = weights.nonzero()[0]
    found = found[passing[found]]
    if len(found) <= room:
        return found
    least = np.partition(weights[found], -room)[-room]
    found = found[weights[found] >= least]
    # Of equal ones the newest, so that the same search finds the same.
    best: Positions = found[np.lexsort((-found, -weights[found]))[:room]]
    return best


def _near(costs: NDArray[np.uint16], room: int) -> Positions:
    """Give those whose vectors are worth comparing, by their sketches."""
    compared = min(_LEAST_COMPARED + len(costs) // _COMPARED_SHARE, _MOST_COMPARED)
    compared = max(2 * room, compared)
    found: Positions = (costs < FARTHEST).nonzero()[0]
    if compared < len(found):
        found = np.sort(found[np.argpartition(costs[found], compared)[:compared]])
    return found


def _nearest(near: Positions, cosines: "_Cosines", room: int) -> Positions:
    alike = cosines.of(near)
    order = np.lexsort((-near, -alike))[:room]
    nearest: Positions = near[order]
    return nearest[alike[order] >= 0]


class _Cosines:
    """How alike memories' vectors are to a query's, each compared once."""

    def __init__(self, connection: apsw.Connection, index: Index, vector: Stored | None) -> None:
        self._connection = connection
        self._index = index
        self._vector = _unit(b"" if vector is None else vector.components)
        # Zeros take no memory until they are written, and most never are; so they mean unknown, and
        # a cosine is kept as two more.
        self._known: Scores = np.zeros(index.size)

    def of(self, positions: Positions) -> Scores:
        """Give cosines from 0 to 1; -1 where there is no vector."""
        self.look_up(positions)
        found: Scores = self._known[positions] - _OFFSET
        return found

    def look_up(self, positions: Positions) -> None:
        """Compare what is needed for `of`, all at once."""
        unknown = positions[self._known[positions] == 0]
        if not len(unknown):
            return
        self._known[unknown] = _NO_VECTOR
        size = len(self._vector)
        if not size:
            return
        ids = self._index.ids(unknown)
        given = (apsw.carray(ids), size)
        rows = [row for sql in (_PACKED, _LOOSE) for row in self._connection.execute(sql, given)]
        if rows:
            self._compare(unknown, ids, rows)

    def _compare(
        self, positions: Positions, ids: NDArray[np.int64], rows: list[tuple[Any, ...]]
    ) -> None:
        found, components = zip(*rows, strict=True)
        vectors = np.frombuffer(b"".join(components), np.int8).astype(np.float32)
        vectors = vectors.reshape(len(rows), -1)
        # Row by row: a product with the whole matrix would wake threads that spin after it.
        alike = np.vecdot(vectors, self._vector) / np.sqrt(np.vecdot(vectors, vectors))
        order = np.argsort(ids)
        places = order[ids[order].searchsorted(found)]
        self._known[positions[places]] = _OFFSET + np.clip(alike, 0.0, 1.0)


def _unit(components: bytes) -> NDArray[np.float32]:
    vector = np.frombuffer(components, np.int8).astype(np.float32)
    length = np.sqrt(vector @ vector)
    return vector / np.float32(length or 1.0)


class _Fused:
    """Words and meaning as shares of the highest, weighed against each other.

    Every text is somewhat like every other, so the share of meaning begins at the least alike of
    many that were compared.
    """

    def __init__(
        self,
        weights: NDArray[np.float32],
        cosines: _Cosines,
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
        words: Scores = self._weights[positions].astype(np.float64) / (self._heaviest or 1.0)
        if self._likest <= 0:
            return {"words": words}
        span = self._likest - self._least
        meaning: Scores = np.clip((self._cosines.of(positions) - self._least) / span, 0.0, 1.0)
        if not self._heaviest:
            return {"meaning": meaning}
        share = self.fusion.words
        return {"words": share * words, "meaning": (1 - share) * meaning}


def _with_neighbours(
    index: Index, chosen: Positions, passing: Mask, fused: _Fused
) -> tuple[Positions, dict[str, Scores]]:
    """Let the best give some of their score to what was said right before and after them."""
    parts = fused.parts(chosen)
    best = chosen[np.argsort(-_total(parts), kind="stable")[:SPREADING]]
    earlier, later = index.successions(best)
    both = passing[earlier] & passing[later]
    earlier, later = earlier[both], later[both]
    if not len(later):
        return chosen, parts | {"neighbours": np.zeros(len(chosen))}
    chosen = np.union1d(chosen, np.concatenate((earlier, later)))
    parts = fused.parts(chosen)
    scores, near = _total(parts), np.zeros(len(chosen))
    before, after = np.searchsorted(chosen, earlier), np.searchsorted(chosen, later)
    nearness = index.fact("nearness", later)
    np.add.at(near, after, fused.fusion.after * nearness * scores[before])
    np.add.at(near, before, fused.fusion.before * nearness * scores[after])
    return chosen, parts | {"neighbours": near}


def _total(parts: Mapping[str, Scores]) -> Scores:
    total: Scores = np.sum(list(parts.values()), axis=0)
    return total


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


def _best(index: Index, chosen: Positions, parts: Mapping[str, Scores], most: int) -> list[Ranked]:
    scores, ids = _total(parts), index.ids(chosen)
    order = np.lexsort((-ids, -scores))[:most]
    scale = max(1.0, float(scores.max()))
    values = np.array(list(parts.values()))[:, order] / scale
    return [
        Ranked(memory, min(1.0, score), dict(zip(parts, each, strict=True)))
        for memory, score, each in zip(
            ids[order].tolist(), (scores[order] / scale).tolist(), values.T.tolist(), strict=True
        )
    ]


_PACKED = """
SELECT id, components FROM carray(?) CROSS JOIN vector ON id = value WHERE length(components) = ?
"""
_LOOSE = """
SELECT id, components FROM carray(?) CROSS JOIN entry ON id = value WHERE length(components) = ?
"""

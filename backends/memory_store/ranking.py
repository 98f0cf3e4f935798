"""Which memories fit a query, and how well: by words, by meaning, or both fused.

Words are weighed by BM25 with the statistics of what is within reach, not of the whole file:
neither a score nor its cost tells anything of another partition. Source: Robertson and Zaragoza,
The Probabilistic Relevance Framework: BM25 and Beyond, 2009. Texts are short, so a word counts
once however often it stands in one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import apsw
import numpy as np
from numpy.typing import NDArray

from backends.memory_store.index import FARTHEST, Index, Mask, Positions
from backends.memory_store.vectors import Stored
from backends.memory_store.words import search_words, stems, word_hash
from backends.messages import MemoryQuery

MOST_HITS = 1000

_CANDIDATES = 100
_LEAST_COMPARED = 100
_MOST_COMPARED = 6000
_COMPARED_SHARE = 100  # one of so many
SPREADING = 50  # of the best, that give some of their score to their neighbours
HALF_LIFE_SECONDS = 30 * 86_400.0

Scores = NDArray[np.float64]

_UNKNOWN = -2.0


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
    passing = index.passing(query)
    room = max(_CANDIDATES, min(query.k, MOST_HITS))
    weights = np.zeros(index.size, np.float32)
    cosines = _Cosines(connection, index, vector)
    nearest = by_words = np.empty(0, np.int64)
    if query.mode != "vector":
        weights = _weigh(connection, index, query.text or "")
        weights[~passing] = 0
        by_words = _largest(weights, room)
    if vector is not None and vector.components:
        costs = index.costs(vector.components, embedder, passing)
        nearest = _nearest(costs, cosines, room)
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


def _weigh(connection: apsw.Connection, index: Index, text: str) -> NDArray[np.float32]:
    """Give the BM25 weight of every entry."""
    weights = np.zeros(index.size, np.float32)
    live = int(np.count_nonzero(index.is_live))
    words = dict.fromkeys(map(word_hash, stems(connection, " ".join(search_words(text)))))
    index.look_up(words)
    for word in words:
        holders = index.holding(word)
        weights[holders] += np.log1p((live - len(holders) + 0.5) / (len(holders) + 0.5))
    lengths = index.facts["length"]
    mean = max(1.0, float(lengths.sum(where=index.is_live)) / max(1, live))
    found = np.flatnonzero(weights)
    weights[found] *= 2.2 / (1 + 1.2 * (0.25 + 0.75 * lengths[found] / mean))
    return weights


def _largest(weights: NDArray[np.float32], room: int) -> Positions:
    found = np.flatnonzero(weights)
    if len(found) <= room:
        return found
    least = np.partition(weights[found], -room)[-room]
    found = found[weights[found] >= least]
    # Of equal ones the newest, so that the same search finds the same.
    best: Positions = found[np.lexsort((-found, -weights[found]))[:room]]
    return best


def _nearest(costs: NDArray[np.uint16], cosines: "_Cosines", room: int) -> Positions:
    """Compare the vectors whose sketches are nearest, and give the nearest of them."""
    compared = min(_LEAST_COMPARED + len(costs) // _COMPARED_SHARE, _MOST_COMPARED)
    compared = max(2 * room, compared)
    found = np.flatnonzero(costs < FARTHEST)
    if compared < len(found):
        found = np.sort(found[np.argpartition(costs[found], compared)[:compared]])
    alike = cosines.of(found)
    order = np.lexsort((-found, -alike))[:room]
    nearest: Positions = found[order]
    return nearest[alike[order] >= 0]


class _Cosines:
    """How alike memories' vectors are to a query's, each compared once."""

    def __init__(self, connection: apsw.Connection, index: Index, vector: Stored | None) -> None:
        self._connection = connection
        self._index = index
        self._vector = _unit(b"" if vector is None else vector.components)
        self._known: Scores = np.full(index.size, _UNKNOWN)

    def of(self, positions: Positions) -> Scores:
        """Give cosines from 0 to 1; -1 where there is no vector."""
        unknown = positions[self._known[positions] == _UNKNOWN]
        if len(unknown):
            self._known[unknown] = -1.0
            is_loose = self._index.is_loose[unknown]
            self._compare(_PACKED, unknown[~is_loose])
            self._compare(_LOOSE, unknown[is_loose])
        found: Scores = self._known[positions]
        return found

    def _compare(self, sql: str, positions: Positions) -> None:
        ids, size = self._index.ids(positions), len(self._vector)
        rows: list[tuple[Any, ...]] = []
        if size and len(ids):
            rows = self._connection.execute(sql, (apsw.carray(ids), size)).fetchall()
        if not rows:
            return
        found, components = zip(*rows, strict=True)
        vectors = np.frombuffer(b"".join(components), np.int8).astype(np.float32)
        vectors = vectors.reshape(len(rows), size)
        alike = vectors @ self._vector / np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        order = np.argsort(ids)
        self._known[positions[order[ids[order].searchsorted(found)]]] = np.clip(alike, 0.0, 1.0)


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
    scores = _total(fused.parts(chosen))
    best = chosen[np.argsort(-scores, kind="stable")[:SPREADING]]
    earlier, later = index.successions(best)
    both = passing[earlier] & passing[later]
    earlier, later = earlier[both], later[both]
    chosen = np.union1d(chosen, np.concatenate((earlier, later)))
    parts = fused.parts(chosen)
    scores, near = _total(parts), np.zeros(len(chosen))
    before, after = np.searchsorted(chosen, earlier), np.searchsorted(chosen, later)
    nearness = index.facts["nearness"][later]
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
    facts = index.facts[chosen]
    age = np.maximum(0.0, now - facts["created"])
    return {
        **parts,
        "recency": query.recency * np.exp2(-age / HALF_LIFE_SECONDS),
        "importance": query.importance * facts["importance"],
    }


def _best(index: Index, chosen: Positions, parts: Mapping[str, Scores], most: int) -> list[Ranked]:
    scores, ids = _total(parts), index.ids(chosen)
    scale = max(1.0, float(scores.max()))
    return [
        Ranked(
            int(ids[number]),
            min(1.0, float(scores[number]) / scale),
            {name: float(values[number]) / scale for name, values in parts.items()},
        )
        for number in np.lexsort((-ids, -scores))[:most]
    ]


_PACKED = """
SELECT id, components FROM carray(?) CROSS JOIN vector ON id = value WHERE length(components) = ?
"""
_LOOSE = """
SELECT id, components FROM carray(?) CROSS JOIN entry ON id = value WHERE length(components) = ?
"""

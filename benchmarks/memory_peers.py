"""Other stores over the same memories, with the same filter, where they are installed.

lancedb searches by words and vectors as ours does; the others are measured by vectors alone, which
is less than ours does.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.protocols import Vectors

Labels = NDArray[np.int64]
Search = Callable[[int], Sequence[int]]

WITH_WORDS = frozenset({"lancedb"})
"""Which of them search by words too."""

_BATCH = 1000


class Rows(NamedTuple):
    """What a peer stores: a vector, a text and a label, by which its searches are filtered.

    A search is for one of the rows, by its vector and by a question.
    """

    vectors: Vectors
    texts: Sequence[str]
    labels: Labels
    questions: Sequence[str]

    def first(self, count: int) -> "Rows":
        """Give some of them."""
        return self._replace(
            vectors=self.vectors[:count], texts=self.texts[:count], labels=self.labels[:count]
        )


def search_times(rows: Rows, sizes: Mapping[str, int], rounds: int) -> dict[str, float | None]:
    """Give the median milliseconds of a filtered search by peer; None where it is missing.

    Args:
        rows: To be stored.
        sizes: How many of them, by peer: some take very long to store many.
        rounds: Searches of each.
    """
    makers = {"numpy": _numpy, "chromadb": _chroma, "qdrant_client": _qdrant, "lancedb": _lance}
    times: dict[str, float | None] = {}
    for name, size in sizes.items():
        times[name] = None
        if find_spec(name) is not None:
            with TemporaryDirectory(ignore_cleanup_errors=True) as directory:
                stored = rows.first(size)
                times[name] = _measure(makers[name](stored, directory), stored, rounds)
    return times


def shown(times: Mapping[str, float | None]) -> str:
    """Write times on one line."""
    return ", ".join(
        f"{name} is not installed"
        if each is None
        else f"{name}{' with words' * (name in WITH_WORDS)} {each:.2f} ms"
        for name, each in times.items()
    )


def _measure(search: Search, rows: Rows, rounds: int) -> float:
    times: list[float] = []
    step = len(rows.vectors) // rounds | 1  # odd, so that it is not one label alone
    for number in np.arange(1, step * rounds, step)[:rounds] % len(rows.vectors):
        start = time.perf_counter_ns()
        found = search(int(number))
        times.append((time.perf_counter_ns() - start) / 1e6)
        assert number in found
    return median(times)


def _numpy(rows: Rows, directory: str) -> Search:
    del directory
    members = {int(label): np.flatnonzero(rows.labels == label) for label in np.unique(rows.labels)}
    parts = {label: rows.vectors[numbers] for label, numbers in members.items()}

    def search(number: int) -> Sequence[int]:
        label = int(rows.labels[number])
        likeness = parts[label] @ rows.vectors[number]
        best = np.argpartition(-likeness, 10)[:10]
        return [int(each) for each in members[label][best]]

    return search


def _chroma(rows: Rows, directory: str) -> Search:
    chromadb: Any = import_module("chromadb")
    client = chromadb.PersistentClient(directory)
    collection = client.create_collection("memories")
    for first in range(0, len(rows.vectors), _BATCH):
        numbers = range(first, min(first + _BATCH, len(rows.vectors)))
        collection.add(
            ids=[str(number) for number in numbers],
            embeddings=rows.vectors[first : first + _BATCH],
            metadatas=[{"label": int(rows.labels[number])} for number in numbers],
        )

    def search(number: int) -> Sequence[int]:
        found = collection.query(
            query_embeddings=[rows.vectors[number]],
            n_results=10,
            where={"label": int(rows.labels[number])},
        )
        return [int(each) for each in found["ids"][0]]

    return search


def _qdrant(rows: Rows, directory: str) -> Search:
    qdrant: Any = import_module("qdrant_client")
    models = qdrant.models
    client = qdrant.QdrantClient(path=directory)
    size = rows.vectors.shape[1]
    client.create_collection(
        "memories",
        vectors_config=models.VectorParams(size=size, distance=models.Distance.COSINE),
    )
    client.upload_collection(
        "memories",
        vectors=rows.vectors,
        ids=range(len(rows.vectors)),
        payload=[{"label": label} for label in rows.labels.tolist()],
    )

    def search(number: int) -> Sequence[int]:
        label = models.MatchValue(value=int(rows.labels[number]))
        only = models.Filter(must=[models.FieldCondition(key="label", match=label)])
        vector = rows.vectors[number]
        found = client.query_points("memories", query=vector, query_filter=only, limit=10)
        return [int(point.id) for point in found.points]

    return search


def _lance(rows: Rows, directory: str) -> Search:
    lancedb: Any = import_module("lancedb")
    rerankers: Any = import_module("lancedb.rerankers")
    arrow: Any = import_module("pyarrow")
    flat = arrow.array(rows.vectors.reshape(-1))
    columns = {
        "vector": arrow.FixedSizeListArray.from_arrays(flat, rows.vectors.shape[1]),
        "text": arrow.array(rows.texts),
        "n": arrow.array(np.arange(len(rows.vectors))),
        "label": arrow.array(rows.labels),
    }
    table = lancedb.connect(directory).create_table("memories", arrow.table(columns))
    table.create_scalar_index("label")
    table.create_fts_index("text")
    fused = rerankers.RRFReranker()

    def search(number: int) -> Sequence[int]:
        words = table.search(query_type="hybrid").text(rows.questions[number % len(rows.questions)])
        near = words.vector(rows.vectors[number]).rerank(fused)
        wanted = near.where(f"label = {int(rows.labels[number])}", prefilter=True)
        return [int(row["n"]) for row in wanted.limit(10).to_list()]

    return search

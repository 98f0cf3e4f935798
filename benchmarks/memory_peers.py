"""Other stores over the same vectors, with the same filter, where they are installed.

They search by vectors alone; ours is measured in whole, with words.
"""

import time
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from backends.protocols import Vectors

Search = Callable[[Vectors], Sequence[int]]

_BATCH = 1000


def search_times(vectors: Vectors, rounds: int) -> dict[str, float | None]:
    """Give the median milliseconds of a filtered search by peer; None where it is missing."""
    peers = {"numpy": _numpy, "chromadb": _chroma, "qdrant_client": _qdrant, "lancedb": _lance}
    times: dict[str, float | None] = {}
    for name, make in peers.items():
        times[name] = None
        if find_spec(name) is not None:
            with TemporaryDirectory(ignore_cleanup_errors=True) as directory:
                times[name] = _measure(make(vectors, directory), vectors, rounds)
    return times


def _measure(search: Search, vectors: Vectors, rounds: int) -> float:
    times: list[float] = []
    for number in range(1, 2 * rounds, 2):
        start = time.perf_counter_ns()
        found = search(vectors[number])
        times.append((time.perf_counter_ns() - start) / 1e6)
        assert number in found
    return median(times)


def _numpy(vectors: Vectors, directory: str) -> Search:
    del directory
    is_odd = np.arange(len(vectors)) % 2 == 1

    def search(vector: Vectors) -> Sequence[int]:
        likeness = np.where(is_odd, vectors @ vector, -2.0)
        best = np.argpartition(-likeness, 10)[:10]
        return [int(each) for each in best]

    return search


def _chroma(vectors: Vectors, directory: str) -> Search:
    chromadb: Any = import_module("chromadb")
    client = chromadb.PersistentClient(directory)
    collection = client.create_collection("memories")
    for first in range(0, len(vectors), _BATCH):
        numbers = range(first, min(first + _BATCH, len(vectors)))
        collection.add(
            ids=[str(number) for number in numbers],
            embeddings=vectors[first : first + _BATCH],
            metadatas=[{"odd": number % 2} for number in numbers],
        )

    def search(vector: Vectors) -> Sequence[int]:
        found = collection.query(query_embeddings=[vector], n_results=10, where={"odd": 1})
        return [int(each) for each in found["ids"][0]]

    return search


def _qdrant(vectors: Vectors, directory: str) -> Search:
    qdrant: Any = import_module("qdrant_client")
    models = qdrant.models
    client = qdrant.QdrantClient(path=directory)
    client.create_collection(
        "memories",
        vectors_config=models.VectorParams(size=vectors.shape[1], distance=models.Distance.COSINE),
    )
    client.upload_collection(
        "memories",
        vectors=vectors,
        ids=range(len(vectors)),
        payload=[{"odd": number % 2} for number in range(len(vectors))],
    )
    is_odd = models.FieldCondition(key="odd", match=models.MatchValue(value=1))
    only = models.Filter(must=[is_odd])

    def search(vector: Vectors) -> Sequence[int]:
        found = client.query_points("memories", query=vector, query_filter=only, limit=10)
        return [int(point.id) for point in found.points]

    return search


def _lance(vectors: Vectors, directory: str) -> Search:
    lancedb: Any = import_module("lancedb")
    rows = [{"vector": vector, "n": n, "odd": n % 2} for n, vector in enumerate(vectors)]
    table = lancedb.connect(directory).create_table("memories", rows)

    def search(vector: Vectors) -> Sequence[int]:
        found = table.search(vector).where("odd = 1", prefilter=True).limit(10).to_list()
        return [int(row["n"]) for row in found]

    return search

"""An embedder without a model: one vector per token, weighted and summed.

The table is distilled from all-MiniLM-L6-v2 by `python -m scripts.static_embedder`. It does not
know the order of words, costs microseconds, and needs nothing but numpy.
"""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import anyio.lowlevel
import anyio.to_thread
import numpy as np

from backends.embedding.wordpiece import WordPiece
from backends.protocols import Vectors

TABLE = Path(__file__).with_name("minilm_static.npz")
"""`rows` (tokens, dim) int8, `scales` (tokens,) float32, `vocabulary` UTF-8 lines as bytes."""

_MOST_CHARACTERS_AT_ONCE = 20_000  # about 5 ms of work; more of it leaves the event loop


class StaticEmbedder:
    """Embeds texts with the table that comes with the package."""

    def __init__(self) -> None:
        content = TABLE.read_bytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as table:
            self._rows = table["rows"]
            self._scales = table["scales"]
            vocabulary = table["vocabulary"].tobytes().decode()
        self._tokenizer = WordPiece(vocabulary.split("\n"))
        self._name = f"minilm-static:int8:{hashlib.sha256(content).hexdigest()[:12]}"

    @property
    def name(self) -> str:
        """Model, number format and digest of the table."""
        return self._name

    async def embed(self, texts: Sequence[str], /) -> Vectors:
        """Embed texts of any length; a text without a known token becomes the zero vector."""
        if sum(map(len, texts)) > _MOST_CHARACTERS_AT_ONCE:
            return await anyio.to_thread.run_sync(self._embed, texts)
        await anyio.lowlevel.checkpoint()
        return self._embed(texts)

    def _embed(self, texts: Sequence[str]) -> Vectors:
        # Runs on several threads at once: the tokeniser's cache only ever gains equal entries.
        vectors = np.zeros((len(texts), self._rows.shape[1]), np.float32)
        for number, text in enumerate(texts):
            ids = np.array(self._tokenizer.ids(text), np.intp)
            ids, counts = np.unique(ids, return_counts=True)
            weights = (self._scales[ids] * counts).astype(np.float32)
            vectors[number] = weights @ self._rows[ids].astype(np.float32)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors

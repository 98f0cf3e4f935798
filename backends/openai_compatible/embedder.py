"""An embedder at an OpenAI-compatible endpoint. The texts leave this kernel."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import anyio
import numpy as np
import openai

from backends.errors import BackendTimeoutError, BackendUnavailableError
from backends.openai_compatible.client import closing, open_client
from backends.openai_compatible.failures import TRANSPORT_ERRORS, from_status, from_transport
from backends.openai_compatible.settings import OpenAISettings
from backends.protocols import Vectors
from backends.text import well_formed

_BATCH = 64
_MAX_BODY_BYTES = 64 * 1024 * 1024
# Common models take 8,192 tokens, and some scripts have one token for each character.
_MAX_CHARACTERS = 8000


class OpenAIEmbedder:
    """Embeds texts at an endpoint; see `backends.protocols.Embedder`."""

    def __init__(self, settings: OpenAISettings, client: openai.AsyncOpenAI) -> None:
        self._settings = settings
        self._client = client
        self._dim = 0

    @property
    def name(self) -> str:
        """The model and where it runs: elsewhere it may be quantised otherwise."""
        return f"{self._settings.model} at {urlsplit(self._settings.base_url).netloc}"

    async def embed(self, texts: Sequence[str], /) -> Vectors:
        """Embed texts; row `i` belongs to text `i`. Of a very long one, the beginning counts.

        Raises:
            BackendError: The endpoint failed, or its answer is none.
        """
        if not texts:
            return np.empty((0, self._dim), dtype=np.float32)
        rows = [
            await self._embed(texts[start : start + _BATCH])
            for start in range(0, len(texts), _BATCH)
        ]
        vectors = np.concatenate(rows)
        self._dim = vectors.shape[1]
        return vectors

    async def _embed(self, texts: Sequence[str]) -> Vectors:
        # Endpoints refuse an empty text; a full stop says as little.
        sent = [well_formed(text)[:_MAX_CHARACTERS].strip() or "." for text in texts]
        seconds = self._settings.total_deadline_seconds
        try:
            with anyio.move_on_after(seconds):
                return self._vectors(await self._ask(sent), len(sent))
        except openai.APIStatusError as exc:
            raise from_status(self._settings, exc, max_tokens=0) from None
        except TRANSPORT_ERRORS as exc:
            raise from_transport(self._settings, exc) from None
        raise BackendTimeoutError(f"embedder {self._settings.name!r}: no answer in {seconds:g} s")

    async def _ask(self, texts: list[str]) -> bytes:
        asked = {"model": self._settings.model, "input": texts, "encoding_format": "float"}
        # As a stream, so that the body can be read with a bound.
        stream = await self._client.post(
            "/embeddings",
            body=asked,
            cast_to=object,
            stream=True,
            stream_cls=openai.AsyncStream[object],
        )
        body = bytearray()
        async with closing(stream.response) as response:
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > _MAX_BODY_BYTES:
                    raise self._unusable()
        return bytes(body)

    def _vectors(self, body: bytes, count: int) -> Vectors:
        try:
            data = json.loads(body)["data"]
            rows = [row["embedding"] for row in sorted(data, key=lambda row: row["index"])]
            vectors: Vectors = np.array(rows, dtype=np.float32)
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        except (ValueError, TypeError, KeyError, RecursionError):
            raise self._unusable() from None
        if vectors.shape[0] != count or not np.isfinite(norms).all() or not norms.all():
            raise self._unusable()
        unit: Vectors = vectors / norms
        return unit

    def _unusable(self) -> BackendUnavailableError:
        return BackendUnavailableError(
            f"embedder {self._settings.name!r}: its endpoint sent no vectors for the texts;"
            " see that base_url and model are right"
        )


@asynccontextmanager
async def open_openai_embedder(settings: OpenAISettings) -> AsyncGenerator[OpenAIEmbedder]:
    """Open an embedder; its connections are made when needed and end with the block."""
    async with open_client(settings) as client:
        yield OpenAIEmbedder(settings, client)

"""The embedder at an endpoint: what it sends, and what it takes for vectors."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

import anyio
import numpy as np
import pytest

from backends.errors import BackendError, BackendTimeoutError, BackendUnavailableError
from backends.openai_compatible import OpenAIEmbedder, open_openai_embedder
from tests.backends.openai_compatible.asking import CANARY, settings_for
from tests.backends.openai_compatible.endpoint import (
    Behaviour,
    Endpoint,
    Exchange,
    fails,
    hangs,
    replies,
    streams_then_cuts,
)

SECONDS = 20.0


async def measures(exchange: Exchange) -> None:
    """Embed each text as its length and a constant, in reverse order."""
    texts = cast("list[str]", exchange.request.body["input"])
    rows = [{"index": i, "embedding": [len(text), 1.0]} for i, text in enumerate(texts)]
    await exchange.document({"object": "list", "data": rows[::-1]})


@asynccontextmanager
async def opened(endpoint: Endpoint, seconds: float = SECONDS) -> AsyncGenerator[OpenAIEmbedder]:
    settings = replace(
        settings_for(endpoint), total_deadline_seconds=seconds, idle_deadline_seconds=seconds
    )
    async with open_openai_embedder(settings) as embedder:
        yield embedder


async def test_each_text_gets_its_own_unit_vector(endpoint: Endpoint) -> None:
    endpoint.behaviour = measures
    async with opened(endpoint) as embedder:
        vectors = await embedder.embed(["a", "bbb"])
        assert embedder.name.startswith("some-model at 127.0.0.1:")
    expected = np.array([[1, 1], [3, 1]]) / np.sqrt([[2], [10]])
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    assert vectors.dtype == np.float32
    [request] = endpoint.requests
    assert request.path == "/v1/embeddings"
    assert request.headers["authorization"] == f"Bearer {CANARY}"
    assert request.body == {
        "model": "some-model",
        "input": ["a", "bbb"],
        "encoding_format": "float",
    }


async def test_many_texts_go_in_batches_and_keep_their_order(endpoint: Endpoint) -> None:
    endpoint.behaviour = measures
    async with opened(endpoint) as embedder:
        vectors = await embedder.embed(["x" * (number + 1) for number in range(100)])
        assert (await embedder.embed([])).shape == (0, 2)
    ratios = vectors[:, 0] / vectors[:, 1]
    np.testing.assert_allclose(ratios, range(1, 101), rtol=1e-4)
    assert [len(str(each.body["input"]).split(", ")) for each in endpoint.requests] == [64, 36]


@pytest.mark.parametrize("text", ["", " \n", "word " * 20_000, "\ud800 a\0b"])
async def test_any_text_can_be_sent(endpoint: Endpoint, text: str) -> None:
    endpoint.behaviour = measures
    async with opened(endpoint) as embedder:
        [vector] = await embedder.embed([text])
    assert np.linalg.norm(vector) == pytest.approx(1.0)
    [sent] = cast("list[str]", endpoint.requests[0].body["input"])
    assert 0 < len(sent) <= 8000


@pytest.mark.parametrize(
    "behaviour",
    [
        replies({"data": []}),
        replies({"data": [{"index": 0}]}),
        replies({"data": [{"index": 0, "embedding": [0.0, 0.0]}]}),
        replies({"data": [{"index": 0, "embedding": ["x"]}]}),
        replies({"data": [{"index": 0, "embedding": 1.0}]}),
        replies(b'{"data": [{"index": 0, "embedding": [NaN]}]}'),
        replies(b"<html>", headers={"content-type": "text/html"}),
        replies(b"[" * 100_000),
        streams_then_cuts({}),
        fails(500),
        fails(401),
    ],
    ids=["none", "no vector", "zero", "text", "flat", "nan", "page", "deep", "cut", "500", "401"],
)
async def test_what_is_no_vector_is_an_error(endpoint: Endpoint, behaviour: Behaviour) -> None:
    endpoint.behaviour = behaviour
    async with opened(endpoint) as embedder:
        with pytest.raises(BackendUnavailableError) as error:
            await embedder.embed(["a"])
    assert CANARY not in str(error.value)


async def test_a_silent_endpoint_is_given_up(endpoint: Endpoint) -> None:
    endpoint.behaviour = hangs(endpoint)
    async with opened(endpoint, seconds=0.2) as embedder:
        with anyio.fail_after(SECONDS), pytest.raises(BackendTimeoutError):
            await embedder.embed(["a"])
        with anyio.fail_after(SECONDS):
            await endpoint.left.wait()


async def test_a_lost_connection_is_an_error_of_the_backend() -> None:
    gone = Endpoint("http://127.0.0.1:1/v1", measures)
    async with opened(gone) as embedder:
        with pytest.raises(BackendError):
            await embedder.embed(["a"])

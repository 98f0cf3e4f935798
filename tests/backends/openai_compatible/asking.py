"""Short ways to ask a core, for the tests of this folder."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio

from backends.messages import Completion, GenerateRequest, Message
from backends.openai_compatible import OpenAICore, OpenAISettings
from backends.openai_compatible.client import open_client
from tests.backends.openai_compatible.endpoint import Endpoint
from tests.backends.pieces import Pieces

DEADLINE_SECONDS = 30.0
CANARY = "canary0123456789abcdef"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def settings_for(endpoint: Endpoint) -> OpenAISettings:
    return OpenAISettings(name="cloud", base_url=endpoint.url, model="some-model", api_key=CANARY)


@asynccontextmanager
async def core_with_clock(
    endpoint: Endpoint,
    clock: Clock,
    *,
    total_deadline_seconds: float = DEADLINE_SECONDS,
    idle_deadline_seconds: float = DEADLINE_SECONDS,
) -> AsyncGenerator[OpenAICore]:
    settings = replace(
        settings_for(endpoint),
        total_deadline_seconds=total_deadline_seconds,
        idle_deadline_seconds=idle_deadline_seconds,
    )
    async with open_client(settings) as client:
        yield OpenAICore(settings, client, now=clock)


def prompt(text: str = "hello", *, max_tokens: int = 16) -> GenerateRequest:
    return GenerateRequest(messages=(Message("user", text),), max_tokens=max_tokens)


async def ask(
    core: OpenAICore, request: GenerateRequest | None = None, pieces: Pieces | None = None
) -> Completion:
    with anyio.fail_after(DEADLINE_SECONDS):
        return await core.generate(request or prompt(), (pieces or Pieces()).emit)

"""A scripted endpoint for each test, and a core that asks it."""

from collections.abc import AsyncGenerator

import pytest

from backends.openai_compatible import OpenAICore, open_openai_core
from tests.backends.openai_compatible.asking import settings_for
from tests.backends.openai_compatible.endpoint import Endpoint, open_endpoint


@pytest.fixture
def anyio_backend() -> str:
    """The client's transport knows asyncio only, as in production."""
    return "asyncio"


@pytest.fixture
async def endpoint() -> AsyncGenerator[Endpoint]:
    async with open_endpoint() as opened:
        yield opened


@pytest.fixture
async def core(endpoint: Endpoint) -> AsyncGenerator[OpenAICore]:
    async with open_openai_core(settings_for(endpoint)) as opened:
        yield opened

"""Shared fixtures: virtual time on trio, the real loop on asyncio."""

import pytest
from trio.testing import MockClock


@pytest.fixture(params=["trio", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    if request.param == "trio":
        return "trio", {"clock": MockClock(autojump_threshold=0.001)}
    return "asyncio"

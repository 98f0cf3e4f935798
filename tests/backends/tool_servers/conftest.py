import pytest


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """Both loops in real time: a virtual clock does not wait for other processes."""
    found: object = request.param
    return found

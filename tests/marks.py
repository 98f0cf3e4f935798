"""Which event loop a test runs on, where not on both."""

import pytest

virtual_time = pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)
"""On trio, whose clock jumps to the next deadline whenever all tasks wait."""

asyncio_only = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
"""On asyncio, as in production: for adapters whose libraries know no other loop."""

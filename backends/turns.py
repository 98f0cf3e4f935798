"""The turn of a generation that nobody interrupts."""

from typing import Final

import anyio


class Uninterrupted:
    """A turn that is never asked back; see `backends.protocols.Turn`."""

    async def wanted(self, /) -> None:
        """Wait for ever: cancelled by who waits."""
        await anyio.sleep_forever()

    async def pass_on(self, /) -> None:
        """Go on at once."""


UNINTERRUPTED: Final = Uninterrupted()

"""A turn that a test asks back and gives again."""

import anyio
import anyio.lowlevel


class HeldTurn:
    """A turn in a test's hand; see `backends.protocols.Turn`."""

    def __init__(self) -> None:
        self._wanted = anyio.Event()
        self._given = anyio.Event()
        self.passed = anyio.Event()
        self.times = 0

    def ask_back(self) -> None:
        self.passed = anyio.Event()
        self._given = anyio.Event()
        self._wanted.set()

    def give(self) -> None:
        self._given.set()

    async def wanted(self, /) -> None:
        await self._wanted.wait()
        self._wanted = anyio.Event()

    async def pass_on(self, /) -> None:
        self.times += 1
        self.passed.set()
        await self._given.wait()


class BriefTurn:
    """A turn that is asked back all the time and given again at once."""

    def __init__(self) -> None:
        self.times = 0

    async def wanted(self, /) -> None:
        await anyio.lowlevel.checkpoint()

    async def pass_on(self, /) -> None:
        self.times += 1
        await anyio.lowlevel.checkpoint()

"""What tests of errands need: a server that asks back, and a core that is worth waiting for."""

from collections.abc import Awaitable, Callable

import anyio

from backends.messages import (
    Completion,
    CoreStatus,
    GenerateRequest,
    JsonObject,
    ServerStatus,
    ToolResult,
    ToolSpec,
    Usage,
)
from backends.protocols import Emit, OnProgress, Turn
from backends.turns import UNINTERRUPTED

Work = Callable[[str], Awaitable[object]]
"""What the tool of an `Asker` does with the token that its server was told."""


class Asker:
    """A server whose one tool, `ask`, does what a test tells it to."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def list_tools(self, /) -> tuple[ToolSpec, ...]:
        return (ToolSpec(name="ask", description="Ask back.", input_schema={}),)

    async def call(
        self, name: str, arguments: JsonObject, on_progress: OnProgress, errand: str = "", /
    ) -> ToolResult:
        await self._work(errand)
        return ToolResult(content=())

    def status(self) -> ServerStatus:
        return ServerStatus(state="ready", tools=1)


class Slot:
    """A core that says who got it, in order; the first one keeps it until it is told to go on."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.taken = anyio.Event()
        self.goes_on = anyio.Event()

    async def generate(
        self, request: GenerateRequest, emit: Emit, turn: Turn = UNINTERRUPTED, /
    ) -> Completion:
        self.order.append(request.messages[-1].text)
        self.taken.set()
        await self.goes_on.wait()
        return Completion(text="Done.", reason="stop", usage=Usage(input_tokens=3, output_tokens=4))

    def status(self) -> CoreStatus:
        return CoreStatus(model="slot", state="ready")

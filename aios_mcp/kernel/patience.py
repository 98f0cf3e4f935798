"""How long a call waits for a core to begin while another could take it, and which were silent."""

import math

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from aios_mcp.kernel.cores import Core
from backends.errors import BackendTimeoutError
from backends.messages import Completion, GenerateRequest, Piece
from backends.protocols import Emit, Turn

_SHARE = 0.5
_DOUBT_SECONDS = 30.0


class Patience:
    """Bounds the wait for a core's first sign, and remembers for a while who gave none."""

    def __init__(self) -> None:
        self._doubted: dict[str, float] = {}

    def doubts(self, core: str) -> bool:
        """Whether a core was silent a short while ago."""
        until = self._doubted.get(core)
        return until is not None and anyio.current_time() < until

    async def generate(
        self,
        core: Core,
        request: GenerateRequest,
        emit: Emit,
        turn: Turn,
        *,
        until: float,
        is_last: bool,
    ) -> Completion:
        """Generate on a core that must begin within half of the time left, or is the last to try.

        Once it has begun, and while it stands still for others, only the caller's own scope counts.

        Raises:
            BackendTimeoutError: It did not begin in time.
            BackendError: It failed.
        """
        if is_last:
            completion = await core.llm.generate(request, emit, turn)
        else:
            seconds = (until - anyio.current_time()) * _SHARE
            completion = await self._begin_within(seconds, core, request, emit, turn)
        self._doubted.pop(core.name, None)
        return completion

    async def _begin_within(
        self, seconds: float, core: Core, request: GenerateRequest, emit: Emit, turn: Turn
    ) -> Completion:
        with anyio.move_on_after(seconds) as scope:

            async def begin_and_emit(piece: Piece) -> None:
                # Too late is too late: nothing must reach the caller, who gets another's answer.
                await checkpoint_if_cancelled()
                scope.deadline = math.inf
                await emit(piece)

            return await core.llm.generate(request, begin_and_emit, _Turn(turn, scope))
        self._doubted[core.name] = anyio.current_time() + _DOUBT_SECONDS
        raise BackendTimeoutError(
            f"core {core.name!r}: nothing of an answer came within {seconds:g} s, half of the time"
            " that the call had left"
        )


class _Turn:
    """A turn that takes no time while it stands still."""

    def __init__(self, turn: Turn, scope: anyio.CancelScope) -> None:
        self._turn = turn
        self._scope = scope

    async def wanted(self, /) -> None:
        await self._turn.wanted()

    async def pass_on(self, /) -> None:
        left = self._scope.deadline - anyio.current_time()
        self._scope.deadline = math.inf
        await self._turn.pass_on()
        self._scope.deadline = anyio.current_time() + left

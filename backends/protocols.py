"""The seams: what the kernel asks of each kind of backend.

Each has a production adapter, a scripted one in `backends.scripted`, and one contract test
over all of them in `tests/contracts/`.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from backends.messages import (
    Added,
    AuditRecord,
    Balance,
    CallClosed,
    CallOpened,
    Completion,
    CoreStatus,
    Exchange,
    GenerateRequest,
    Hit,
    Hold,
    JsonObject,
    MemoryCounts,
    MemoryDraft,
    MemoryQuery,
    MemoryRecord,
    Piece,
    Place,
    Reach,
    Selection,
    ServerStatus,
    ToolProgress,
    ToolResult,
    ToolSpec,
    Unit,
)
from backends.turns import UNINTERRUPTED

Emit: TypeAlias = Callable[[Piece], Awaitable[None]]
"""Receives each piece of text as it is generated, in order."""

OnProgress: TypeAlias = Callable[[ToolProgress], Awaitable[None]]
"""Receives the progress notifications of a running tool, in order."""

Vectors: TypeAlias = NDArray[np.float32]
"""Unit vectors, shape `(n, dim)`, float32."""


class Turn(Protocol):
    """A generation's turn on its core's slot, which a scheduler may ask back for another."""

    async def wanted(self, /) -> None:
        """Return when the slot is asked back; it may never be."""
        ...

    async def pass_on(self, /) -> None:
        """Give the slot up, now that the work stands still; return when it is given back."""
        ...


class LLMCore(Protocol):
    """One place that generates text."""

    async def generate(
        self, request: GenerateRequest, emit: Emit, turn: Turn = UNINTERRUPTED, /
    ) -> Completion:
        """Generate an answer, emitting its pieces on the way.

        Cancelling the call stops the work and frees what it held. A core that can stand still
        between two tokens minds its turn; one that cannot ignores it.

        Raises:
            BackendError: The core failed; see its subclasses.
        """
        ...

    def status(self) -> CoreStatus:
        """Say what this core is and how it is, without I/O."""
        ...


class Embedder(Protocol):
    """Turns texts into vectors whose inner product is their likeness."""

    @property
    def name(self) -> str:
        """Identity of model and quantisation, kept with every vector it makes."""
        ...

    async def embed(self, texts: Sequence[str], /) -> Vectors:
        """Embed texts; row `i` belongs to text `i`.

        Raises:
            BackendError: The embedder failed.
        """
        ...


class MemoryStore(Protocol):
    """Keeps memories in partitions; every call names the partitions it may touch."""

    async def add(self, draft: MemoryDraft, place: Place, /) -> Added:
        """Store a memory; returns after it is durable.

        Raises:
            MemoryNotFoundError: `replaces` or a link names no memory of the partition.
            IdempotencyConflictError: The key was used with another body.
            StoreError: It could not be written; nothing was.
        """
        ...

    async def search(self, query: MemoryQuery, reach: Sequence[Reach], /) -> tuple[Hit, ...]:
        """Find memories, best first.

        Raises:
            MemoryNotFoundError: The query names an id that is not within reach.
            StoreError: The database could not be read.
        """
        ...

    async def forget(self, selection: Selection, reach: Sequence[Reach], reason: str, /) -> int:
        """Take memories out of every later search; returns how many.

        Raises:
            StoreError: It could not be written; nothing was.
        """
        ...

    async def count(self, owner: str, /) -> MemoryCounts:
        """Count what one partition holds."""
        ...

    async def records(
        self, reach: Sequence[Reach], /, *, after: int = 0, limit: int = 500
    ) -> tuple[MemoryRecord, ...]:
        """List memories by position, older versions included, those that have expired not.

        Args:
            reach: Where to look.
            after: Position of the last one of the page before; 0 starts.
            limit: Most records of the page.

        Raises:
            StoreError: The database could not be read.
        """
        ...


class Sessions(Protocol):
    """Keeps the last exchanges of each session of each agent, and for some time only."""

    async def keep(self, exchange: Exchange, /, *, extract: bool) -> None:
        """Keep an exchange; returns after it is durable.

        Args:
            exchange: What was asked and answered; long texts are cut.
            extract: It joins the backlog.

        Raises:
            StoreError: It could not be written.
        """
        ...

    async def last(self, agent: str, session: str, most: int, /) -> tuple[Exchange, ...]:
        """Give the last exchanges of a session, oldest first.

        Raises:
            StoreError: The database could not be read.
        """
        ...

    async def forget(self, agent: str, session: str, /, *, until: float | None = None) -> int:
        """Delete a session's exchanges, those in the backlog too; returns how many.

        Args:
            agent: Whose session it is.
            session: Its name.
            until: Only those before, in Unix seconds.

        Raises:
            StoreError: It could not be written; nothing was.
        """
        ...


class Backlog(Protocol):
    """Exchanges from which memories are still to be extracted. All of it may raise `StoreError`."""

    async def take(self, *, least: int, idle_seconds: float) -> tuple[Exchange, ...]:
        """Take what waits in one session, oldest first, so that nobody else takes it for a while.

        It is taken again then unless it is settled, three times at most.

        Args:
            least: So many exchanges have to wait in the session,
            idle_seconds: or none has come for so long.
        """
        ...

    async def put_back(self, exchanges: Sequence[Exchange], /, *, after_seconds: float) -> None:
        """Let exchanges be taken again later, as if they had not been taken this time."""
        ...

    async def settle(self, exchanges: Sequence[Exchange], /) -> None:
        """Let exchanges not be taken any more."""
        ...

    async def holds(self, exchanges: Sequence[Exchange], /) -> bool:
        """Whether all of the exchanges are still there, and none was forgotten meanwhile."""
        ...

    async def waiting(self, agent: str, /) -> int:
        """Count the exchanges of an agent that wait to be taken."""
        ...


class ToolServer(Protocol):
    """A place that runs tools."""

    async def list_tools(self, /) -> tuple[ToolSpec, ...]:
        """List the published tools, sorted by name.

        Raises:
            ToolServerError: The server could not be reached.
        """
        ...

    async def call(
        self, name: str, arguments: JsonObject, on_progress: OnProgress, errand: str = "", /
    ) -> ToolResult:
        """Run one tool. Cancelling the call cancels it downstream.

        Args:
            name: The tool's.
            arguments: What it is called with.
            on_progress: Told how it goes.
            errand: Told to the server under `ERRAND_KEY`, unless it is "".

        Raises:
            ToolServerError: The server could not be reached; a tool's own failure is a result.
        """
        ...

    def status(self) -> ServerStatus:
        """Say how the server is, without I/O."""
        ...


class Journal(Protocol):
    """Audit trail and ledger, durable together.

    What is to be written is written although its caller is cancelled: who waits for it waits on,
    and learns what became of it. Who reads finds all that was asked for before.
    """

    async def open_call(
        self, opened: CallOpened, holds: Sequence[Hold], once: str | None, /
    ) -> str | None:
        """Record the intent and set the holds aside, in one transaction.

        Args:
            opened: The call.
            holds: Set aside all or none.
            once: Idempotency key of the agent, or None.

        Returns:
            The answer of an earlier, finished call with the same key and digest, which then
            stands for this one (nothing is held), or None.

        Raises:
            OverdrawnError: An account does not cover its hold; nothing was held.
            IdempotencyConflictError: The key belongs to another body or an unfinished call.
            StoreError: It could not be written.
        """
        ...

    async def close_call(self, closed: CallClosed, /) -> None:
        """Replace the holds by what was used and record the outcome, in one transaction.

        Durable when it returns only for a call with an idempotency key, whose answer stands from
        then on. Until it is durable the call counts with its holds. What cannot be written is
        logged, and tried again with the next call.
        """
        ...

    def unsettled(self, agent: str, /) -> int:
        """Count the agent's calls whose end could not be written yet."""
        ...

    async def refuse_call(self, opened: CallOpened, outcome: str, /) -> None:
        """Record a call that was not let in."""
        ...

    async def balance(self, account: str, period: str, unit: Unit, /) -> Balance:
        """Read one account."""
        ...

    async def spent(self, accounts: Collection[str], period: str, /) -> Counter[tuple[str, Unit]]:
        """Count the units of each account that were spent in a period; 0 where nothing was."""
        ...

    async def records(
        self, *, agent: str | None = None, request_id: str | None = None, limit: int = 100
    ) -> tuple[AuditRecord, ...]:
        """Read audit records, newest first."""
        ...

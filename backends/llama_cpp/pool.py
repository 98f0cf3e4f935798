"""Room in main memory for several models: who may load, who has to leave.

Models wait for room in one line. The one at its head loads as soon as it fits; for it, models that
nobody uses leave, the longest unused first. Where that does not suffice for `PATIENCE_SECONDS`,
models at work take no new calls until it is in: what they have begun they finish.
"""

import logging
import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

import anyio

from backends.llama_cpp.machine import read_machine
from backends.llama_cpp.memory_plan import in_words

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0
_SPARE_SHARE = 0.9


Standing = Literal["coming", "used", "unused", "leaving"]
"""Loading or letting its first calls in; with calls; without; to end with its last call."""


class Tenant(Protocol):
    """A model that has room, or waits for it."""

    @property
    def name(self) -> str:
        """Whom the log names."""
        ...

    @property
    def standing(self) -> Standing:
        """How far it is between coming and being gone."""
        ...

    @property
    def last_used(self) -> float:
        """When the last call ended, or it was loaded."""
        ...

    def leave(self) -> None:
        """Take no new calls, and end once those that are open have ended."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """A place in the line."""

    tenant: Tenant
    need_bytes: int


class ModelPool:
    """Main memory for the models of one kernel.

    Runs on one event loop; state changes between awaits, so that no lock is needed.

    Invariant: what its tenants need together is at most the budget.
    """

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self._held: dict[Tenant, int] = {}
        self._line: list[_Place] = []
        self._changed = anyio.Event()

    @property
    def held(self) -> Mapping[Tenant, int]:
        """Bytes of each model that has room."""
        return self._held

    @property
    def free_bytes(self) -> int:
        """Bytes of the budget that no model has."""
        return self.budget_bytes - sum(self._held.values())

    async def enter(self, tenant: Tenant, need_bytes: int) -> None:
        """Wait in line until there is room for a model; it stays until `exit`."""
        assert need_bytes <= self.budget_bytes, "what can never fit is refused before it waits"
        place = _Place(tenant, need_bytes)
        self._line.append(place)
        patient_until = math.inf
        try:
            while not self._let_in(place):
                if self._line[0] is place and patient_until == math.inf:
                    patient_until = anyio.current_time() + PATIENCE_SECONDS
                with anyio.CancelScope(deadline=patient_until) as patience:
                    await self._changed.wait()
                if patience.cancelled_caught:
                    self._make_way(place, ("unused", "used"))
                    patient_until = anyio.current_time() + PATIENCE_SECONDS
        finally:
            self._line.remove(place)
            self.look_again()

    def exit(self, tenant: Tenant) -> None:
        """Give back a model's room; it need not have any."""
        self._held.pop(tenant, None)
        self.look_again()

    @contextmanager
    def set_aside(self, need_bytes: int) -> Generator[None]:
        """Keep room for what stays in memory and never leaves, for the length of the block."""
        self.budget_bytes -= need_bytes
        try:
            yield
        finally:
            self.budget_bytes += need_bytes

    def look_again(self) -> None:
        """Let those in line see whether they fit by now: a model is used no more, or is loaded."""
        self._changed.set()
        self._changed = anyio.Event()

    def _let_in(self, place: _Place) -> bool:
        if self._line[0] is not place:
            return False
        if place.need_bytes <= self.free_bytes:
            self._held[place.tenant] = place.need_bytes
            return True
        self._make_way(place, ("unused",))
        return False

    def _make_way(self, place: _Place, standings: Sequence[Standing]) -> None:
        """Let as many of these leave as it takes, if all of them would do."""
        free = self.free_bytes + sum(
            size for tenant, size in self._held.items() if tenant.standing == "leaving"
        )
        able = [tenant for tenant in self._held if tenant.standing in standings]
        chosen: list[Tenant] = []
        for tenant in sorted(able, key=lambda each: (each.standing == "used", each.last_used)):
            if free >= place.need_bytes:
                break
            chosen.append(tenant)
            free += self._held[tenant]
        if free < place.need_bytes:
            return
        for tenant in chosen:
            logger.info(
                "a model leaves memory for another",
                extra={
                    "model": tenant.name,
                    "bytes": self._held[tenant],
                    "other": place.tenant.name,
                },
            )
            tenant.leave()


def spare_memory() -> int:
    """Give the bytes that models may take of this machine at this moment. Blocks shortly."""
    return int(read_machine().spare_bytes * _SPARE_SHARE)


def shortage(need_bytes: int, pool: ModelPool) -> str:
    """Say with figures that a model has to wait for room, naming no other model."""
    return (
        f"it needs {in_words(need_bytes)} of memory, and {in_words(pool.free_bytes)} of"
        f" {in_words(pool.budget_bytes)} for models are free; try again later, or raise"
        " model_memory_mb"
    )

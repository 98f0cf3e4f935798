"""Where jobs run: slots, and the speed at which they work."""

from scheduler.tickets import Ticket

_ENOUGH = 8
_SMOOTHING = 0.1
_FIRST_GUESS_SECONDS = 1.0


class Resource:
    """A number of slots, the jobs in them, and the speed at which they work.

    Attributes:
        free: Slots that no job holds.
        running: The jobs in its slots, by id.
        paused: How many jobs wait to go on in one of its slots.
    """

    __slots__ = (
        "_cost",
        "_measured",
        "_seconds",
        "free",
        "is_pausable",
        "name",
        "paused",
        "running",
        "slots",
    )

    def __init__(self, name: str, slots: int, *, is_pausable: bool) -> None:
        self.name = name
        self.slots = slots
        self.free = slots
        self.is_pausable = is_pausable
        self.running: dict[str, Ticket] = {}
        self.paused = self._measured = 0
        self._seconds = self._cost = 0.0

    def measure(self, cost: int, seconds: float) -> None:
        """Learn how long a job took whose estimated cost is known."""
        self._measured += 1
        step = max(_SMOOTHING, 1 / self._measured)
        self._seconds += step * (seconds - self._seconds)
        self._cost += step * (max(1, cost) - self._cost)

    def may_pause(self, head: Ticket) -> bool:
        """Whether one of its jobs could stand still for a waiting one."""
        has_room = head.has_started or self.paused < self.slots
        return self.is_pausable and not self.free and has_room

    @property
    def is_measured(self) -> bool:
        """Whether enough jobs have ended to believe its speed."""
        return self._measured >= _ENOUGH

    @property
    def pace(self) -> float:
        """Units of estimated cost that all slots together get done in a second."""
        if not self._measured:
            return self.slots / _FIRST_GUESS_SECONDS
        return self.slots * self._cost / max(self._seconds, 1e-6)

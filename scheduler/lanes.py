"""Lanes with policies of their own, and which lane goes first.

Over the lanes is weighted fair queueing by start tags (P. Goyal and others, Start-time Fair
Queueing, 1996): a lane's counter grows by its work divided by its weight, as the work is done, and
the lane with the least counter goes first, of equals the more urgent one.
"""

from collections.abc import Collection, Mapping

from scheduler.jobs import Job, Lane
from scheduler.policies.base import Policy
from scheduler.shares import Share, Shares
from scheduler.tickets import Key, Ticket

WEIGHTS: Mapping[Lane, float] = {Lane.URGENT: 16.0, Lane.NORMAL: 4.0, Lane.BATCH: 1.0}
"""What a lane gets of busy slots against the others, unless it is said."""


class _Band:
    """What one lane has had of one kind of work, and how many jobs it has there."""

    __slots__ = ("counter", "live")

    def __init__(self) -> None:
        self.counter = 0.0
        self.live = 0


class Lanes:
    """One policy for all lanes together, or one for each.

    Args:
        policies: What orders all jobs, or the jobs of each lane.
        weights: By lane, where others than `WEIGHTS`.
        quantum: A running job gives its slot up to another lane only after so much work.

    Invariants, with a policy for each lane (`tests/scheduler/test_lanes.py`):
        - of two lanes with work waiting, the work done divided by weight differs by at most the
          largest job of one for each slot;
        - a lane that was idle neither owes nor is owed anything.
    """

    def __init__(
        self,
        policies: Policy | Mapping[Lane, Policy],
        weights: Mapping[Lane, float] | None = None,
        quantum: int = 32,
    ) -> None:
        self.are_one = isinstance(policies, Policy)
        if isinstance(policies, Policy):
            self.policies: tuple[Policy, ...] = (policies,)
        else:
            self.policies = tuple(policies[lane] for lane in Lane)
        self.shares = tuple(Shares() for _ in self.policies)
        self._weights = tuple((weights or {}).get(lane, WEIGHTS[lane]) for lane in Lane)
        self._quantum = quantum
        self._bands: dict[str, tuple[_Band, ...]] = {}

    def band(self, lane: Lane) -> int:
        """Give the number of the lane that a job stands in; 0 where they are one."""
        return 0 if self.are_one else int(lane)

    def enter(self, ticket: Ticket) -> None:
        """Count a new job."""
        if self.are_one:
            return
        group = ticket.job.group
        if group not in self._bands:
            self._bands[group] = tuple(_Band() for _ in self.policies)
        band = self._band(ticket)
        if not band.live:
            least = min((each.counter for each in self._bands[group] if each.live), default=0.0)
            band.counter = max(band.counter, least)
        band.live += 1

    def leave(self, ticket: Ticket) -> None:
        """Count a job out; forget a kind of work that nobody has."""
        if self.are_one:
            return
        self._band(ticket).live -= 1
        if not any(band.live for band in self._bands[ticket.job.group]):
            del self._bands[ticket.job.group]

    def charge(self, ticket: Ticket, *, is_over: bool) -> None:
        """Charge the work of a job to its lane, and to its agent as the policy says."""
        self.policies[ticket.band].charge(ticket, is_over=is_over)
        if self.are_one or not ticket.has_started:
            return
        due = ticket.used if is_over else max(ticket.used, ticket.job.prompt, 1)
        self._band(ticket).counter += (due - ticket.lane_charged) / self._weights[ticket.band]
        ticket.lane_charged = due

    def order(self, ticket: Ticket) -> tuple[float, int, Key, int]:
        """Give the place of a line's first job, or of a running one, among those of all lines."""
        key = self.policies[ticket.band].key(ticket)
        return self.counter(ticket), ticket.band, key, ticket.arrival

    def goes_before(self, one: Ticket, other: Ticket) -> bool:
        """Say whether the first job of a line starts before that of another."""
        return self.order(one) < self.order(other)

    def gives_way(self, running: Ticket, head: Ticket) -> bool:
        """Say whether a running job should stand still for the first of a line."""
        if running.band == head.band:
            return self.policies[head.band].gives_way(running, head)
        if running.ran < self._quantum:
            return False
        ahead, behind = self.counter(running), self.counter(head)
        if head.band < running.band:
            return behind <= ahead
        return behind + self._quantum / self._weights[running.band] < ahead

    def counter(self, ticket: Ticket) -> float:
        """Give what the lane of a job has had, by weight; 0 where lanes are one."""
        return 0.0 if self.are_one else self._band(ticket).counter

    def step_of(self, ticket: Ticket) -> float:
        """Give by how much the lane of a job falls back through it; 0 where lanes are one."""
        return 0.0 if self.are_one else ticket.job.cost / self._weights[ticket.band]

    def part(self, job: Job) -> float:
        """Give the part of busy slots that the lane of a new job gets while the others work."""
        bands = self._bands.get(job.group)
        if bands is None:
            return 1.0
        mine = self._weights[job.lane]
        others = [
            weight
            for lane, (band, weight) in enumerate(zip(bands, self._weights, strict=True))
            if band.live and lane != job.lane
        ]
        return mine / (mine + sum(others))

    # --- Agents, across lanes ------------------------------------------------------------------

    def running(self, ticket: Ticket) -> int:
        """Count the running jobs of a job's agent and group."""
        if self.are_one:
            return ticket.share.running  # asked for each decision
        return sum(share.running for share in self.shares_of(ticket))

    def shares_of(self, ticket: Ticket) -> Collection[Share]:
        """Give the shares of a job's agent, by lane."""
        if self.are_one:
            return (ticket.share,)
        found = [shares.find(ticket.job) for shares in self.shares]
        return [share for share in found if share is not None]

    def _band(self, ticket: Ticket) -> _Band:
        return self._bands[ticket.job.group][ticket.band]

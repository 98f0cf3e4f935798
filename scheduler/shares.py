"""What each agent has had, so that policies can compare them."""

from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush, heapreplace

from scheduler.jobs import Job

_SPARE = 64


@dataclass(slots=True, eq=False)
class Share:
    """What one agent has had of one kind of work, and how much it has under way.

    Attributes:
        counter: Work charged to the agent and to its sub-agents, in units of the policy.
        own: Work charged to the agent alone.
        live: Jobs of the agent that wait or run.
        live_below: Jobs of the agent and of its sub-agents that wait or run.
        running: Jobs of the agent that count towards its limit.
        entry: The number of its valid entry in the floor of its group.
        top: The share that bounds this one: that of its superior, or itself.
        members: Its sub-agents, by name.
    """

    agent: str
    counter: float = 0.0
    own: float = 0.0
    live: int = 0
    live_below: int = 0
    running: int = 0
    entry: int = 0
    top: "Share" = field(init=False, repr=False)
    members: dict[str, "Share"] = field(default_factory=dict[str, "Share"], repr=False)

    def __post_init__(self) -> None:
        self.top = self


class _Group:
    """The shares of one kind of work.

    The floor is a heap of the live ones by counter. Counters grow without telling it: an entry that
    is too low is put right when it surfaces.
    """

    def __init__(self) -> None:
        self.shares: dict[str, Share] = {}
        self.live = 0
        self.active = 0  # shares with live jobs
        self._floor: list[tuple[float, int, Share]] = []
        self._entries = 0
        self._kept = 0  # idle shares that still counted when last looked at

    def share(self, agent: str) -> Share:
        found = self.shares.get(agent)
        if found is None:
            found = self.shares[agent] = Share(agent)
        return found

    def lift(self, share: Share) -> None:
        """Bring a share that was idle up to the least of the live ones."""
        share.counter = max(share.counter, self._least())
        self.active += 1
        self.enter(share)
        if max(len(self.shares), len(self._floor)) > 2 * self.active + self._kept + _SPARE:
            self._forget(share)

    def enter(self, share: Share) -> None:
        """Put a share into the floor where its counter belongs now; its other entry is void."""
        self._entries += 1
        share.entry = self._entries
        heappush(self._floor, (share.counter, share.entry, share))

    def _least(self) -> float:
        floor = self._floor
        while floor:
            counter, number, share = floor[0]
            if not share.live_below or number != share.entry:
                heappop(floor)
            elif counter != share.counter:
                heapreplace(floor, (share.counter, number, share))
            else:
                return counter
        return 0.0

    def _forget(self, newest: Share) -> None:
        # A lift would give an idle share as much as it has, or more.
        least = self._least()
        self.shares = {
            agent: share
            for agent, share in self.shares.items()
            if share.live_below or share is newest or share.counter > least
        }
        self._floor = [
            entry for entry in self._floor if entry[2].live_below and entry[1] == entry[2].entry
        ]
        self._floor.append((newest.counter, newest.entry, newest))
        heapify(self._floor)
        self._kept = len(self.shares) - self.active  # so that it is not looked for again at once


class Shares:
    """The shares of all agents that have work, or have had so much that it still counts.

    Invariant (`tests/scheduler/test_fair.py`): a share that becomes live has at least the least
    counter of the live ones, running work included; who comes late is owed nothing.
    """

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}

    def join(self, job: Job) -> Share:
        """Give the share that a new job is charged to."""
        group = self._groups.get(job.group)
        if group is None:
            group = self._groups[job.group] = _Group()
        group.live += 1
        top = group.share(job.superior or job.agent)
        if not top.live_below:
            group.lift(top)
        top.live_below += 1
        share = top if top.agent == job.agent else _member(top, job.agent)
        if not share.live:
            _lift_among_siblings(share)
        share.live += 1
        return share

    def find(self, job: Job) -> Share | None:
        """Give the share of a job's agent, if it has one."""
        group = self._groups.get(job.group)
        top = None if group is None else group.shares.get(job.superior or job.agent)
        if top is None or top.agent == job.agent:
            return top
        return top.members.get(job.agent)

    def lower(self, share: Share, job: Job) -> None:
        """Learn that a counter has shrunk."""
        self._groups[job.group].enter(share.top)

    def leave(self, share: Share, job: Job) -> None:
        """Take a job off its share; forget a group in which nobody has work."""
        share.live -= 1
        share.top.live_below -= 1
        group = self._groups[job.group]
        group.live -= 1
        if not group.live:
            del self._groups[job.group]  # nobody waits or runs, so nobody is behind
        elif not share.top.live_below:
            group.active -= 1
            share.top.members.clear()

    def __len__(self) -> int:
        return sum(len(group.shares) for group in self._groups.values())


def _member(top: Share, agent: str) -> Share:
    found = top.members.get(agent)
    if found is None:
        found = top.members[agent] = Share(agent)
        found.top = top
    return found


def _lift_among_siblings(share: Share) -> None:
    top = share.top
    if top.members:
        siblings = [each.own for each in (top, *top.members.values()) if each.live]
        share.own = max(share.own, min(siblings, default=0.0))

"""How long the wait will be: for people who look at the line, and for jobs that cannot wait."""

from collections.abc import Collection, Mapping

from scheduler.lanes import Lanes
from scheduler.shares import Share
from scheduler.tickets import Ticket
from scheduler.waiting import Line


def positions(lines: Collection[Line], lanes: Lanes) -> Mapping[str, int]:
    """Count the jobs in front of each waiting one, by id, as things stand. O(n log n)."""
    sets = {line.place.resources for line in lines}
    rivals = {one: [each for each in sets if not set(each).isdisjoint(one)] for one in sets}
    ahead = dict.fromkeys(sets, 0)
    positions: dict[str, int] = {}
    for waiting in _in_order(lines, lanes):
        resources = waiting.place.resources
        positions[waiting.job.id] = ahead[resources]
        for each in rivals[resources]:
            ahead[each] += 1
    return positions


def surely_before(line: Line, share: Share | None) -> int:
    """Count the jobs of a line that go before a newcomer whatever happens, at the least.

    Args:
        line: Where it would wait.
        share: That of its agent, if it has one.
    """
    if line.policy.order == "arrival":
        return len(line)
    if line.policy.order == "rank" or share is None:
        return 0
    mine = line.queue_of(share)
    return 0 if mine is None else mine.live * len(line.queues)


def _in_order(lines: Collection[Line], lanes: Lanes) -> list[Ticket]:
    """Give the waiting jobs, first to last: those of a lane by its policy, lanes by their work."""
    placed = sorted(
        (
            line.place.band,
            turn if line.policy.order == "turns" else 0,
            key(waiting),
            number,
            waiting,
        )
        for line in lines
        for key in (line.policy.key,)
        for queue in line.queues
        for turn, (_, number, waiting) in enumerate(queue.in_order())
    )
    reached: dict[tuple[int, str], float] = {}
    starts: list[tuple[float, int, int, Ticket]] = []
    for number, (band, *_, waiting) in enumerate(placed):
        lane = (band, waiting.job.group)
        start = reached.get(lane, lanes.counter(waiting))
        reached[lane] = start + lanes.step_of(waiting)
        starts.append((start, band, number, waiting))
    return [waiting for *_, waiting in sorted(starts)]

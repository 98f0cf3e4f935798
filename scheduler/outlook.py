"""How long the wait will be: for people who look at the line, and for jobs that cannot wait."""

from collections.abc import Collection, Mapping

from scheduler.policies import Policy
from scheduler.shares import Share
from scheduler.waiting import Line


def positions(lines: Collection[Line], policy: Policy) -> Mapping[str, int]:
    """Count the jobs in front of each waiting one, by id, as things stand. O(n log n)."""
    placed = sorted(
        (
            turn if policy.order == "turns" else 0,
            policy.key(waiting),
            number,
            line.place[0],
            waiting.job.id,
        )
        for line in lines
        for queue in line.queues
        for turn, (_, number, waiting) in enumerate(queue.in_order())
    )
    sets = {line.place[0] for line in lines}
    rivals = {one: [each for each in sets if not set(each).isdisjoint(one)] for one in sets}
    ahead = dict.fromkeys(sets, 0)
    positions: dict[str, int] = {}
    for *_, resources, job_id in placed:
        positions[job_id] = ahead[resources]
        for each in rivals[resources]:
            ahead[each] += 1
    return positions


def surely_before(line: Line, share: Share | None, policy: Policy) -> int:
    """Count the jobs of a line that go before a newcomer whatever happens, at the least.

    Args:
        line: Where it would wait.
        share: That of its agent, if it has one.
        policy: By what the line is ordered.
    """
    if policy.order == "arrival":
        return len(line)
    if policy.order == "rank" or share is None:
        return 0
    mine = line.queue_of(share)
    return 0 if mine is None else mine.live * len(line.queues)

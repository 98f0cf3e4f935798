"""All interleavings of a few jobs: every state that can be reached is checked, and can be left."""

import copy
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from scheduler import Lane
from tests.scheduler.reference import PolicyName
from tests.scheduler.world import POLICIES, World

Step = Callable[[World], None]

# Two agents, one of which may run one job at a time; three jobs for one slot, one for either.
JOBS: tuple[Step, ...] = (
    lambda world: world.submit("a", ("gpu0",), more=20, lane=Lane.BATCH, due=30),
    lambda world: world.submit("b", ("gpu0",), more=10, lane=Lane.NORMAL, due=20),
    lambda world: world.submit("b", ("gpu0", "gpu1"), prompt=5, more=10, lane=Lane.URGENT, due=10),
    lambda world: world.submit("a", ("gpu0",), more=5, lane=Lane.URGENT, due=10),
)
MOST_USED = 15
AT_LEAST = 300


def steps(world: World) -> Iterator[Step]:
    """What a client could do next."""
    if world.count < len(JOBS):
        yield JOBS[world.count]
    for entry in world.reference.live.values():
        name = entry.job.id
        yield partial(World.release, job_id=name, used=None)
        if not entry.is_waiting:
            yield partial(World.pause, job_id=name)
            if entry.used < MOST_USED:
                yield partial(World.progress, job_id=name, tokens=MOST_USED)


def fingerprint(world: World) -> object:
    reference = world.reference
    return (
        world.count,
        frozenset(world.asked),
        tuple(
            (each.job.id, each.is_waiting, each.resource, each.used, each.charged)
            for each in reference.live.values()
        ),
        tuple(sorted(reference.counters.items())),
        tuple(sorted(reference.own.items())),
    )


@pytest.mark.parametrize("policy", POLICIES)
def test_every_state_of_a_few_jobs_is_sound(policy: PolicyName) -> None:
    frontier = [World(policy, {"gpu0": 1, "gpu1": 1}, most=3)]
    seen = {fingerprint(frontier[0])}
    while frontier:
        reached: list[World] = []
        for world in frontier:
            for step in steps(world):
                after = copy.deepcopy(world)
                step(after)
                after.schedule()
                after.check()
                mark = fingerprint(after)
                if mark not in seen:
                    seen.add(mark)
                    reached.append(after)
        frontier = reached
    assert len(seen) > AT_LEAST

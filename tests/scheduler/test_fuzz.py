"""Random clients by the thousand, against the reference.

`FUZZ_RUNS=2000 python -m pytest tests/scheduler/test_fuzz.py` is the long form: so many runs of 250
events under each policy.
"""

import os
import random

import pytest

from scheduler import Lane
from tests.scheduler.reference import PolicyName
from tests.scheduler.world import AGENTS, POLICIES, SLOTS, World

RUNS = int(os.environ.get("FUZZ_RUNS", "9"))
EVENTS = 250


def step(world: World, rng: random.Random) -> None:
    running, waiting = world.reference.running(), world.reference.waiting()
    match rng.choices(["submit", "progress", "pause", "end", "cancel", ""], [9, 6, 3, 5, 3, 1])[0]:
        case "submit":
            resources = tuple(rng.sample(sorted(SLOTS), rng.randint(1, 3)))
            parents = world.parents() if rng.random() < 0.3 else []
            world.submit(
                rng.choice(AGENTS),
                resources,
                prompt=rng.choice([0, 0, 20]),
                more=rng.randint(0, 50),
                lane=rng.choice(list(Lane)),
                due=rng.choice([None, rng.randint(0, 50)]),
                program=rng.choice(["", "p", "q"]),
                handicaps=rng.choice([(), (0.0, 2.0, 4.0), (3.0, 0.0, 0.0)])[: len(resources)],
                affinity=rng.choice(["", "k", "l"]),
                parent=rng.choice(parents) if parents else "",
            )
        case "progress" if running:
            world.progress(world.pick(rng, running=True), rng.randint(0, 40))
        case "pause" if able := sorted(world.pausable()):
            asked = sorted(world.asked.intersection(able))
            world.pause(rng.choice(asked or able))
        case "end" if running:
            world.release(world.pick(rng, running=True), rng.choice([None, rng.randint(0, 80)]))
        case "cancel" if waiting:
            world.release(world.pick(rng, running=False), None)
        case _:
            world.now += rng.random() * 5


@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_is_lost_or_done_twice_over_many_random_runs(policy: PolicyName) -> None:
    for seed in range(RUNS):
        rng = random.Random(seed)
        world = World(policy)
        for _ in range(EVENTS):
            step(world, rng)
            if rng.random() < 0.8:  # several changes at once now and then
                world.schedule()
            world.check()
        world.drain()

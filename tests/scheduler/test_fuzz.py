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

RUNS = int(os.environ.get("FUZZ_RUNS", "12"))
EVENTS = 250


def step(world: World, rng: random.Random) -> None:
    running, waiting = world.reference.running(), world.reference.waiting()
    match rng.choices(["submit", "progress", "pause", "end", "cancel"], [9, 6, 3, 5, 3])[0]:
        case "submit":
            world.submit(
                rng.choice(AGENTS),
                tuple(rng.sample(sorted(SLOTS), rng.randint(1, 3))),
                prompt=rng.choice([0, 0, 20]),
                more=rng.randint(0, 50),
                lane=rng.choice(list(Lane)),
                due=rng.choice([None, rng.randint(0, 50)]),
                program=rng.choice(["", "p", "q"]),
            )
        case "progress" if running:
            world.progress(world.pick(rng, running=True), rng.randint(0, 40))
        case "pause" if running:
            asked = sorted(world.asked)
            world.pause(rng.choice(asked) if asked else world.pick(rng, running=True))
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

"""The scheduler's invariants under every policy, over long runs, against the reference."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from scheduler import Lane
from tests.scheduler.reference import PolicyName
from tests.scheduler.world import AGENTS, POLICIES, SLOTS, World

RUNS = settings(max_examples=25, stateful_step_count=80, deadline=None)


class Machine(RuleBasedStateMachine):
    """Any client, on one policy."""

    policy: PolicyName = "fifo"

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.policy)

    @rule(
        agent=st.sampled_from(AGENTS),
        resources=st.lists(st.sampled_from(sorted(SLOTS)), min_size=1, unique=True),
        sizes=st.tuples(st.integers(0, 60), st.integers(0, 60)),
        lane=st.sampled_from(Lane),
        due=st.none() | st.integers(0, 50),
        program=st.sampled_from(["", "p", "q"]),
    )
    def submit(
        self,
        agent: str,
        resources: list[str],
        sizes: tuple[int, int],
        lane: Lane,
        due: int | None,
        program: str,
    ) -> None:
        self.world.submit(
            agent, tuple(resources), prompt=sizes[0], more=sizes[1], lane=lane, due=due,
            program=program,
        )  # fmt: skip

    @rule(agent=st.sampled_from(AGENTS), count=st.integers(2, 8), more=st.integers(0, 60))
    def submit_many(self, agent: str, count: int, more: int) -> None:
        for _ in range(count):
            self.world.submit(agent, ("gpu0", "gpu1"), prompt=0, more=more)

    @rule(seconds=st.floats(0, 10))
    def pass_time(self, seconds: float) -> None:
        self.world.now += seconds

    @rule()
    def schedule(self) -> None:
        self.world.schedule()

    @precondition(lambda self: self.world.reference.running())
    @rule(pick=st.randoms(use_true_random=False), tokens=st.integers(0, 40))
    def progress(self, pick: object, tokens: int) -> None:
        self.world.progress(self.world.pick(pick, running=True), tokens)

    @precondition(lambda self: self.world.reference.running())
    @rule(pick=st.randoms(use_true_random=False))
    def pause(self, pick: object) -> None:
        self.world.pause(self.world.pick(pick, running=True))

    @precondition(lambda self: self.world.reference.running())
    @rule(pick=st.randoms(use_true_random=False), used=st.none() | st.integers(0, 80))
    def end(self, pick: object, used: int | None) -> None:
        self.world.release(self.world.pick(pick, running=True), used)

    @precondition(lambda self: self.world.reference.waiting())
    @rule(pick=st.randoms(use_true_random=False))
    def cancel(self, pick: object) -> None:
        self.world.release(self.world.pick(pick, running=False), None)

    @invariant()
    def all_holds(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        self.world.drain()


@pytest.mark.parametrize("name", POLICIES)
def test_it_decides_as_the_reference_does_and_keeps_its_invariants(name: PolicyName) -> None:
    class OnPolicy(Machine):
        policy = name

    run_state_machine_as_test(OnPolicy, settings=RUNS)

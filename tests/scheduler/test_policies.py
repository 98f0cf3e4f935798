"""What each policy promises."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler import Job, Lane, Scheduler
from scheduler.policies import Deadline, Fair, Fifo, Policy, Priority

PLENTY = 1_000_000


def scheduler(policy: Policy, slots: int = 1) -> Scheduler:
    return Scheduler({"gpu": slots}, policy, max_waiting=PLENTY, max_waiting_per_agent=PLENTY)


def job(
    name: str,
    agent: str = "a",
    *,
    cost: int = 1,
    lane: Lane = Lane.NORMAL,
    deadline: float | None = None,
    group: str = "",
) -> Job:
    return Job(
        id=name,
        agent=agent,
        resources=("gpu",),
        cost=cost,
        lane=lane,
        deadline=deadline,
        group=group,
    )


def run_all(line: Scheduler) -> list[Job]:
    """Run what waits, one after another; give the order."""
    order: list[Job] = []
    while granted := line.schedule(0.0):
        for grant in granted:
            order.append(grant.job)
            line.release(grant.job.id, 0.0, used=grant.job.cost)
    return order


def names(jobs: Sequence[Job]) -> str:
    return " ".join(each.id for each in jobs)


# --- Fair --------------------------------------------------------------------------------------


def test_an_agent_with_little_work_does_not_wait_behind_one_with_much() -> None:
    line = scheduler(Fair())
    for number in range(5):
        line.submit(job(f"hog{number}", "hog", cost=10), 0.0)
    line.submit(job("polite", "polite", cost=10), 0.0)
    assert names(run_all(line)) == "hog0 polite hog1 hog2 hog3 hog4"


def test_work_is_shared_by_weight() -> None:
    line = scheduler(Fair({"small": 1.0, "middle": 2.0, "large": 4.0}))
    for number in range(100):
        for agent in ("small", "middle", "large"):
            line.submit(job(f"{agent}{number}", agent, cost=3), 0.0)
    first = [each.agent for each in run_all(line)[:70]]
    assert [first.count(agent) for agent in ("small", "middle", "large")] == [10, 20, 40]


def test_large_jobs_get_no_more_than_small_ones() -> None:
    line = scheduler(Fair())
    for number in range(100):
        line.submit(job(f"large{number}", "large", cost=10), 0.0)
    for number in range(100):
        line.submit(job(f"small{number}", "small", cost=1), 0.0)
    first = [each.agent for each in run_all(line)[:55]]
    assert (first.count("large"), first.count("small")) == (5, 50)


def test_an_agent_that_used_less_than_expected_is_next() -> None:
    line = scheduler(Fair())
    for agent in ("frugal", "lavish"):
        for number in range(2):
            line.submit(job(f"{agent}{number}", agent, cost=100), 0.0)
    for each in ("frugal0", "lavish0"):
        [grant] = line.schedule(0.0)
        assert grant.job.id == each
        line.release(each, 1.0, used=1 if each == "frugal0" else 100)
    line.submit(job("lavish2", "lavish", cost=100), 1.0)
    line.submit(job("frugal2", "frugal", cost=100), 1.0)
    assert names(run_all(line)) == "frugal1 lavish1 frugal2 lavish2"


def test_a_cancelled_job_costs_its_agent_nothing() -> None:
    line = scheduler(Fair())
    line.submit(job("running", "other", cost=10), 0.0)
    line.schedule(0.0)
    for number in range(10):
        line.submit(job(f"a{number}", "a", cost=1000), 0.0)
    for number in range(10):
        line.release(f"a{number}", 0.0)
    line.submit(job("b", "b", cost=10), 0.0)
    line.submit(job("a", "a", cost=10), 0.0)
    line.submit(job("b2", "b", cost=10), 0.0)
    line.release("running", 1.0, used=10)
    assert names(run_all(line)) == "b a b2"


def test_a_job_does_not_pass_its_agent_s_own_because_another_cost_less() -> None:
    line = scheduler(Fair())
    line.submit(job("a0", "a", cost=100), 0.0)
    line.schedule(0.0)
    line.submit(job("a1", "a"), 0.0)
    line.submit(job("b", "b"), 0.0)
    line.release("a0", 1.0, used=0)
    line.submit(job("a2", "a"), 1.0)
    assert names(run_all(line)) == "a1 b a2"  # what a0 did not use is given back


def test_an_agent_that_comes_late_is_owed_nothing() -> None:
    line = scheduler(Fair())
    for number in range(20):
        line.submit(job(f"old{number}", "old", cost=10), 0.0)
    for _ in range(10):
        [grant] = line.schedule(0.0)
        line.release(grant.job.id, 1.0, used=10)
    for number in range(10):
        line.submit(job(f"new{number}", "new", cost=10), 1.0)
    served = [each.agent for each in run_all(line)]
    assert abs(served[:10].count("new") - served[:10].count("old")) <= 1


def test_work_of_one_kind_does_not_count_against_another() -> None:
    line = Scheduler({"gpu": 1, "memory": 1}, Fair())
    line.submit(job("long", "a", cost=5000, group="llm"), 0.0)
    line.schedule(0.0)
    for name, agent in (("m0", "b"), ("m1", "b"), ("m2", "a")):
        line.submit(Job(id=name, agent=agent, resources=("memory",)), 0.0)
    assert names([grant.job for grant in line.schedule(0.0)]) == "m0"
    line.release("m0", 1.0, used=1)
    assert names([grant.job for grant in line.schedule(1.0)]) == "m2"


@given(
    weights=st.tuples(st.floats(0.25, 8), st.floats(0.25, 8)),
    costs=st.tuples(
        st.lists(st.integers(1, 50), min_size=1, max_size=30),
        st.lists(st.integers(1, 50), min_size=1, max_size=30),
    ),
)
def test_two_busy_agents_are_never_further_apart_than_their_largest_jobs(
    weights: tuple[float, float], costs: tuple[list[int], list[int]]
) -> None:
    share = dict(zip("ab", weights, strict=True))
    line = scheduler(Fair(share))
    for agent, each in zip("ab", costs, strict=True):
        for number, cost in enumerate(each):
            line.submit(job(f"{agent}{number}", agent, cost=cost), 0.0)
    left = {agent: len(each) for agent, each in zip("ab", costs, strict=True)}
    done = {"a": 0.0, "b": 0.0}
    bound = sum(max(each) / share[agent] for agent, each in zip("ab", costs, strict=True))
    while all(left.values()):
        [grant] = line.schedule(0.0)
        line.release(grant.job.id, 0.0, used=grant.job.cost)
        agent = grant.job.agent
        left[agent] -= 1
        done[agent] += grant.job.cost / share[agent]
        assert abs(done["a"] - done["b"]) <= bound + 1e-6


def test_an_idle_kernel_remembers_nothing() -> None:
    policy = Fair()
    line = scheduler(policy)
    for number in range(10):
        line.submit(job(str(number), f"agent{number}", cost=10), 0.0)
    run_all(line)
    line.submit(job("a0", "agent0", cost=10), 1.0)
    line.submit(job("new", "new", cost=10), 1.0)
    assert names(run_all(line)) == "a0 new"


# --- Priority ----------------------------------------------------------------------------------


def test_the_more_urgent_lane_runs_first() -> None:
    line = scheduler(Priority(ageing_seconds=30.0))
    for lane in (Lane.BATCH, Lane.NORMAL, Lane.URGENT):
        line.submit(job(lane.name, lane=lane), 0.0)
    assert names(run_all(line)) == "URGENT NORMAL BATCH"


@given(
    arrivals=st.lists(
        st.tuples(st.floats(0, 20), st.sampled_from(list(Lane))), min_size=1, max_size=40
    )
)
def test_a_job_is_overtaken_only_by_those_that_come_within_its_ageing(
    arrivals: list[tuple[float, Lane]],
) -> None:
    step = 5.0
    line = scheduler(Priority(ageing_seconds=step))
    now, came = 0.0, dict[str, float]()
    for number, (seconds, lane) in enumerate(arrivals):
        now += seconds
        came[str(number)] = now
        line.submit(job(str(number), lane=lane), now)
    order = run_all(line)
    for place, late in enumerate(order):
        for passed in order[place + 1 :]:
            if came[passed.id] < came[late.id]:
                assert came[late.id] - came[passed.id] <= passed.lane * step


# --- Deadline and arrival ----------------------------------------------------------------------


def test_the_earliest_deadline_runs_first_and_none_comes_last() -> None:
    line = scheduler(Deadline())
    for name, deadline in (("none", None), ("late", 90.0), ("soon", 10.0), ("later", 91.0)):
        line.submit(job(name, deadline=deadline), 0.0)
    assert names(run_all(line)) == "soon late later none"


@pytest.mark.parametrize("policy", [Fair(), Fifo(), Priority(30.0), Deadline()])
def test_equals_run_in_order_of_arrival(policy: Policy) -> None:
    line = scheduler(policy)
    for number in range(20):
        line.submit(job(f"{number:02}", "a"), 0.0)
    assert [each.id for each in run_all(line)] == [f"{number:02}" for number in range(20)]


@pytest.mark.parametrize("policy", [Fifo(), Priority(30.0), Deadline()])
def test_equals_of_several_agents_run_in_order_of_arrival(policy: Policy) -> None:
    line = scheduler(policy)
    for number in range(12):
        line.submit(job(f"{number:02}", "abc"[number % 3]), 0.0)
    assert [each.id for each in run_all(line)] == [f"{number:02}" for number in range(12)]

"""Lanes with policies of their own: what each gets, and who goes first in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler import Job, Lane, Lanes, QueueFullError, Scheduler
from scheduler.policies import Deadline, Fair, Fifo, RoundRobin

PLENTY = 100_000
URGENT, NORMAL, BATCH = Lane


def scheduler(
    lanes: Lanes | None = None, slots: int = 1, *, most_per_agent: int = PLENTY
) -> Scheduler:
    fifo = Lanes(dict.fromkeys(Lane, Fifo()), quantum=10)
    return Scheduler(
        {"gpu": slots, "cpu": slots},
        lanes or fifo,
        max_waiting=PLENTY,
        max_waiting_per_agent=most_per_agent,
        pausable=["gpu"],
    )


def job(
    name: str,
    lane: Lane,
    agent: str = "a",
    *,
    cost: int = 10,
    deadline: float | None = None,
    limit: int | None = None,
    parent: str = "",
    resource: str = "gpu",
) -> Job:
    return Job(
        id=name,
        agent=agent,
        resources=(resource,),
        lane=lane,
        cost=cost,
        deadline=deadline,
        agent_limit=limit,
        parent=parent,
    )


def started(line: Scheduler, now: float = 0.0) -> list[str]:
    return [grant.job.id for grant in line.schedule(now)]


def run(line: Scheduler, jobs: int) -> list[Job]:
    """Run so many jobs to their end, one after another; give the order."""
    order: list[Job] = []
    while len(order) < jobs and (granted := line.schedule(0.0)):
        for grant in granted:
            order.append(grant.job)
            line.release(grant.job.id, 0.0, used=grant.job.cost)
    return order


def fill(line: Scheduler, count: int, costs: dict[Lane, int] | None = None) -> None:
    for number in range(count):
        for lane in reversed(Lane):
            cost = (costs or {}).get(lane, 10)
            line.submit(job(f"{lane.name}{number}", lane, cost=cost), 0.0)


def test_the_more_urgent_lane_goes_first_whoever_came_before() -> None:
    line = scheduler()
    fill(line, 1)
    assert [each.lane for each in run(line, 3)] == [URGENT, NORMAL, BATCH]


def test_lanes_get_slots_by_weight_and_none_starves() -> None:
    line = scheduler()
    fill(line, 200)
    lanes = [each.lane for each in run(line, 210)]
    assert [lanes.count(lane) for lane in Lane] == [160, 40, 10]


def test_weights_are_chosen() -> None:
    weights = {URGENT: 1.0, NORMAL: 1.0, BATCH: 2.0}
    line = scheduler(Lanes(dict.fromkeys(Lane, Fifo()), weights))
    fill(line, 100)
    lanes = [each.lane for each in run(line, 80)]
    assert [lanes.count(lane) for lane in Lane] == [20, 20, 40]


@given(st.lists(st.tuples(*(st.integers(1, 50) for _ in Lane)), min_size=30, max_size=30))
def test_lanes_with_work_differ_by_no_more_than_their_largest_jobs(
    costs: list[tuple[int, ...]],
) -> None:
    weights = {URGENT: 3.0, NORMAL: 2.0, BATCH: 1.0}
    line = scheduler(Lanes(dict.fromkeys(Lane, Fifo()), weights))
    for number, row in enumerate(costs):
        for lane, cost in zip(Lane, row, strict=True):
            line.submit(job(f"{lane.name}{number}", lane, cost=cost), 0.0)
    done = dict.fromkeys(Lane, 0.0)
    left = dict.fromkeys(Lane, len(costs))
    largest = {lane: max(row[lane] for row in costs) / weights[lane] for lane in Lane}
    while all(left.values()):
        (first,) = run(line, 1)
        done[first.lane] += first.cost / weights[first.lane]
        left[first.lane] -= 1
        for one, other in ((URGENT, NORMAL), (NORMAL, BATCH), (URGENT, BATCH)):
            assert abs(done[one] - done[other]) <= largest[one] + largest[other]


def test_each_lane_goes_by_its_own_policy() -> None:
    line = scheduler(Lanes({URGENT: Deadline(), NORMAL: RoundRobin(10), BATCH: Fifo()}))
    line.submit(job("u1", URGENT, "a", deadline=90.0), 0.0)
    line.submit(job("u2", URGENT, "b", deadline=50.0), 0.0)
    for lane, name in ((NORMAL, "n"), (BATCH, "b")):
        for number in range(2):
            line.submit(job(f"{name}a{number}", lane, "a"), 0.0)
        line.submit(job(f"{name}b", lane, "b"), 0.0)
    names = [each.id for each in run(line, 8)]
    by_lane = {lane: [name for name in names if name[0] == lane] for lane in "unb"}
    assert by_lane == {"u": ["u2", "u1"], "n": ["na0", "nb", "na1"], "b": ["ba0", "ba1", "bb"]}


def test_a_lane_that_comes_late_is_owed_nothing() -> None:
    line = scheduler(Lanes(dict.fromkeys(Lane, Fifo()), dict.fromkeys(Lane, 1.0)))
    for number in range(40):
        line.submit(job(f"n{number}", NORMAL), 0.0)
    run(line, 20)
    for number in range(40):
        line.submit(job(f"b{number}", BATCH), 0.0)
    lanes = [each.lane for each in run(line, 10)]
    assert (lanes.count(NORMAL), lanes.count(BATCH)) == (5, 5)


def test_a_lane_owes_nothing_once_nobody_has_work() -> None:
    line = scheduler()
    for number in range(9):
        line.submit(job(f"b{number}", BATCH), 0.0)
    run(line, 9)
    fill(line, 1)
    assert [each.lane for each in run(line, 3)] == [URGENT, NORMAL, BATCH]


def test_a_long_batch_job_stands_still_for_an_urgent_one_and_goes_on() -> None:
    line = scheduler()
    line.submit(job("long", BATCH), 0.0)
    assert started(line) == ["long"]
    line.submit(job("now", URGENT), 0.0)
    line.progress("long", 9, 1.0)
    assert line.pauses(1.0) == []  # not yet a turn
    line.progress("long", 10, 1.0)
    assert line.pauses(1.0) == ["long"]
    line.pause("long", 1.0, used=10)
    assert started(line, 1.0) == ["now"]
    line.progress("now", 15, 2.0)
    assert line.pauses(2.0) == []  # 15/16 are less than 10
    line.release("now", 3.0, used=15)
    assert started(line, 3.0) == ["long"]


def test_an_urgent_job_stands_still_for_a_lane_that_is_far_behind() -> None:
    line = scheduler(Lanes(dict.fromkeys(Lane, Fifo()), dict.fromkeys(Lane, 1.0), quantum=10))
    line.submit(job("now", URGENT), 0.0)
    assert started(line) == ["now"]
    line.submit(job("later", BATCH), 0.0)
    line.progress("now", 11, 1.0)
    assert line.pauses(1.0) == []  # it began with 1, the newcomer was lifted to that
    line.progress("now", 12, 1.0)
    assert line.pauses(1.0) == ["now"]


def test_no_job_stands_still_for_an_urgent_lane_that_has_had_more() -> None:
    line = scheduler(Lanes(dict.fromkeys(Lane, Fifo()), dict.fromkeys(Lane, 1.0), quantum=10))
    line.submit(job("u0", URGENT), 0.0)
    assert started(line) == ["u0"]
    line.submit(job("b", BATCH), 0.0)
    line.release("u0", 1.0, used=50)
    line.submit(job("u1", URGENT), 1.0)
    line.submit(job("u2", URGENT), 1.0)
    assert started(line, 1.0) == ["b"]
    line.progress("b", 12, 2.0)
    assert line.pauses(2.0) == []
    line.progress("b", 50, 3.0)
    assert line.pauses(3.0) == ["b"]


def test_within_a_lane_its_policy_says_who_stands_still() -> None:
    line = scheduler(Lanes({URGENT: Fifo(), NORMAL: Deadline(), BATCH: Fifo()}))
    line.submit(job("loose", NORMAL), 0.0)
    assert started(line) == ["loose"]
    line.submit(job("tight", NORMAL, deadline=10.0), 0.0)
    assert line.pauses(0.0) == ["loose"]


def test_an_agents_limit_counts_all_its_lanes() -> None:
    line = scheduler(slots=3)
    for lane in Lane:
        line.submit(job(lane.name, lane, limit=2), 0.0)
    assert started(line) == ["URGENT", "NORMAL"]
    line.release("URGENT", 1.0)
    assert started(line, 1.0) == ["BATCH"]


def test_a_nested_job_stands_in_its_parents_lane_and_within_its_limit() -> None:
    line = scheduler()
    line.submit(job("parent", URGENT, limit=1), 0.0)
    assert started(line) == ["parent"]
    line.submit(job("other", NORMAL, "b", resource="cpu"), 0.0)
    line.submit(job("waits", NORMAL, "b", resource="cpu"), 0.0)
    assert started(line) == ["other"]
    line.submit(job("child", BATCH, limit=1, parent="parent", resource="cpu"), 0.0)
    line.release("other", 1.0)
    assert started(line, 1.0) == ["child"]


def test_a_nested_job_that_is_more_urgent_is_exempt_from_the_limit_too() -> None:
    line = scheduler()
    line.submit(job("parent", BATCH, limit=1), 0.0)
    assert started(line) == ["parent"]
    line.submit(job("child", URGENT, limit=1, parent="parent", resource="cpu"), 0.0)
    assert started(line) == ["child"]


def test_positions_count_the_jobs_of_other_lanes_that_go_before() -> None:
    line = scheduler(Lanes(dict.fromkeys(Lane, Fifo()), dict.fromkeys(Lane, 1.0)))
    fill(line, 2)
    order = ["URGENT0", "NORMAL0", "BATCH0", "URGENT1", "NORMAL1", "BATCH1"]
    assert sorted(order, key=lambda name: line.position(name) or 0) == order
    assert [each.id for each in run(line, 6)] == order


def test_a_full_line_says_when_a_place_is_free_by_what_the_lane_gets() -> None:
    line = scheduler(most_per_agent=2)
    for number in range(20):  # the speed is known: a second each
        line.submit(job(f"past{number}", BATCH, "past"), 0.0)
        assert started(line)
        line.release(f"past{number}", 1.0, used=10)
    for name in ("b0", "b1"):
        line.submit(job(name, BATCH), 0.0)
    with pytest.raises(QueueFullError) as alone:
        line.submit(job("b2", BATCH), 0.0)
    line.submit(job("n", NORMAL, "b"), 0.0)
    with pytest.raises(QueueFullError) as beside:
        line.submit(job("b2", BATCH), 0.0)
    # Two agents wait now, and batch gets a fifth.
    ratio = beside.value.retry_after_seconds / alone.value.retry_after_seconds
    assert ratio == pytest.approx(10.0)


def test_a_fair_lane_shares_by_agent_whatever_they_had_in_another() -> None:
    line = scheduler(Lanes({URGENT: Fifo(), NORMAL: Fair(), BATCH: Fair()}))
    for number in range(5):
        line.submit(job(f"b{number}", BATCH, "a", cost=1000), 0.0)
        line.submit(job(f"na{number}", NORMAL, "a"), 0.0)
        line.submit(job(f"nb{number}", NORMAL, "b"), 0.0)
    normal = [each.agent for each in run(line, 15) if each.lane is NORMAL]
    assert normal == ["a", "b"] * 5

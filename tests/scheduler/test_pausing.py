"""Running jobs that stand still for others, under every policy, and the traps of it."""

import pytest

from scheduler import Job, Lane, Scheduler
from scheduler.policies import Deadline, Fair, Fifo, Policy, Priority, RoundRobin

PLENTY = 1000


def scheduler(policy: Policy, slots: int = 1) -> Scheduler:
    return Scheduler(
        {"gpu": slots, "cpu": 1},
        policy,
        max_waiting=PLENTY,
        max_waiting_per_agent=PLENTY,
        pausable=["gpu"],
    )


def job(
    name: str,
    agent: str = "a",
    *,
    lane: Lane = Lane.NORMAL,
    deadline: float | None = None,
    resource: str = "gpu",
    limit: int | None = None,
) -> Job:
    return Job(
        id=name,
        agent=agent,
        resources=(resource,),
        lane=lane,
        cost=100,
        deadline=deadline,
        agent_limit=limit,
    )


def started(line: Scheduler, now: float = 0.0) -> list[str]:
    return [grant.job.id for grant in line.schedule(now)]


def test_a_newcomer_far_behind_takes_a_slot_of_one_that_is_ahead() -> None:
    line = scheduler(Fair(quantum_tokens=10))
    line.submit(job("long", "hog"), 0.0)
    assert started(line) == ["long"]
    line.submit(job("short", "polite"), 0.0)
    line.progress("long", 9, 1.0)
    assert line.pauses(1.0) == []  # not yet a quantum behind
    line.progress("long", 11, 1.0)
    assert line.pauses(1.0) == ["long"]
    assert line.pauses(1.0) == []  # named once
    line.pause("long", 2.0, used=12)
    assert started(line, 2.0) == ["short"]
    assert line.position("long") == 0
    line.release("short", 3.0, used=5)
    assert started(line, 3.0) == ["long"]


def test_an_agent_does_not_take_its_own_slot() -> None:
    line = scheduler(Fair(quantum_tokens=10))
    line.submit(job("first"), 0.0)
    started(line)
    line.submit(job("second"), 0.0)
    line.progress("first", 1000, 1.0)
    assert line.pauses(1.0) == []


@pytest.mark.parametrize(
    ("policy", "before", "after"),
    [
        (Priority(30.0), job("x", lane=Lane.NORMAL), job("y", lane=Lane.URGENT)),
        (Deadline(), job("x", deadline=90.0), job("y", deadline=80.0)),
        (RoundRobin(10), job("x", "a"), job("y", "b")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_running_job_gives_way_as_its_policy_says(
    policy: Policy, before: Job, after: Job
) -> None:
    line = scheduler(policy)
    line.submit(before, 0.0)
    started(line)
    line.submit(after, 0.0)
    line.progress("x", 20, 1.0)
    assert line.pauses(1.0) == ["x"]
    line.pause("x", 1.0)
    assert started(line, 1.0) == ["y"]
    assert line.pauses(1.0) == []  # nor back at once


@pytest.mark.parametrize(
    ("policy", "before", "after"),
    [
        (Fifo(), job("x", lane=Lane.BATCH, deadline=90.0), job("y", "b", lane=Lane.URGENT)),
        (Priority(30.0), job("x", lane=Lane.NORMAL), job("y", "b", lane=Lane.NORMAL)),
        (Deadline(), job("x", deadline=90.0), job("y", "b")),
        (Deadline(), job("x", deadline=90.0), job("y", "b", deadline=90.0)),
        (RoundRobin(1000), job("x"), job("y", "b")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_running_job_stays_otherwise(policy: Policy, before: Job, after: Job) -> None:
    line = scheduler(policy)
    line.submit(before, 0.0)
    started(line)
    line.submit(after, 0.0)
    line.progress("x", 20, 1.0)
    assert line.pauses(1.0) == []


def test_a_job_that_went_on_runs_for_a_quantum_before_it_is_asked_again() -> None:
    line = scheduler(Fair(quantum_tokens=10))
    line.submit(job("elsewhere", "b", resource="cpu", limit=1), 0.0)
    line.submit(job("long", "hog"), 0.0)
    started(line)
    line.submit(job("behind", "b", limit=1), 0.0)  # far behind, but at its agent's limit
    line.progress("long", 500, 1.0)
    line.pause("long", 1.0)
    assert started(line, 1.0) == ["long"]
    line.release("elsewhere", 1.0)
    assert line.pauses(1.0) == []
    line.progress("long", 510, 2.0)
    assert line.pauses(2.0) == ["long"]


def test_the_one_that_goes_last_by_the_policy_is_the_one_that_gives_way() -> None:
    line = scheduler(Priority(30.0), slots=3)
    for name, lane in (("n1", Lane.NORMAL), ("b", Lane.BATCH), ("n2", Lane.NORMAL)):
        line.submit(job(name, lane=lane), 0.0)
    started(line)
    line.submit(job("urgent", lane=Lane.URGENT), 0.0)
    assert line.pauses(0.0) == ["b"]


def test_a_job_of_the_same_lane_that_came_first_takes_no_slot_back() -> None:
    line = scheduler(Priority(30.0))
    line.submit(job("elsewhere", resource="cpu", limit=1), 0.0)
    line.submit(job("first", limit=1), 0.0)
    line.submit(job("second", "b"), 1.0)
    assert started(line, 1.0) == ["elsewhere", "second"]
    line.release("elsewhere", 2.0)
    assert line.pauses(2.0) == []


def test_a_job_that_ageing_has_made_urgent_is_not_paused() -> None:
    line = scheduler(Priority(30.0))
    line.submit(job("old", lane=Lane.BATCH), 0.0)
    started(line)
    line.submit(job("new", lane=Lane.URGENT), 60.0)
    assert line.pauses(60.0) == []


def test_jobs_of_a_resource_that_cannot_stand_still_are_left_alone() -> None:
    line = scheduler(Priority(30.0))
    line.submit(job("x", lane=Lane.BATCH, resource="cpu"), 0.0)
    started(line)
    line.submit(job("y", lane=Lane.URGENT, resource="cpu"), 0.0)
    assert line.pauses(1.0) == []


def test_at_most_as_many_are_asked_to_stand_still_as_there_are_slots() -> None:
    line = scheduler(Priority(1000.0))
    for lane in (Lane.BATCH, Lane.NORMAL, Lane.URGENT):
        line.submit(job(lane.name, lane=lane), 0.0)
        for name in line.pauses(0.0):
            line.pause(name, 0.0)
        started(line)
    assert line.pauses(0.0) == []  # BATCH stands still; NORMAL runs on beside URGENT in line
    assert line.running == 1
    assert [line.position(lane.name) for lane in Lane] == [0, None, 1]


def test_a_deadline_outlives_a_pause() -> None:
    line = scheduler(Deadline())
    line.submit(job("due90", deadline=90.0), 0.0)
    started(line)
    line.submit(job("due80", deadline=80.0), 0.0)
    assert line.pauses(0.0) == ["due90"]
    line.pause("due90", 0.0)
    assert started(line) == ["due80"]
    line.submit(job("due95", deadline=95.0), 1.0)
    line.release("due80", 2.0)
    assert started(line, 2.0) == ["due90"]


@pytest.mark.parametrize("policy", [Fifo(), Priority(30.0), Deadline(), RoundRobin(10), Fair()])
def test_paused_siblings_go_on_in_order_of_arrival(policy: Policy) -> None:
    line = scheduler(policy, slots=3)
    for name in "123":
        line.submit(job(name), 0.0)
    assert started(line) == ["1", "2", "3"]
    for name in "312":
        line.progress(name, 40 * int(name), 1.0)
        line.pause(name, 1.0)
    line.submit(job("4"), 1.0)
    assert started(line, 2.0) == ["1", "2", "3"]


def test_a_wake_up_is_not_lost_when_the_head_leaves() -> None:
    line = scheduler(Priority(1000.0))
    line.submit(job("batch", lane=Lane.BATCH), 0.0)
    started(line)
    line.submit(job("urgent", lane=Lane.URGENT), 0.0)
    assert line.pauses(0.0) == ["batch"]
    line.release("urgent", 0.0)  # cancelled while batch is about to stand still
    line.pause("batch", 0.0)
    assert started(line) == ["batch"]
    line.submit(job("urgent2", lane=Lane.URGENT), 1.0)
    assert line.pauses(1.0) == ["batch"]  # and it can be asked again


def test_a_limit_that_a_paused_job_made_room_under_lets_others_of_its_owner_forward() -> None:
    line = scheduler(Fair(quantum_tokens=1), slots=2)
    line.submit(job("1", limit=1), 0.0)
    line.submit(job("2", limit=1), 0.0)
    assert started(line) == ["1"]
    line.pause("1", 1.0, used=5)
    assert started(line, 1.0) == ["1"]  # it came first
    line.release("1", 2.0, used=5)
    assert started(line, 2.0) == ["2"]


def test_a_cancelled_head_leaves_no_stale_key_behind() -> None:
    line = scheduler(Fair())
    line.submit(job("running", "b", resource="cpu"), 0.0)
    line.submit(job("holds", "c"), 0.0)
    started(line)
    # a's second job is more urgent than its first; when it leaves, the first stands for a.
    line.submit(job("a1", "a"), 1.0)
    line.submit(job("d1", "d"), 1.0)
    line.submit(job("a2", "a", lane=Lane.URGENT), 1.0)
    line.release("a2", 1.0)
    line.release("holds", 2.0, used=1)
    assert started(line, 2.0) == ["a1"]


def test_a_cancelled_paused_job_gives_nothing_back_twice() -> None:
    line = scheduler(Fair())
    line.submit(job("1"), 0.0)
    started(line)
    line.pause("1", 1.0, used=5)
    line.release("1", 1.0)
    assert (line.waiting, line.running, line.counts()["gpu"].busy) == (0, 0, 0)


def test_only_a_running_job_can_be_paused() -> None:
    line = scheduler(Fair())
    line.submit(job("1"), 0.0)
    for name in ("1", "unknown"):
        with pytest.raises(ValueError, match="does not run"):
            line.pause(name, 0.0)


def test_a_job_comes_back_to_a_line_that_its_agent_had_left() -> None:
    # The line's entry for the agent from before then has the same rank and arrival.
    line = scheduler(Priority(30.0))
    line.submit(job("holder", "b", lane=Lane.URGENT), 0.0)
    started(line)
    line.submit(job("1"), 1.0)
    line.submit(job("2"), 1.0)
    line.submit(job("waits", "c", lane=Lane.URGENT), 1.0)
    line.release("waits", 1.0)
    line.release("holder", 1.0)
    assert started(line, 1.0) == ["1"]
    line.release("2", 1.0)
    line.submit(job("other", "c", lane=Lane.URGENT), 2.0)
    line.pause("1", 2.0)
    assert line.waiting == 2
    assert started(line, 2.0) == ["other"]

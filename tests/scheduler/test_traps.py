"""Faults that schedulers of this kind fall into, each with a test of its name."""

import anyio
import pytest
from anyio.lowlevel import checkpoint

from scheduler import Job, Lane, Scheduler, SchedulerDriver
from scheduler.policies import Deadline, Fifo, Priority
from tests.scheduler.reference import PolicyName
from tests.scheduler.world import POLICIES, make_policy

SECONDS = 5.0


def job(
    name: str,
    *,
    agent: str = "a",
    parent: str = "",
    lane: Lane = Lane.NORMAL,
    deadline: float | None = None,
) -> Job:
    return Job(
        id=name, agent=agent, resources=("gpu",), parent=parent, lane=lane, deadline=deadline
    )


def started(line: Scheduler, now: float = 0.0) -> list[str]:
    return [grant.job.id for grant in line.schedule(now)]


async def test_a_grant_held_while_waiting_for_another_is_no_deadlock() -> None:
    driver = SchedulerDriver(Scheduler({"gpu": 1}, Fifo()))
    with anyio.fail_after(SECONDS):
        async with driver.lease(job("outer")), driver.lease(job("inner", parent="outer")) as inner:
            assert inner.resource == "gpu"
    assert driver.counts()["gpu"].busy == 0


async def test_no_wake_up_is_lost_when_the_one_that_was_woken_is_cancelled() -> None:
    driver = SchedulerDriver(Scheduler({"gpu": 1}, Fifo()))
    ended: list[str] = []

    async def wait(name: str, scope: anyio.CancelScope) -> None:
        with scope:
            async with driver.lease(job(name)):
                await checkpoint()
                ended.append(name)

    with anyio.fail_after(SECONDS):
        async with anyio.create_task_group() as tasks:
            first = anyio.CancelScope()
            async with driver.lease(job("holder")):
                tasks.start_soon(wait, "first", first)
                tasks.start_soon(wait, "second", anyio.CancelScope())
                while driver.waiting < 2:
                    await checkpoint()
            first.cancel()  # it has its slot, and does not know yet
    assert ended == ["second"]
    assert (driver.waiting, driver.running) == (0, 0)


def test_a_deadline_is_not_lost_after_a_pause() -> None:
    line = Scheduler({"gpu": 1}, Deadline(), pausable=["gpu"])
    line.submit(job("early", deadline=10.0), 0.0)
    assert started(line) == ["early"]
    line.submit(job("earlier", deadline=5.0), 1.0)
    assert line.pauses(1.0) == ["early"]
    line.pause("early", 1.0)
    assert started(line) == ["earlier"]
    line.submit(job("late", deadline=20.0), 2.0)
    line.release("earlier", 3.0)
    assert started(line) == ["early"]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("paused", ["12", "21"])
def test_fifo_order_is_kept_among_resumed_siblings(policy: PolicyName, paused: str) -> None:
    line = Scheduler({"gpu": 2}, make_policy(policy), pausable=["gpu"])
    for name in "123":
        line.submit(job(name), 0.0)
    assert started(line) == ["1", "2"]
    for name in paused:
        line.pause(name, 1.0)
    assert started(line) == ["1", "2"]
    line.release("1", 2.0)
    assert started(line) == ["3"]


def test_no_heap_key_is_stale_after_the_head_was_cancelled() -> None:
    line = Scheduler({"gpu": 1}, Priority(1000.0))
    line.submit(job("first", lane=Lane.URGENT), 0.0)
    line.submit(job("last", lane=Lane.BATCH), 0.0)
    line.submit(job("other", agent="b"), 0.0)
    line.release("first", 0.0)
    assert started(line) == ["other"]
    line.release("other", 0.0)
    assert started(line) == ["last"]

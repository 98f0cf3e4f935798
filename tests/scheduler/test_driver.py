import anyio
import pytest

from scheduler import DeadlineMissedError, Job, QueueFullError, Scheduler, SchedulerDriver
from scheduler.policies import Fifo
from tests.marks import virtual_time


def job(name: str, agent: str = "a", deadline: float | None = None) -> Job:
    return Job(id=name, agent=agent, resources=("gpu",), deadline=deadline)


@virtual_time
async def test_one_slot_serves_jobs_one_after_another() -> None:
    driver = SchedulerDriver(Scheduler({"gpu": 1}, Fifo()))
    ended: list[tuple[str, float, float]] = []
    start = anyio.current_time()

    async def work(name: str) -> None:
        async with driver.lease(job(name)) as lease:
            await anyio.sleep(10)
            ended.append((name, anyio.current_time() - start, lease.queue_seconds))

    async with anyio.create_task_group() as tg:
        for name in "xyz":
            tg.start_soon(work, name)
            await anyio.wait_all_tasks_blocked()
    assert ended == [("x", 10.0, 0.0), ("y", 20.0, 10.0), ("z", 30.0, 20.0)]


async def test_cancelling_a_waiting_job_leaves_the_line_intact() -> None:
    driver = SchedulerDriver(Scheduler({"gpu": 1}, Fifo()))
    async with driver.lease(job("holder")):
        with anyio.move_on_after(0) as scope:
            async with driver.lease(job("impatient")):
                raise AssertionError("must not be granted")
        assert scope.cancelled_caught
        assert driver.waiting == 0
    assert driver.running == 0


async def test_an_error_inside_a_lease_frees_the_slot_and_reaches_the_caller() -> None:
    driver = SchedulerDriver(Scheduler({"gpu": 1}, Fifo()))
    with pytest.raises(ZeroDivisionError):
        async with driver.lease(job("j")):
            _ = 1 / 0
    assert driver.counts()["gpu"].busy == 0


async def test_a_full_line_refuses_at_once() -> None:
    driver = SchedulerDriver(Scheduler({"gpu": 1}, Fifo(), max_waiting=0))
    with pytest.raises(QueueFullError):
        async with driver.lease(job("j")):
            pass


@virtual_time
async def test_a_job_whose_deadline_passes_in_line_never_starts() -> None:
    driver = SchedulerDriver(Scheduler({"gpu": 1}, Fifo()))
    async with driver.lease(job("holder")):
        with pytest.raises(DeadlineMissedError, match=r"within 5\.0 s"):
            async with driver.lease(job("late", deadline=anyio.current_time() + 5)):
                raise AssertionError("must not be granted")
    assert (driver.waiting, driver.running) == (0, 0)


@virtual_time
async def test_a_storm_of_cancellations_leaks_no_slot() -> None:
    driver = SchedulerDriver(
        Scheduler({"gpu": 3}, Fifo(), max_waiting=5000, max_waiting_per_agent=5000)
    )
    done: list[str] = []

    async def work(name: str, patience: float) -> None:
        with anyio.move_on_after(patience):
            async with driver.lease(job(name)):
                await anyio.sleep(0.5)
                done.append(name)

    async with anyio.create_task_group() as tg:
        for number in range(1000):
            tg.start_soon(work, str(number), (number * 7919) % 50 / 10)
    assert (driver.waiting, driver.running) == (0, 0)
    assert 10 < len(done) < 1000

import anyio
import anyio.lowlevel
import pytest

from scheduler import (
    DeadlineMissedError,
    Job,
    Lane,
    Lease,
    QueueFullError,
    Scheduler,
    SchedulerDriver,
)
from scheduler.policies import Fair, Fifo, Policy, Priority, RoundRobin
from tests.marks import virtual_time


def job(
    name: str, agent: str = "a", deadline: float | None = None, lane: Lane = Lane.NORMAL
) -> Job:
    return Job(id=name, agent=agent, resources=("gpu",), deadline=deadline, lane=lane)


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
@pytest.mark.parametrize("policy", [Fifo(), Fair(quantum_tokens=1), Priority(5.0), RoundRobin(1)])
async def test_a_storm_of_cancellations_leaks_no_slot(policy: Policy) -> None:
    calls = 5000
    scheduler = Scheduler(
        {"gpu": 3}, policy, max_waiting=calls, max_waiting_per_agent=calls, pausable=["gpu"]
    )
    driver = SchedulerDriver(scheduler)
    done: list[str] = []

    async def work(name: str, patience: float) -> None:
        with anyio.move_on_after(patience):
            async with driver.lease(job(name, agent=name[-1])) as lease:
                await anyio.sleep(0.25)
                lease.report(2)
                if int(name) % 3 == 0:
                    await lease.pass_on()
                await anyio.sleep(0.25)
                done.append(name)

    async with anyio.create_task_group() as tg:
        for number in range(calls):
            tg.start_soon(work, str(number), (number * 7919) % 500 / 10)
    assert (driver.waiting, driver.running, len(driver.leases)) == (0, 0, 0)
    assert driver.counts()["gpu"].busy == 0
    assert 100 < len(done) < calls


@virtual_time
async def test_a_lease_is_asked_back_passes_on_and_gets_its_next_turn() -> None:
    driver = SchedulerDriver(Scheduler({"gpu": 1}, Fair(quantum_tokens=10), pausable=["gpu"]))
    events: list[str] = []

    async def long() -> None:
        async with driver.lease(job("long", deadline=anyio.current_time() + 5)) as lease:
            lease.report(100)
            await anyio.sleep(1)
            lease.report(120)
            await lease.wanted()
            events.append("asked")
            await anyio.sleep(1)
            await lease.pass_on()
            events.append("back")
            assert not lease.is_waiting
            assert lease.queue_seconds == 30  # past its deadline, which was for its start
        events.append("ended")

    async def short() -> None:
        async with driver.lease(job("short", "b")) as lease:
            events.append("short")
            assert lease.queue_seconds == 2
            await anyio.sleep(30)

    with anyio.fail_after(100):
        async with anyio.create_task_group() as tg:
            tg.start_soon(long)
            await anyio.lowlevel.checkpoint()
            tg.start_soon(short)
    assert events == ["asked", "short", "back", "ended"]


async def test_a_slot_that_was_asked_back_before_anybody_listened_is_wanted_still() -> None:
    driver = SchedulerDriver(Scheduler({"gpu": 1}, Priority(5.0), pausable=["gpu"]))
    async with (
        driver.lease(job("batch", lane=Lane.BATCH)) as lease,
        anyio.create_task_group() as tg,
    ):

        async def urgent() -> None:
            async with driver.lease(job("urgent", lane=Lane.URGENT)):
                pass

        tg.start_soon(urgent)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(5):
            await lease.wanted()
            await lease.pass_on()
    assert driver.running == 0


async def test_cancelling_a_job_that_stands_still_frees_what_it_held() -> None:
    driver = SchedulerDriver(Scheduler({"gpu": 1}, Fair(), pausable=["gpu"]))
    async with anyio.create_task_group() as tg:
        paused = anyio.CancelScope()

        async def stand_still() -> None:
            with paused:
                async with driver.lease(job("1")) as lease:
                    holder = driver.lease(job("2", "b"))
                    tg.start_soon(hold, holder)
                    await anyio.wait_all_tasks_blocked()
                    lease.report(5)
                    await lease.pass_on()

        release = anyio.Event()

        async def hold(holder: Lease) -> None:
            async with holder:
                await release.wait()

        tg.start_soon(stand_still)
        await anyio.wait_all_tasks_blocked()
        assert (driver.waiting, driver.running) == (1, 1)
        paused.cancel()
        await anyio.wait_all_tasks_blocked()
        assert (driver.waiting, driver.running) == (0, 1)
        release.set()
    assert driver.counts()["gpu"].busy == 0


async def test_a_grant_that_comes_with_the_cancellation_is_passed_on() -> None:
    driver = SchedulerDriver(Scheduler({"gpu": 1}, Fifo()))
    got: list[str] = []
    scopes = {name: anyio.CancelScope() for name in "ab"}

    async def work(name: str) -> None:
        with scopes[name]:
            async with driver.lease(job(name)):
                got.append(name)

    async with anyio.create_task_group() as tg, driver.lease(job("holder")):
        for name in "ab":
            tg.start_soon(work, name)
            await anyio.wait_all_tasks_blocked()
        scopes["a"].cancel()
        # The slot went to `a` as the block ended, before `a` could see that it was cancelled.
    assert got in (["b"], ["a", "b"])
    assert (driver.waiting, driver.running) == (0, 0)


async def test_a_job_that_loses_its_place_is_told_so() -> None:
    driver = SchedulerDriver(Scheduler({"gpu": 1}, Fair(), max_waiting=2))
    refused: list[QueueFullError] = []
    served: list[str] = []

    async def work(name: str, agent: str) -> None:
        try:
            async with driver.lease(job(name, agent)):
                served.append(name)
        except QueueFullError as exc:
            refused.append(exc)

    async with anyio.create_task_group() as tg, driver.lease(job("holder")):
        for name, agent in (("1", "hog"), ("2", "hog"), ("3", "light")):
            tg.start_soon(work, name, agent)
            await anyio.wait_all_tasks_blocked()
    assert len(refused) == 1
    assert refused[0].retry_after_seconds > 0
    assert sorted(served) == ["1", "3"]


@virtual_time
async def test_a_job_spills_to_a_handicapped_resource_without_anything_else_happening() -> None:
    driver = SchedulerDriver(Scheduler({"gpu": 1, "cloud": 1}, Fifo()))
    spilling = Job(id="1", agent="a", resources=("gpu", "cloud"), handicaps=(0.0, 5.0))
    async with driver.lease(job("holder")), driver.lease(spilling) as lease:
        assert lease.resource == "cloud"
        assert lease.queue_seconds == pytest.approx(5.0)

import pytest

from scheduler import Job, NoResourceError, QueueFullError, Scheduler
from scheduler.policies import Fifo


def job(name: str, agent: str = "a", *resources: str, limit: int | None = None) -> Job:
    return Job(id=name, agent=agent, resources=resources or ("gpu",), agent_limit=limit)


def started(scheduler: Scheduler, now: float = 0.0) -> list[str]:
    return [grant.job.id for grant in scheduler.schedule(now)]


def test_fifo_runs_jobs_in_order_of_arrival_whoever_owns_them() -> None:
    scheduler = Scheduler({"gpu": 1}, Fifo())
    for name, agent in [("1", "greedy"), ("2", "greedy"), ("3", "modest")]:
        scheduler.submit(job(name, agent), 0.0)
    order: list[str] = []
    while granted := started(scheduler):
        order += granted
        scheduler.release(granted[0], 1.0)
    assert order == ["1", "2", "3"]


def test_a_job_runs_on_the_first_of_its_resources_that_is_free() -> None:
    scheduler = Scheduler({"local": 1, "cloud": 1}, Fifo())
    for name in "12":
        scheduler.submit(job(name, "a", "local", "cloud"), 0.0)
    assert [grant.resource for grant in scheduler.schedule(0.0)] == ["local", "cloud"]


def test_a_job_whose_resource_is_busy_does_not_hold_up_others() -> None:
    scheduler = Scheduler({"gpu": 1, "cpu": 1}, Fifo())
    for name, resource in [("1", "gpu"), ("2", "gpu"), ("3", "cpu")]:
        scheduler.submit(job(name, "a", resource), 0.0)
    assert started(scheduler) == ["1", "3"]


def test_an_agent_at_its_limit_waits_and_others_pass() -> None:
    scheduler = Scheduler({"gpu": 4}, Fifo())
    for name, agent in [("1", "a"), ("2", "a"), ("3", "a"), ("4", "b")]:
        scheduler.submit(job(name, agent, limit=1), 0.0)
    assert started(scheduler) == ["1", "4"]
    scheduler.release("1", 1.0)
    assert started(scheduler) == ["2"]


def test_jobs_held_back_by_a_limit_run_wherever_a_slot_is_free() -> None:
    scheduler = Scheduler({"gpu": 1, "cpu": 1}, Fifo())
    for name, agent, resource in [("1", "a", "cpu"), ("2", "b", "gpu"), ("3", "a", "gpu")]:
        scheduler.submit(job(name, agent, resource, limit=1), 0.0)
    scheduler.submit(job("4", "a", "cpu", limit=1), 0.0)
    assert started(scheduler) == ["1", "2"]
    scheduler.release("1", 1.0)
    assert started(scheduler) == ["4"]  # 3 came first, but its resource is busy


def test_a_job_held_back_by_a_limit_is_not_overtaken_by_a_later_one() -> None:
    scheduler = Scheduler({"gpu": 2}, Fifo())
    for name in "12":
        scheduler.submit(job(name, limit=1), 0.0)
    assert started(scheduler) == ["1"]
    scheduler.submit(job("3", limit=1), 0.0)
    scheduler.release("1", 1.0)
    assert started(scheduler) == ["2"]
    scheduler.release("3", 1.0)
    assert scheduler.waiting == 0


def test_a_full_line_refuses_at_once_and_says_when_to_come_back() -> None:
    scheduler = Scheduler({"gpu": 1}, Fifo(), max_waiting=2, max_waiting_per_agent=1)
    scheduler.submit(job("1"), 0.0)
    with pytest.raises(QueueFullError, match="agent 'a' has 1 calls waiting") as mine:
        scheduler.submit(job("2"), 0.0)
    scheduler.submit(job("3", "b"), 0.0)
    with pytest.raises(QueueFullError, match="the kernel has 2 calls waiting") as all_of_them:
        scheduler.submit(job("4", "c"), 0.0)
    assert mine.value.retry_after_seconds > 0
    assert all_of_them.value.retry_after_seconds > 0


def test_the_hint_when_to_come_back_follows_the_measured_run_time() -> None:
    def hint(run_seconds: float) -> float:
        scheduler = Scheduler({"gpu": 1}, Fifo(), max_waiting_per_agent=1)
        for round_ in range(20):
            scheduler.submit(job(str(round_)), 0.0)
            scheduler.schedule(0.0)
            scheduler.release(str(round_), run_seconds)
        scheduler.submit(job("waits"), 0.0)
        with pytest.raises(QueueFullError) as refusal:
            scheduler.submit(job("refused"), 0.0)
        return refusal.value.retry_after_seconds

    assert hint(60.0) > 10 * hint(1.0)


def test_a_job_that_nothing_can_run_is_refused() -> None:
    with pytest.raises(NoResourceError):
        Scheduler({"gpu": 1}, Fifo()).submit(job("1", "a", "tpu"), 0.0)


def test_a_job_id_in_use_is_a_programming_error() -> None:
    scheduler = Scheduler({"gpu": 1}, Fifo())
    scheduler.submit(job("1"), 0.0)
    with pytest.raises(ValueError, match="duplicate job id '1'"):
        scheduler.submit(job("1"), 0.0)


def test_position_counts_the_jobs_in_front() -> None:
    scheduler = Scheduler({"gpu": 1}, Fifo())
    for name in "1234":
        scheduler.submit(job(name), 0.0)
    scheduler.schedule(0.0)
    scheduler.release("2", 0.0)
    assert [scheduler.position(name) for name in "1234"] == [None, None, 0, 1]


def test_a_line_forgets_cancelled_jobs() -> None:
    scheduler = Scheduler({"gpu": 1}, Fifo(), max_waiting=10_000, max_waiting_per_agent=10_000)
    for number in range(1000):
        scheduler.submit(job(str(number)), 0.0)
    for number in range(999):
        scheduler.release(str(number), 0.0)
    assert started(scheduler) == ["999"]

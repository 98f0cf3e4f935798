"""What a decision costs, and what the driver adds, in a process of its own.

It imports nothing but the scheduler, so that it runs on a compiled one as well.
"""

import json
import sys
import time
from statistics import fmean, median, quantiles
from typing import NamedTuple

import anyio

from scheduler import Job, Scheduler, SchedulerDriver
from scheduler.policies import Fair

AGENTS_PER_JOB = 10
ROUNDS = 3


class Decisions(NamedTuple):
    """CPU microseconds of a decision cycle, and of the driver.

    Attributes:
        mean: By jobs in line.
        p99: With 10,000 in line.
        driver: Of a syscall, cycle included.
    """

    mean: dict[str, float]
    p99: float
    driver: float


def measure(rounds: int) -> Decisions:
    """Take the best of a few runs: the machine is shared with others."""
    runs = {
        str(queued): min((_cycle_microseconds(queued, rounds) for _ in range(ROUNDS)), key=sum)
        for queued in (100, 10_000, 100_000)
    }
    return Decisions(
        mean={queued: fmean(each) for queued, each in runs.items()},
        p99=quantiles(runs["10000"], n=100)[98],
        driver=min(anyio.run(_driver_microseconds, rounds) for _ in range(ROUNDS)),
    )


def _job(number: int, agents: int) -> Job:
    return Job(id=str(number), agent=f"agent-{number % agents}", resources=("gpu",), cost=100)


def _cycle_microseconds(queued: int, rounds: int) -> list[float]:
    agents = max(1, queued // AGENTS_PER_JOB)
    scheduler = Scheduler({"gpu": 1}, Fair(), max_waiting=2 * queued, max_waiting_per_agent=queued)
    for number in range(queued):
        scheduler.submit(_job(number, agents), 0.0)
    [running] = scheduler.schedule(0.0)
    clock = _clock_microseconds()
    times: list[float] = []
    for number in range(queued, queued + rounds):
        job = _job(number, agents)
        start = time.thread_time_ns()
        scheduler.submit(job, 0.0)
        scheduler.progress(running.job.id, 50, 0.5)
        scheduler.release(running.job.id, 1.0, used=100)
        [running] = scheduler.schedule(1.0)
        times.append((time.thread_time_ns() - start) / 1000 - clock)
    return times


def _clock_microseconds() -> float:
    """Take what reading the clock takes, which is a system call and no part of the cycle."""
    empty: list[int] = []
    for _ in range(1000):
        start = time.thread_time_ns()
        empty.append(time.thread_time_ns() - start)
    return median(empty) / 1000


async def _driver_microseconds(rounds: int) -> float:
    driver = SchedulerDriver(Scheduler({"gpu": 1}, Fair()))
    start = time.thread_time_ns()
    for number in range(rounds):
        async with driver.lease(_job(number, 10)):
            pass
    return (time.thread_time_ns() - start) / 1000 / rounds


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))

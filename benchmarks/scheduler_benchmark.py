"""What a decision costs; what the policies give, simulated; and how exactly a budget is kept.

Decisions are measured in CPU time: they wait for nothing, and others may use the machine.
"""

import time
from statistics import quantiles

import anyio

from benchmarks.budget_storm import budget_figures
from benchmarks.figures import Figure
from benchmarks.simulator.figures import simulated_figures
from scheduler import Job, Scheduler, SchedulerDriver
from scheduler.policies import Fair

AGENTS_PER_JOB = 10
DRIVER_ROUNDS = 3


def run(*, quick: bool) -> list[Figure]:
    """Measure decision cycles at three queue lengths, the driver, the policies and the budget."""
    return [
        *_decision_figures(2_000 if quick else 20_000),
        *simulated_figures(quick=quick),
        *anyio.run(budget_figures),
    ]


def _decision_figures(rounds: int) -> list[Figure]:
    cycles = {queued: _cycle_microseconds(queued, rounds) for queued in (100, 10_000, 100_000)}
    sorting = _sorting_microseconds(10_000)
    mean = {queued: sum(each) / len(each) for queued, each in cycles.items()}
    p99 = quantiles(cycles[10_000], n=100)[98]
    driver = min(anyio.run(_driver_microseconds, rounds) for _ in range(DRIVER_ROUNDS))
    return [
        Figure(
            name="decision cycle, 10,000 queued over 1,000 agents, mean",
            value=mean[10_000],
            unit="us",
            bar=10.0,
        ),
        Figure(name="the same, p99", value=p99, unit="us", bar=20.0),
        Figure(
            name="cycle at 100,000 queued / at 100",
            value=mean[100_000] / mean[100],
            unit="x",
            bar=3.0,
        ),
        Figure(
            name="sorting the queue of 10,000 / a cycle",
            value=sorting / mean[10_000],
            unit="x",
            bar=100.0,
            better="higher",
            peer=f"one sort: {sorting:,.0f} us",
        ),
        Figure(name="async driver, per syscall", value=driver, unit="us", bar=30.0),
    ]


def _job(number: int, agents: int) -> Job:
    return Job(id=str(number), agent=f"agent-{number % agents}", resources=("gpu",), cost=100)


def _cycle_microseconds(queued: int, rounds: int) -> list[float]:
    agents = max(1, queued // AGENTS_PER_JOB)
    scheduler = Scheduler({"gpu": 1}, Fair(), max_waiting=2 * queued, max_waiting_per_agent=queued)
    for number in range(queued):
        scheduler.submit(_job(number, agents), 0.0)
    [running] = scheduler.schedule(0.0)
    times: list[float] = []
    for number in range(queued, queued + rounds):
        job = _job(number, agents)
        start = time.thread_time_ns()
        scheduler.submit(job, 0.0)
        scheduler.progress(running.job.id, 50, 0.5)
        scheduler.release(running.job.id, 1.0, used=100)
        [running] = scheduler.schedule(1.0)
        times.append((time.thread_time_ns() - start) / 1000)
    return times


def _sorting_microseconds(queued: int) -> float:
    jobs = [((number * 7919) % queued, number) for number in range(queued)]
    start = time.thread_time_ns()
    rounds = 20
    for _ in range(rounds):
        sorted(jobs, key=lambda job: (job[0], job[1]))
    return (time.thread_time_ns() - start) / 1000 / rounds


async def _driver_microseconds(rounds: int) -> float:
    driver = SchedulerDriver(Scheduler({"gpu": 1}, Fair()))
    start = time.thread_time_ns()
    for number in range(rounds):
        async with driver.lease(_job(number, 10)):
            pass
    return (time.thread_time_ns() - start) / 1000 / rounds

"""A seeded simulation: one agent with much work and nine with little share eight slots.

The scheduler and its policies are those of production; only the work is simulated: a job holds its
slot for as many milliseconds as it costs tokens, and cannot be interrupted.
"""

import heapq
import random
from dataclasses import dataclass
from statistics import quantiles

from scheduler import Job, Scheduler
from scheduler.policies import Policy

SLOTS = 8
OUTSTANDING = 64
HOG_TOKENS = (100, 700)
POLITE_AGENTS = 9
POLITE_TOKENS = (20, 100)
PAUSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How long polite jobs waited at the 99th percentile, and the work done per second."""

    polite_wait_seconds: float
    tokens_per_second: float


def share_slots(policy: Policy, *, seconds: float, seed: int = 1) -> Outcome:
    """Let the agents work for some simulated seconds."""
    rng = random.Random(seed)
    scheduler = Scheduler({"gpu": SLOTS}, policy, max_waiting=10_000, max_waiting_per_agent=10_000)
    # What happens next: a time, a number that breaks ties, whose, and the job that ends or None.
    events: list[tuple[float, int, str, Job | None]] = []
    submitted: dict[str, float] = {}
    waits: list[float] = []
    tokens = count = 0

    def happen(at: float, agent: str, job: Job | None) -> None:
        nonlocal count
        count += 1
        heapq.heappush(events, (at, count, agent, job))

    for _ in range(OUTSTANDING):
        happen(0.0, "hog", None)
    for number in range(POLITE_AGENTS):
        happen(rng.expovariate(1 / PAUSE_SECONDS), f"polite{number}", None)
    while events and events[0][0] < seconds:
        now, number, agent, ended = heapq.heappop(events)
        if ended is None:
            cost = rng.randint(*(HOG_TOKENS if agent == "hog" else POLITE_TOKENS))
            job = Job(id=str(number), agent=agent, resources=("gpu",), cost=cost)
            submitted[job.id] = now
            scheduler.submit(job, now)
        else:
            tokens += ended.cost
            scheduler.release(ended.id, now, used=ended.cost)
            pause = 0.0 if agent == "hog" else rng.expovariate(1 / PAUSE_SECONDS)
            happen(now + pause, agent, None)
        for grant in scheduler.schedule(now):
            waited = now - submitted.pop(grant.job.id)
            if grant.job.agent != "hog":
                waits.append(waited)
            happen(now + grant.job.cost / 1000, grant.job.agent, grant.job)
    return Outcome(quantiles(waits, n=100)[98], tokens / seconds)

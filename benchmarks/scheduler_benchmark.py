"""What a decision costs; what the policies give, simulated; and how exactly a budget is kept.

Decisions are measured in CPU time: they wait for nothing, and others may use the machine.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import anyio

from benchmarks.budget_storm import budget_figures
from benchmarks.decisions import Decisions
from benchmarks.figures import Figure
from benchmarks.simulator.figures import simulated_figures
from compile_scheduler import find_compiled

ROOT = Path(__file__).parent.parent
SECONDS = 120


def run(*, quick: bool) -> list[Figure]:
    """Measure decision cycles at three queue lengths, the driver, the policies and the budget."""
    return [
        *_decision_figures(2_000 if quick else 20_000),
        *simulated_figures(quick=quick),
        *anyio.run(budget_figures),
    ]


def _decision_figures(rounds: int) -> list[Figure]:
    compiled = find_compiled()
    plain = _decisions(rounds, ROOT)
    best = plain if compiled is None else _decisions(rounds, compiled)
    how = "not compiled; see compile_scheduler.py" if compiled is None else "compiled"
    sorting = _sorting_microseconds(10_000)
    return [
        Figure(
            name="decision cycle, 10,000 queued over 1,000 agents, mean",
            value=best.mean["10000"],
            unit="us",
            bar=10.0,
            peer=f"{how}; as it is: {plain.mean['10000']:.1f} us",
        ),
        Figure(
            name="the same, p99",
            value=best.p99,
            unit="us",
            bar=20.0,
            peer=f"as it is: {plain.p99:.1f} us",
        ),
        Figure(
            name="cycle at 100,000 queued / at 100",
            value=best.mean["100000"] / best.mean["100"],
            unit="x",
            bar=3.0,
        ),
        Figure(
            name="sorting the queue of 10,000 / a cycle",
            value=sorting / best.mean["10000"],
            unit="x",
            bar=100.0,
            better="higher",
            peer=f"one sort: {sorting:,.0f} us",
        ),
        Figure(
            name="async driver, per syscall",
            value=best.driver,
            unit="us",
            bar=30.0,
            peer=f"as it is: {plain.driver:.1f} us",
        ),
    ]


def _decisions(rounds: int, scheduler: Path) -> Decisions:
    """Measure the scheduler that lies in a folder."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "benchmarks.decisions", str(rounds)],
        env={**os.environ, "PYTHONPATH": f"{scheduler}{os.pathsep}{ROOT}"},
        stdout=subprocess.PIPE,
        timeout=SECONDS,
        check=True,
    )
    return Decisions(*json.loads(done.stdout))


def _sorting_microseconds(queued: int) -> float:
    jobs = [((number * 7919) % queued, number) for number in range(queued)]
    start = time.thread_time_ns()
    rounds = 20
    for _ in range(rounds):
        sorted(jobs, key=lambda job: (job[0], job[1]))
    return (time.thread_time_ns() - start) / 1000 / rounds

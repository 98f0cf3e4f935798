"""Runs loads on a simulated core, scheduled by the production scheduler."""

import heapq
import itertools
import random
from collections import defaultdict
from collections.abc import Sequence

from benchmarks.simulator.core import GPU, CostModel, Generation, SimulatedCore
from benchmarks.simulator.loads import Arrival, Ask, Load
from benchmarks.simulator.record import Life, Record, Served
from scheduler import Job, Lanes, Scheduler
from scheduler.policies import Policy

_CORE = "core"
_UNBOUNDED = 1_000_000


def simulate(
    policy: Policy | Lanes,
    loads: Sequence[Load],
    *,
    seconds: float,
    costs: CostModel = GPU,
    seed: int = 1,
) -> Record:
    """Let loads share a core for some simulated seconds."""
    simulation = _Simulation(policy, loads, seconds, costs, seed)
    simulation.run()
    return simulation.record


class _Simulation:
    def __init__(
        self,
        policy: Policy | Lanes,
        loads: Sequence[Load],
        seconds: float,
        costs: CostModel,
        seed: int,
    ) -> None:
        self._scheduler = Scheduler(
            {_CORE: costs.slots},
            policy,
            max_waiting=_UNBOUNDED,
            max_waiting_per_agent=_UNBOUNDED,
            pausable=(_CORE,),
        )
        self._core = SimulatedCore(costs)
        self._numbers = itertools.count()
        # Each load draws from its own source, so that one does not disturb the others.
        self._sources = [random.Random(f"{seed}/{number}") for number in range(len(loads))]
        self._coming: list[tuple[float, int, int, Ask]] = []
        self._lives: dict[str, tuple[int, Life]] = {}
        self._paused: dict[str, Generation] = {}
        self._loads = loads
        self.record = Record(seconds=seconds)
        for number, load in enumerate(loads):
            self._expect(number, load.begin(self._sources[number], seconds))

    def run(self) -> None:
        now, end = 0.0, self.record.seconds
        while now < end and (self._core.running or self._coming):
            if not self._core.running:
                now = max(now, self._coming[0][0])
            else:
                until = min(end, self._coming[0][0]) if self._coming else end
                now = self._step(now, until)
            while self._coming and self._coming[0][0] <= now:
                at, _, load, ask = heapq.heappop(self._coming)
                self._submit(load, ask, at)
            self._turn(now)
        self.record.computed_tokens = self._core.computed_tokens

    def _expect(self, load: int, arrivals: Sequence[Arrival]) -> None:
        for each in arrivals:
            heapq.heappush(self._coming, (each.at, next(self._numbers), load, each.ask))

    def _submit(self, load: int, ask: Ask, at: float) -> None:
        job_id = str(next(self._numbers))
        life = Life(ask=ask, asked=at)
        self.record.lives.append(life)
        self._lives[job_id] = (load, life)
        self._scheduler.submit(
            Job(
                id=job_id,
                agent=ask.agent,
                resources=(_CORE,),
                lane=ask.lane,
                cost=ask.prompt + ask.most,
                prompt=ask.prompt,
                group="llm",
                affinity=ask.program,
                program=ask.program,
            ),
            at,
        )

    def _step(self, now: float, until: float) -> float:
        step = self._core.step(until - now)
        now += step.seconds
        for each in step.first:
            self._lives[each.id][1].first = now
        served: dict[str, int] = defaultdict(int)
        for each in (*self._core.running.values(), *step.ended):
            served[each.agent] += each.count()
            if each.written:
                self._scheduler.progress(each.id, each.used, now)
        for agent, tokens in served.items():
            self.record.served.setdefault(agent, Served()).add(tokens, now)
        for each in step.ended:
            load, life = self._lives.pop(each.id)
            life.ended = now
            self._scheduler.release(each.id, now, used=each.used)
            self._expect(load, self._loads[load].after(life.ask, now, self._sources[load]))
        return now

    def _turn(self, now: float) -> None:
        """Let the scheduler take slots back and give them out."""
        for job_id in self._scheduler.pauses(now):
            generation = self._paused[job_id] = self._core.pause(job_id)
            self._lives[job_id][1].pauses += 1
            self._scheduler.pause(job_id, now, used=generation.used)
        for grant in self._scheduler.schedule(now):
            life = self._lives[grant.job.id][1]
            if life.granted is None:
                life.granted = now
            is_paused = grant.job.id in self._paused
            self._core.start(
                self._paused.pop(grant.job.id) if is_paused else _begun(grant.job, life.ask)
            )


def _begun(job: Job, ask: Ask) -> Generation:
    return Generation(
        id=job.id,
        prompt_tokens=ask.prompt,
        output_left=ask.output,
        agent=ask.agent,
        program=ask.program,
    )

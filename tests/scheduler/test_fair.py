"""Shares of work while it is being done: slots that run side by side, steps of a token each."""

from dataclasses import dataclass, field

import pytest

from scheduler import Job, Scheduler
from scheduler.policies import Fair


@dataclass
class Cores:
    """So many slots, in which each job does a token a step, its prompt before the first."""

    scheduler: Scheduler
    step: int = 0
    count: int = 0
    left: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    agents: dict[str, str] = field(default_factory=dict[str, str])
    done: dict[str, int] = field(default_factory=dict[str, int])
    work: dict[str, float] = field(default_factory=dict[str, float])

    def submit(self, agent: str, prompt: int, output: int) -> None:
        self.count += 1
        name = str(self.count)
        self.agents[name] = agent
        job = Job(id=name, agent=agent, resources=("gpu",), cost=prompt + output, prompt=prompt)
        self.left[name] = (prompt, output)
        self.scheduler.submit(job, self.step)

    def run(self, steps: int, *, sizes: dict[str, tuple[int, int]]) -> None:
        """Run; an agent whose job ends submits another at once."""
        running: set[str] = set()
        for _ in range(steps):
            self.step += 1
            running |= {grant.job.id for grant in self.scheduler.schedule(self.step)}
            for name in sorted(running):
                prompt, output = self.left[name]
                agent = self.agents[name]
                done = self.done[name] = self.done.get(name, 0) + 1
                self.work[agent] = self.work.get(agent, 0) + 2 + (prompt if done == 1 else 0)
                self.scheduler.progress(name, prompt + done, self.step)
                if done == output:
                    running.remove(name)
                    self.scheduler.release(name, self.step)
                    self.submit(agent, *sizes[agent])
            for name in self.scheduler.pauses(self.step):
                running.remove(name)
                self.scheduler.pause(name, self.step)
        for name in running:
            self.scheduler.release(name, self.step)


def cores(slots: int, weights: dict[str, float] | None = None, *, pausable: bool) -> Cores:
    policy = Fair(weights)
    held = ["gpu"] if pausable else []
    line = Scheduler(
        {"gpu": slots}, policy, max_waiting=10_000, max_waiting_per_agent=10_000, pausable=held
    )
    return Cores(line)


@pytest.mark.parametrize("pausable", [False, True])
@pytest.mark.parametrize("outstanding", [4, 12])
def test_a_newcomer_gets_as_much_as_the_incumbent_from_then_on(
    pausable: bool, outstanding: int
) -> None:
    # With 4 outstanding the incumbent's jobs all run when the newcomer arrives: none is in line.
    sizes = {"old": (20, 40), "new": (20, 40)}
    world = cores(4, pausable=pausable)
    for _ in range(outstanding):
        world.submit("old", *sizes["old"])
    world.run(2000, sizes=sizes)
    world.work.clear()
    for _ in range(12):
        world.submit("new", *sizes["new"])
    for _ in range(outstanding):
        world.submit("old", *sizes["old"])
    world.run(4000, sizes=sizes)
    assert 0.9 <= world.work["new"] / world.work["old"] <= 1.15


def test_always_busy_agents_of_unequal_size_get_equal_work() -> None:
    sizes = {f"a{n}": (50 * n, 10 * n) for n in range(1, 9)}
    world = cores(8, pausable=True)
    for agent, size in sizes.items():
        for _ in range(8):
            world.submit(agent, *size)
    world.run(10_000, sizes=sizes)
    shares = list(world.work.values())
    assert sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares)) >= 0.999
    assert min(shares) / max(shares) >= 0.97


def test_weights_are_honoured_while_many_run_side_by_side() -> None:
    sizes: dict[str, tuple[int, int]] = dict.fromkeys(("one", "two", "four"), (20, 30))
    world = cores(7, {"two": 2.0, "four": 4.0}, pausable=False)
    for agent in sizes:
        for _ in range(20):
            world.submit(agent, *sizes[agent])
    world.run(5000, sizes=sizes)
    assert world.work["two"] / world.work["one"] == pytest.approx(2, rel=0.03)
    assert world.work["four"] / world.work["one"] == pytest.approx(4, rel=0.03)


def test_a_prompt_may_weigh_less_than_what_is_generated() -> None:
    line = Scheduler({"gpu": 1}, Fair(prompt_weight=0.5, output_weight=3.0))
    used = {"reader": 100, "writer": 20}
    for agent, prompt in (("reader", 100), ("writer", 0)):
        job = Job(id=agent, agent=agent, resources=("gpu",), cost=used[agent], prompt=prompt)
        line.submit(job, 0.0)
        line.submit(Job(id=f"{agent}2", agent=agent, resources=("gpu",)), 0.0)
    for agent in used:
        assert [grant.job.id for grant in line.schedule(0.0)] == [agent]
        line.release(agent, 0.0, used=used[agent])
    # 100 tokens read cost 50, 20 written cost 60: the reader is next.
    assert [grant.job.id for grant in line.schedule(0.0)] == ["reader2"]


def test_of_an_agent_s_programs_the_one_that_has_had_least_goes_first() -> None:
    line = Scheduler({"gpu": 1}, Fair(ageing_tokens=10.0))

    def submit(name: str, program: str, now: float) -> None:
        line.submit(Job(id=name, agent="a", resources=("gpu",), program=program), now)

    submit("long1", "long", 0.0)
    line.schedule(0.0)
    line.release("long1", 1.0, used=200)
    submit("holder", "", 1.0)
    line.schedule(1.0)
    submit("long2", "long", 1.0)
    submit("short1", "short", 2.0)
    submit("late", "short", 60.0)  # 400 units of work had cost it 40 s, which have passed
    line.release("holder", 60.0)
    order: list[str] = []
    for _ in range(3):
        [grant] = line.schedule(60.0)
        order.append(grant.job.id)
        line.release(grant.job.id, 60.0)
    assert order == ["short1", "long2", "late"]


@pytest.mark.parametrize("progress", [0, 3])
def test_agents_that_come_and_go_are_forgotten(progress: int) -> None:
    line = Scheduler({"gpu": 2}, Fair())
    line.submit(Job(id="stays", agent="stays", resources=("gpu",)), 0.0)
    line.schedule(0.0)
    line.progress("stays", 1, 0.0)
    for number in range(5000):
        name = f"x{number}"
        line.submit(Job(id=name, agent=name, resources=("gpu",), cost=5), 0.0)
        line.schedule(0.0)
        line.progress("stays", 1 + progress * number, 0.0)
        line.release(name, 0.0, used=0)
    assert line.remembered < 500


def test_an_agent_that_is_ahead_is_not_forgotten_while_it_idles() -> None:
    line = Scheduler({"gpu": 1, "cpu": 1}, Fair())
    for name, resource in (("stays", "cpu"), ("hog", "gpu")):
        line.submit(Job(id=name, agent=name, resources=(resource,)), 0.0)
    line.schedule(0.0)
    line.release("hog", 0.0, used=1000)
    for number in range(300):
        name = f"x{number}"
        line.submit(Job(id=name, agent=name, resources=("gpu",)), 0.0)
        line.schedule(0.0)
        line.release(name, 0.0, used=1)
    line.submit(Job(id="hog2", agent="hog", resources=("gpu",)), 0.0)
    line.submit(Job(id="new", agent="new", resources=("gpu",)), 0.0)
    assert [grant.job.id for grant in line.schedule(0.0)] == ["new"]


def test_work_that_was_reported_is_not_unsaid_by_a_lower_report() -> None:
    line = Scheduler({"gpu": 2}, Fair())
    for name in ("a", "b", "a2", "b2"):
        line.submit(Job(id=name, agent=name[0], resources=("gpu",)), 0.0)
    line.schedule(0.0)
    for name, used in (("a", 50), ("a", 10), ("b", 30)):
        line.progress(name, used, 0.0)
    line.release("a", 0.0)
    assert [grant.job.id for grant in line.schedule(0.0)] == ["b2"]


def test_a_newcomer_is_lifted_no_further_than_to_work_that_was_taken_back() -> None:
    line = Scheduler({"gpu": 2}, Fair())

    def submit(name: str, prompt: int = 0) -> None:
        line.submit(Job(id=name, agent=name[0], resources=("gpu",), prompt=prompt), 0.0)

    submit("a", prompt=60)
    submit("b", prompt=100)
    line.schedule(0.0)
    submit("b2")
    submit("b3")
    submit("x")  # has the counters compared: 60 and 100
    line.release("x", 0.0)
    line.release("b", 0.0, used=0)  # its prompt was not worked on after all
    submit("c")
    assert [grant.job.id for grant in line.schedule(0.0)] == ["b2"]
    line.release("b2", 0.0, used=20)
    assert [grant.job.id for grant in line.schedule(0.0)] == ["c"]

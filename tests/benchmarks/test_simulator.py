"""The simulator: what it measures is what happened, and the same seed gives the same run."""

import random
from dataclasses import replace

import pytest

from benchmarks.simulator import GPU, simulate, workloads
from benchmarks.simulator.comparison import POLICIES, WORKLOADS, compare, table
from benchmarks.simulator.core import Generation, SimulatedCore
from benchmarks.simulator.loads import Ask, Closed, Load, Open, Programs
from benchmarks.simulator.record import Served, jain
from scheduler.policies import Fair, Fifo

SMALL = replace(GPU, slots=2, step_tokens=100, kept_tokens=1000)


def generation(name: str, prompt: int, output: int, program: str = "") -> Generation:
    return Generation(id=name, prompt_tokens=prompt, output_left=output, program=program)


def run(core: SimulatedCore) -> list[str]:
    """Step until nothing is left; gives the ids in order of their end."""
    ended: list[str] = []
    while core.running:
        ended += [each.id for each in core.step(1000.0).ended]
    return ended


def test_a_prompt_is_filled_in_chunks_before_the_first_token() -> None:
    core = SimulatedCore(SMALL)
    core.start(generation("a", 250, 3))
    steps = [core.step(1000.0) for _ in range(4)]
    assert [bool(step.first) for step in steps] == [False, False, False, True]
    assert run(core) == ["a"]
    assert core.computed_tokens == 253


def test_the_shorter_prompt_is_filled_first() -> None:
    core = SimulatedCore(SMALL)
    core.start(generation("long", 500, 1))
    core.start(generation("short", 50, 1))
    assert run(core) == ["short", "long"]


def test_a_paused_generation_goes_on_where_it_was() -> None:
    core = SimulatedCore(SMALL)
    core.start(generation("a", 100, 10))
    core.step(1000.0)
    core.step(1000.0)
    core.start(core.pause("a"))
    assert run(core) == ["a"]
    assert core.computed_tokens == 110 + 1  # the last token's state is computed again


def test_what_lost_its_state_computes_it_again() -> None:
    core = SimulatedCore(SMALL)
    core.start(generation("a", 600, 10))
    for _ in range(7):
        core.step(1000.0)
    paused = core.pause("a")
    core.start(generation("b", 900, 1))
    run(core)
    before = core.computed_tokens
    core.start(paused)
    run(core)
    assert core.computed_tokens - before == 610


def test_the_next_turn_of_a_program_computes_only_what_is_new() -> None:
    core = SimulatedCore(SMALL)
    core.start(generation("a", 300, 20, "loop"))
    run(core)
    before = core.computed_tokens
    core.start(generation("b", 400, 5, "loop"))
    run(core)
    assert core.computed_tokens - before == 80 + 5


@pytest.mark.parametrize("policy", POLICIES)
def test_every_call_of_a_light_load_ends_with_all_its_tokens(policy: str) -> None:
    load = Open(agent="ada", per_second=1.0, prompt=(50, 100), output=(5, 20), most=64)
    rng = random.Random("1/0")
    asked = load.begin(rng, 30.0)
    record = simulate(POLICIES[policy](), [load], seconds=60.0)
    calls = [each.ask for each in record.lives if each.asked < 30.0]
    assert all(each.ended is not None for each in record.lives if each.asked < 50.0)
    assert calls[: len(asked)] == [each.ask for each in asked][: len(calls)]
    tokens = sum(each.ask.prompt + 2 * each.ask.output for each in record.lives if each.ended)
    assert record.served["ada"].between(0.0, 60.0) >= tokens


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_same_seed_gives_the_same_run(name: str) -> None:
    runs = [
        simulate(Fair(), WORKLOADS[name].loads(), seconds=20.0, seed=seed) for seed in (3, 3, 4)
    ]
    times = [[(each.asked, each.granted, each.ended) for each in run.lives] for run in runs]
    assert times[0] == times[1]
    assert times[0] != times[2]


def test_one_load_does_not_disturb_the_randomness_of_another() -> None:
    chat = Open(agent="chat", per_second=1.0, prompt=(50, 100), output=(5, 20), most=64)
    hog = Closed(agent="hog", outstanding=8, prompt=(500, 600), output=(50, 60), most=64)
    loads: list[list[Load]] = [[chat], [chat, hog]]
    asked = [
        [
            each.ask
            for each in simulate(Fifo(), each, seconds=20.0).lives
            if each.ask.agent == "chat"
        ]
        for each in loads
    ]
    assert asked[0] == asked[1]


def test_a_loop_asks_for_its_next_turn_after_its_tool() -> None:
    load = Programs(per_second=1.0, short=(3, 3), long=(3, 3))
    rng = random.Random(1)
    ask = load.begin(rng, 10.0)[0].ask
    [second] = load.after(ask, 5.0, rng)
    assert second.at > 5.0
    assert second.ask.prompt > ask.prompt + ask.output
    [third] = load.after(second.ask, 9.0, rng)
    assert load.after(third.ask, 12.0, rng) == []


def test_a_closed_load_keeps_its_calls_outstanding() -> None:
    load = Closed(agent="hog", outstanding=5, prompt=(50, 100), output=(5, 20), most=64)
    record = simulate(Fifo(), [load], seconds=20.0)
    assert sum(each.ended is None for each in record.lives) == 5
    assert len(record.lives) > 20


def test_shares_and_gaps_are_those_of_the_curves() -> None:
    record = simulate(Fifo(), workloads.alike(2), seconds=1.0)
    record.seconds = 10.0
    even, bursty = Served(), Served()
    for second in range(1, 11):
        even.add(10, float(second))
    bursty.add(100, 5.0)
    record.served = {"even": even, "bursty": bursty}
    assert record.shares(0.0) == {"even": 100.0, "bursty": 100.0}
    assert record.shares(5.0, {"even": 2.0}) == {"even": 25.0, "bursty": 0.0}
    assert record.widest_gap(0.0) == 90.0
    assert jain([1.0, 1.0]) == 1.0
    assert jain([1.0, 0.0]) == 0.5


def test_the_comparison_has_a_row_for_each_policy() -> None:
    results = compare(WORKLOADS["programs"], seconds=30.0, seed=1)
    lines = table(results).splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(POLICIES)
    assert all(isinstance(each.record.lives[0].ask, Ask) for each in results)

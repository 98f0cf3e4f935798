"""From `[scheduler]` of the file to the order in which calls run."""

from typing import Any

from aios_mcp.config import Config
from aios_mcp.scheduling import build_scheduler
from scheduler import Job, Lane

CORE = {"x": {"backend": "llama_cpp", "slots": 1}}


def order(scheduler: dict[str, Any], jobs: list[tuple[Lane, str]]) -> list[str]:
    """Have one-slot work wait behind a first job; give the order in which it runs."""
    line = build_scheduler(Config.model_validate({"cores": CORE, "scheduler": scheduler}))
    for number, (lane, agent) in enumerate(jobs):
        job = Job(id=f"{lane.name[0]}{number}", agent=agent, resources=("x",), lane=lane, cost=10)
        line.submit(job, float(number))
    done: list[str] = []
    while grants := line.schedule(100.0):
        done += [grant.job.id for grant in grants]
        line.release(done[-1], 100.0, used=10)
    return done


def test_without_lanes_one_policy_orders_all() -> None:
    jobs = [(Lane.BATCH, "a"), (Lane.NORMAL, "a"), (Lane.URGENT, "a")]
    assert order({"policy": "fifo"}, jobs) == ["B0", "N1", "U2"]


def test_a_lane_that_is_named_sets_all_apart_by_their_usual_weights() -> None:
    jobs = [(lane, "a") for lane in (Lane.BATCH, Lane.NORMAL, Lane.URGENT) for _ in range(5)]
    scheduler: dict[str, Any] = {"policy": "fifo", "lanes": {"batch": {}}}
    assert "".join(name[0] for name in order(scheduler, jobs)) == "UNBUUUUNNNNBBBB"


def test_each_lane_has_its_own_policy() -> None:
    jobs = [(lane, agent) for lane in (Lane.BATCH, Lane.URGENT) for agent in "aab"]
    scheduler = {"policy": "fifo", "lanes": {"batch": {"policy": "round_robin"}}}
    assert order(scheduler, jobs) == ["U3", "B0", "U4", "U5", "B2", "B1"]


def test_a_lane_gets_what_its_weight_says() -> None:
    jobs = [(lane, "a") for lane in (Lane.BATCH, Lane.URGENT) for _ in range(4)]
    weights = {"urgent": {"weight": 1}, "batch": {"weight": 3}}
    scheduler = {"policy": "fifo", "lanes": weights}
    assert "".join(name[0] for name in order(scheduler, jobs)) == "UBBBUBUU"

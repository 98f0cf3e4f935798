"""Jobs on behalf of jobs: urgency, slots and shares go down to them."""

import pytest

from scheduler import Job, Lane, NestingTooDeepError, QueueFullError, Scheduler
from scheduler.policies import Fair, Fifo, Priority


def started(line: Scheduler) -> list[str]:
    return [grant.job.id for grant in line.schedule(0.0)]


def nested(name: str, parent: str, resource: str = "tools", **more: object) -> Job:
    known = {"agent": "a", **more}
    return Job(id=name, parent=parent, resources=(resource,), **known)  # type: ignore[arg-type]


def test_a_job_that_holds_a_slot_while_it_waits_for_another_of_them_does_not_wait_for_ever() -> (
    None
):
    line = Scheduler({"tools": 1}, Fifo())
    line.submit(Job(id="outer", agent="a", resources=("tools",)), 0.0)
    assert started(line) == ["outer"]
    line.submit(Job(id="other", agent="b", resources=("tools",)), 0.0)
    line.submit(nested("inner", "outer"), 0.0)
    assert started(line) == ["inner"]
    assert line.counts()["tools"].busy == 1
    line.release("inner", 1.0)
    assert started(line) == []  # the slot is the outer one's still
    line.release("outer", 2.0)
    assert started(line) == ["other"]


def test_a_job_that_another_waits_for_is_not_refused_for_its_own_agents_line() -> None:
    line = Scheduler({"tools": 1, "llm": 1}, Priority(30.0), max_waiting_per_agent=1)
    line.submit(Job(id="outer", agent="a", resources=("tools",), lane=Lane.URGENT), 0.0)
    line.submit(Job(id="running", agent="b", resources=("llm",), lane=Lane.BATCH), 0.0)
    assert started(line) == ["outer", "running"]
    line.submit(Job(id="batch", agent="b", resources=("llm",), lane=Lane.BATCH), 0.0)
    with pytest.raises(QueueFullError, match="'b' has 1 calls waiting"):
        line.submit(Job(id="more", agent="b", resources=("llm",)), 0.0)
    line.submit(nested("inner", "outer", "llm", agent="b"), 0.0)
    line.release("running", 1.0)
    assert started(line) == ["inner"]


def test_one_nested_job_at_a_time_runs_in_the_slot() -> None:
    line = Scheduler({"tools": 1}, Fifo())
    line.submit(Job(id="outer", agent="a", resources=("tools",)), 0.0)
    started(line)
    line.submit(nested("1", "outer"), 0.0)
    line.submit(nested("2", "outer"), 0.0)
    assert started(line) == ["1"]
    line.release("1", 1.0)
    assert started(line) == ["2"]


def test_a_slot_goes_to_the_nested_job_when_the_outer_one_ends_first() -> None:
    line = Scheduler({"tools": 1}, Fifo())
    line.submit(Job(id="outer", agent="a", resources=("tools",)), 0.0)
    started(line)
    line.submit(nested("inner", "outer"), 0.0)
    started(line)
    line.release("outer", 1.0)
    line.submit(Job(id="other", agent="b", resources=("tools",)), 1.0)
    assert started(line) == []
    assert line.counts()["tools"].busy == 1
    line.release("inner", 2.0)
    assert started(line) == ["other"]


def test_a_chain_of_nested_jobs_shares_one_slot_whoever_ends_first() -> None:
    line = Scheduler({"tools": 1}, Fifo())
    line.submit(Job(id="1", agent="a", resources=("tools",)), 0.0)
    started(line)
    for name, parent in (("2", "1"), ("3", "2")):
        line.submit(nested(name, parent), 0.0)
        assert started(line) == [name]
    line.release("2", 1.0)
    line.release("1", 1.0)
    assert line.counts()["tools"].busy == 1
    line.release("3", 1.0)
    assert line.counts()["tools"].busy == 0


def test_a_nested_job_that_was_not_started_yet_stands_in_line_when_its_parent_leaves() -> None:
    line = Scheduler({"tools": 1}, Fifo())
    line.submit(Job(id="outer", agent="a", resources=("tools",)), 0.0)
    started(line)
    line.submit(nested("inner", "outer"), 0.0)
    line.release("outer", 1.0)
    assert (line.waiting, line.running) == (1, 0)
    assert started(line) == ["inner"]
    assert line.counts()["tools"].busy == 1
    line.release("inner", 1.0)
    assert line.counts()["tools"].busy == 0


def test_an_agent_s_limit_does_not_stop_what_its_own_job_waits_for() -> None:
    line = Scheduler({"tools": 1, "gpu": 1}, Fifo())
    line.submit(Job(id="outer", agent="a", resources=("tools",), agent_limit=1), 0.0)
    started(line)
    line.submit(Job(id="second", agent="a", resources=("gpu",), agent_limit=1), 0.0)
    line.submit(nested("inner", "outer", "gpu", agent_limit=1), 0.0)
    assert started(line) == ["inner"]
    line.release("inner", 1.0)
    assert started(line) == []  # the limit holds for others
    line.release("outer", 2.0)
    assert started(line) == ["second"]


def test_a_job_in_a_lent_slot_leaves_its_agent_s_limit_as_it_was() -> None:
    line = Scheduler({"tools": 3}, Fifo())
    line.submit(Job(id="outer", agent="a", resources=("tools",)), 0.0)
    started(line)
    line.submit(nested("inner", "outer", agent="b", agent_limit=1), 0.0)
    assert started(line) == ["inner"]
    line.release("inner", 1.0)
    for name in "12":
        line.submit(Job(id=name, agent="b", resources=("tools",), agent_limit=1), 1.0)
    assert started(line) == ["1"]


def test_a_nested_job_that_gets_a_slot_on_loan_while_it_stands_in_line_stands_there_no_more() -> (
    None
):
    line = Scheduler({"tools": 1}, Fifo())
    line.submit(Job(id="outer", agent="a", resources=("tools",)), 0.0)
    started(line)
    for name in "123":
        line.submit(nested(name, "outer"), 0.0)
    assert started(line) == ["1"]
    line.release("1", 1.0)  # its slot goes to 2, which has not started when the outer one ends
    line.release("outer", 1.0)
    assert (line.waiting, line.running) == (2, 0)
    assert started(line) == ["2"]
    line.release("2", 2.0)
    assert started(line) == ["3"]
    line.release("3", 2.0)
    assert line.counts()["tools"].busy == 0


def test_a_nested_job_is_as_urgent_as_the_one_that_waits_for_it() -> None:
    line = Scheduler({"tools": 1, "gpu": 1}, Priority(1000.0))
    line.submit(Job(id="outer", agent="a", resources=("tools",), lane=Lane.URGENT), 0.0)
    line.submit(Job(id="holds", agent="b", resources=("gpu",)), 0.0)
    started(line)
    line.submit(Job(id="first", agent="b", resources=("gpu",)), 0.0)
    line.submit(nested("inner", "outer", "gpu", agent="c", lane=Lane.BATCH), 0.0)
    line.release("holds", 1.0)
    assert started(line) == ["inner"]


def test_nesting_is_bounded() -> None:
    line = Scheduler({"tools": 9}, Fifo())
    line.submit(Job(id="0", agent="a", resources=("tools",)), 0.0)
    for depth in range(1, 4):
        started(line)
        line.submit(nested(str(depth), str(depth - 1)), 0.0)
    with pytest.raises(NestingTooDeepError, match="more than 4 deep"):
        line.submit(nested("4", "3"), 0.0)


def test_a_job_whose_slot_is_shared_cannot_stand_still() -> None:
    line = Scheduler({"tools": 1}, Fifo(), pausable=["tools"])
    line.submit(Job(id="outer", agent="a", resources=("tools",)), 0.0)
    started(line)
    line.submit(nested("inner", "outer"), 0.0)
    started(line)
    for name in ("outer", "inner"):
        with pytest.raises(ValueError, match="shares its slot"):
            line.pause(name, 0.0)


def test_a_slot_with_a_nested_job_in_it_is_not_asked_back() -> None:
    line = Scheduler({"tools": 1}, Priority(30.0), pausable=["tools"])
    line.submit(Job(id="outer", agent="a", resources=("tools",), lane=Lane.BATCH), 0.0)
    started(line)
    line.submit(nested("inner", "outer", lane=Lane.BATCH), 0.0)
    started(line)
    line.submit(Job(id="urgent", agent="b", resources=("tools",), lane=Lane.URGENT), 0.0)
    assert line.pauses(0.0) == []
    line.release("inner", 1.0)
    assert line.pauses(1.0) == ["outer"]


def test_sub_agents_have_one_share_with_their_superior_and_turns_among_themselves() -> None:
    line = Scheduler({"gpu": 1}, Fair(), max_waiting=900, max_waiting_per_agent=900)
    for number in range(100):
        for agent, superior in (("p", ""), ("p/1", "p"), ("p/2", "p"), ("q", "")):
            name = f"{agent}-{number}"
            job = Job(id=name, agent=agent, superior=superior, resources=("gpu",), cost=5)
            line.submit(job, 0.0)
    served: list[str] = []
    for _ in range(120):
        [grant] = line.schedule(0.0)
        served.append(grant.job.agent)
        line.release(grant.job.id, 0.0, used=5)
    counts = {agent: served.count(agent) for agent in ("p", "p/1", "p/2", "q")}
    assert counts == {"p": 20, "p/1": 20, "p/2": 20, "q": 60}


def test_sub_agents_wait_at_the_cost_of_their_superior() -> None:
    line = Scheduler({"gpu": 1}, Fair(), max_waiting_per_agent=2)
    for agent in ("p/1", "p/2"):
        line.submit(Job(id=agent, agent=agent, superior="p", resources=("gpu",)), 0.0)
    with pytest.raises(Exception, match="agent 'p' has 2 calls waiting"):
        line.submit(Job(id="3", agent="p/3", superior="p", resources=("gpu",)), 0.0)


def test_a_slot_is_lent_to_a_nested_job_once_though_two_come_back() -> None:
    line = Scheduler({"tools": 1, "gpu": 1}, Fifo())
    line.submit(Job(id="outer", agent="a", resources=("tools",)), 0.0)
    line.submit(nested("middle", "outer", "gpu"), 0.0)
    assert started(line) == ["outer", "middle"]
    line.submit(nested("on tools", "outer"), 0.0)
    line.submit(nested("on gpu", "middle", "gpu"), 0.0)
    assert started(line) == ["on tools", "on gpu"]
    line.submit(Job(id="inner", agent="a", resources=("tools", "gpu"), parent="middle"), 0.0)
    line.release("on gpu", 1.0)
    line.release("on tools", 1.0)
    assert started(line) == ["inner"]

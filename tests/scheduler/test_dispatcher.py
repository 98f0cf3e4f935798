"""Where jobs run: by handicap, predicted wait and affinity; and who is let in."""

import pytest

from scheduler import DeadlineMissedError, DeadlineUnreachableError, Job, QueueFullError, Scheduler
from scheduler.policies import Fair, Fifo


def job(name: str, agent: str = "a", *, cost: int = 10, deadline: float | None = None) -> Job:
    return Job(
        id=name,
        agent=agent,
        resources=("local", "cloud"),
        handicaps=(0.0, 5.0),
        cost=cost,
        deadline=deadline,
    )


def where(line: Scheduler, now: float) -> list[tuple[str, str]]:
    return [(grant.job.id, grant.resource) for grant in line.schedule(now)]


def busy_local(line: Scheduler, *, run_seconds: float | None = None) -> float:
    """Occupy the one local slot; first measure jobs of cost 10, if told how long they take."""
    now = 0.0
    for number in range(10 if run_seconds is not None else 0):
        line.submit(Job(id=f"m{number}", agent="m", resources=("local",), cost=10), now)
        line.schedule(now)
        now += run_seconds or 0.0
        line.release(f"m{number}", now, used=10)
    line.submit(Job(id="busy", agent="m", resources=("local",), cost=10), now)
    line.schedule(now)
    return now


def test_a_handicapped_resource_is_taken_when_the_job_has_waited_that_long() -> None:
    line = Scheduler({"local": 1, "cloud": 4}, Fifo())
    busy_local(line)
    line.submit(job("1"), 10.0)
    assert where(line, 10.0) == []
    assert line.next_timer() == ("1", 15.0)
    assert where(line, 14.9) == []
    assert where(line, 15.0) == [("1", "cloud")]
    assert line.next_timer() is None


def test_a_line_that_is_predicted_to_last_longer_spills_at_once() -> None:
    line = Scheduler({"local": 1, "cloud": 4}, Fifo())
    now = busy_local(line, run_seconds=2.0)
    for name in "123":
        line.submit(job(name), now)
    # Three jobs at 2 s each is more than 5 s: one goes, and two are left, which is less.
    assert where(line, now) == [("1", "cloud")]


def test_a_slot_that_is_preferred_is_taken_when_it_is_free() -> None:
    line = Scheduler({"local": 1, "cloud": 4}, Fifo())
    line.submit(job("1"), 0.0)
    assert where(line, 0.0) == [("1", "local")]


def test_jobs_with_other_preferences_are_not_held_up_by_one_that_waits() -> None:
    line = Scheduler({"local": 1, "cloud": 1}, Fifo())
    busy_local(line)
    line.submit(job("patient"), 0.0)
    line.submit(Job(id="cloudy", agent="b", resources=("cloud",)), 0.0)
    assert where(line, 0.0) == [("cloudy", "cloud")]


def test_jobs_of_a_kind_go_where_the_last_one_went_if_a_slot_is_free_there() -> None:
    line = Scheduler({"one": 2, "two": 1}, Fifo())

    def warm(name: str, key: str) -> Job:
        return Job(id=name, agent="a", resources=("one", "two"), affinity=key)

    line.submit(Job(id="filler", agent="a", resources=("one",)), 0.0)
    line.submit(Job(id="filler2", agent="a", resources=("one",)), 0.0)
    line.submit(warm("1", "k"), 0.0)
    assert where(line, 0.0)[-1] == ("1", "two")
    line.release("filler", 1.0)
    line.release("1", 1.0)
    line.submit(warm("2", "k"), 1.0)
    line.submit(warm("3", "other"), 1.0)
    assert where(line, 1.0) == [("2", "two"), ("3", "one")]
    line.release("3", 2.0)
    line.submit(warm("4", "k"), 2.0)
    assert where(line, 2.0) == [("4", "one")]  # nobody waits for a warm resource


def test_a_deadline_that_cannot_be_met_is_refused_at_once_and_only_when_that_is_known() -> None:
    def fill(line: Scheduler, now: float) -> None:
        for number in range(10):
            line.submit(Job(id=f"w{number}", agent="m", resources=("local",), cost=10), now)

    late = Job(id="late", agent="b", resources=("local",), cost=10, deadline=23.0)
    unmeasured = Scheduler({"local": 1}, Fifo())
    fill(unmeasured, busy_local(unmeasured))
    unmeasured.submit(late, 0.0)
    measured = Scheduler({"local": 1}, Fifo())
    now = busy_local(measured, run_seconds=2.0)
    fill(measured, now)
    with pytest.raises(DeadlineUnreachableError, match="at the speed of late") as refusal:
        measured.submit(late, now)
    assert refusal.value.retry_after_seconds == 17.0
    fair = Scheduler({"local": 1}, Fair())
    now = busy_local(fair, run_seconds=2.0)
    fill(fair, now)
    fair.submit(late, now)  # under fair shares it need not wait for them


def test_under_fair_shares_a_job_waits_at_least_for_its_agent_s_own_in_turn_with_others() -> None:
    line = Scheduler({"local": 1}, Fair(), max_waiting_per_agent=50)
    now = busy_local(line, run_seconds=2.0)
    for number in range(20):
        line.submit(Job(id=f"h{number}", agent="hog", resources=("local",), cost=10), now)
    line.submit(Job(id="mine", agent="b", resources=("local",), cost=10), now)

    def submit(name: str, seconds: float) -> None:
        due = now + seconds
        line.submit(Job(id=name, agent="b", resources=("local",), cost=10, deadline=due), now)

    submit("in time", 3.0)  # behind one of each agent, at 2 s
    with pytest.raises(DeadlineUnreachableError):
        submit("late", 3.0)  # behind two of each: 8 s, and even half of it is too much


def test_the_expected_wait_counts_turns_rather_than_jobs() -> None:
    line = Scheduler({"local": 1}, Fair(), max_waiting_per_agent=50)
    line.submit(Job(id="busy", agent="b", resources=("local",)), 0.0)
    line.schedule(0.0)
    for number in range(10):
        line.submit(Job(id=f"h{number}", agent="hog", resources=("local",)), 0.0)
    line.submit(Job(id="mine", agent="light", resources=("local",)), 0.0)
    assert line.position("mine") == 1


def test_a_deadline_that_has_passed_is_refused() -> None:
    with pytest.raises(DeadlineMissedError):
        Scheduler({"local": 1}, Fifo()).submit(job("late", deadline=1.0), 2.0)


def test_when_all_places_are_taken_the_heaviest_agent_makes_room_for_a_lighter_one() -> None:
    line = Scheduler({"local": 1, "cloud": 0}, Fair(), max_waiting=4)
    busy_local(line)
    for name in ("h1", "h2", "h3"):
        line.submit(job(name, "hog"), 0.0)
    line.submit(job("l1", "light"), 0.0)
    loser = line.submit(job("n1", "new"), 0.0)
    assert loser is not None
    assert loser.job_id == "h3"
    assert isinstance(loser.error, QueueFullError)
    assert line.waiting == 4
    with pytest.raises(QueueFullError):  # equals make no room for one another
        line.submit(job("l2", "light"), 0.0)


def test_a_paused_job_is_never_made_to_leave() -> None:
    line = Scheduler({"local": 1}, Fair(), max_waiting=1, pausable=["local"])
    line.submit(Job(id="old", agent="hog", resources=("local",)), 0.0)
    line.schedule(0.0)
    line.pause("old", 1.0)
    line.submit(Job(id="1", agent="hog", resources=("local",)), 1.0)
    with pytest.raises(QueueFullError):
        line.submit(Job(id="2", agent="new", resources=("local",)), 1.0)
    assert line.position("old") == 0


def test_the_hint_when_to_come_back_is_when_a_place_is_free() -> None:
    line = Scheduler({"local": 2}, Fifo(), max_waiting=3, max_waiting_per_agent=3)
    now = busy_local(line, run_seconds=4.0)
    line.submit(Job(id="other", agent="m", resources=("local",), cost=10), now)
    line.schedule(now)
    for name in "123":
        line.submit(Job(id=name, agent=name, resources=("local",), cost=10), now)
    with pytest.raises(QueueFullError) as refusal:
        line.submit(Job(id="4", agent="z", resources=("local",), cost=10), now)
    assert refusal.value.retry_after_seconds == 2.0  # two slots, 4 s a job


def test_the_expected_wait_is_told_once_the_speed_is_known() -> None:
    line = Scheduler({"local": 1}, Fifo())
    line.submit(Job(id="x", agent="a", resources=("local",), cost=10), 0.0)
    assert line.expected_wait("x", 0.0) is None
    line.release("x", 0.0)
    now = busy_local(line, run_seconds=2.0)
    for name in "12":
        line.submit(Job(id=name, agent="a", resources=("local",), cost=10), now)
    assert line.expected_wait("2", now) == pytest.approx(4.0)

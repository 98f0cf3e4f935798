"""The circuit breaker: its phases, and its invariants under any order of events."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from backends.openai_compatible.breaker import Breaker, Ticket


def admitted(breaker: Breaker, now: float) -> Ticket:
    ticket = breaker.admit(now)
    assert ticket is not None
    return ticket


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker(max_failures=3, first_seconds=1.0, longest_seconds=10.0)
    for _ in range(3):
        breaker.fail(admitted(breaker, now), now)
    return breaker


def test_it_opens_at_the_last_of_several_failures_in_a_row() -> None:
    breaker = Breaker(max_failures=3)
    for _ in range(2):
        breaker.fail(admitted(breaker, 0.0), 0.0)
    breaker.fail(admitted(breaker, 0.0), 0.0)
    assert not breaker.is_closed
    assert breaker.admit(0.5) is None
    assert breaker.wait_seconds(0.5) == 0.5


def test_a_success_in_between_starts_the_count_again() -> None:
    breaker = Breaker(max_failures=2)
    breaker.fail(admitted(breaker, 0.0), 0.0)
    breaker.succeed(admitted(breaker, 0.0))
    breaker.fail(admitted(breaker, 0.0), 0.0)
    assert breaker.is_closed


def test_one_probe_passes_when_the_time_is_up_and_its_success_closes() -> None:
    breaker = opened()
    probe = admitted(breaker, 1.0)
    assert breaker.admit(1.0) is None
    breaker.succeed(probe)
    assert breaker.is_closed


def test_a_probe_that_gets_an_answer_lets_others_through_before_its_end() -> None:
    breaker = opened()
    probe = admitted(breaker, 1.0)
    breaker.answers(probe)
    admitted(breaker, 1.0)
    breaker.fail(probe, 2.0)
    assert not breaker.is_closed, "one more failure is enough until a call went well"


def test_the_backoff_doubles_to_its_limit_and_starts_again_after_a_success() -> None:
    breaker, now, waits = opened(), 0.0, list[float]()
    for _ in range(6):
        waits.append(breaker.wait_seconds(now))
        now += waits[-1]
        breaker.fail(admitted(breaker, now), now)
    assert waits == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    now += breaker.wait_seconds(now)
    breaker.succeed(admitted(breaker, now))
    breaker.pause(admitted(breaker, now), now)
    assert breaker.wait_seconds(now) == 1.0


def test_an_abandoned_probe_makes_way_for_the_next_one() -> None:
    breaker = opened()
    breaker.abandon(admitted(breaker, 1.0))
    assert not breaker.is_closed
    admitted(breaker, 1.0)


def test_a_late_outcome_of_an_earlier_phase_changes_nothing() -> None:
    breaker = Breaker(max_failures=1)
    slow, slower = admitted(breaker, 0.0), admitted(breaker, 0.0)
    breaker.fail(admitted(breaker, 0.0), 0.0)
    breaker.succeed(slow)
    breaker.pause(slower, 0.0, 100.0)
    assert breaker.wait_seconds(0.0) == 1.0


# Whole seconds add up exactly.
SECONDS = st.integers(0, 20).map(float)


class Phases(RuleBasedStateMachine):
    """Any calls with any outcomes at any times."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.breaker = Breaker(max_failures=3, first_seconds=1.0, longest_seconds=8.0)
        self.tickets: list[Ticket] = []
        self.shut_until = 0.0
        self.probe: Ticket | None = None

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def call(self) -> None:
        was_closed = self.breaker.is_closed
        ticket = self.breaker.admit(self.now)
        if was_closed:
            assert ticket is not None
        if ticket is None:
            assert self.breaker.wait_seconds(self.now) > 0.0
            return
        assert self.now >= self.shut_until, "passed before the time was up"
        if not was_closed:
            assert self.probe is None, "two probes at once"
            self.probe = ticket
        self.tickets.append(ticket)

    @precondition(lambda self: self.tickets)
    @rule(data=st.data(), outcome=st.sampled_from(["answers", "succeed", "fail", "pause", "leave"]))
    def end(self, data: st.DataObject, outcome: str) -> None:
        at = data.draw(st.integers(0, len(self.tickets) - 1))
        ticket = self.tickets[at] if outcome == "answers" else self.tickets.pop(at)
        was_closed = self.breaker.is_closed
        if outcome == "answers":
            self.breaker.answers(ticket)
        elif outcome == "succeed":
            self.breaker.succeed(ticket)
        elif outcome == "fail":
            self.breaker.fail(ticket, self.now)
        elif outcome == "pause":
            self.breaker.pause(ticket, self.now, data.draw(SECONDS))
        else:
            self.breaker.abandon(ticket)
        if not was_closed and ticket != self.probe:
            assert not self.breaker.is_closed, "only the probe closes it"
        if ticket == self.probe:
            self.probe = None
        if was_closed and not self.breaker.is_closed:
            self.shut_until = self.now + self.breaker.wait_seconds(self.now)

    @invariant()
    def an_endpoint_that_is_well_again_is_found_out(self) -> None:
        if self.probe is not None or self.breaker.is_closed:
            return
        assert self.breaker.wait_seconds(self.now) <= 20.0
        assert self.breaker.wait_seconds(self.now + 20.0) == 0.0


TestPhases = Phases.TestCase
TestPhases.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

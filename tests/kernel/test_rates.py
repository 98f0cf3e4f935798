from hypothesis import given
from hypothesis import strategies as st

from aios_mcp.errors import RateLimitedError
from aios_mcp.kernel import Allowance
from aios_mcp.kernel.rates import Rates
from tests.kernel.kernels import agent


@given(st.integers(1, 600), st.lists(st.floats(0, 30, allow_subnormal=False), max_size=200))
def test_no_window_lets_more_calls_pass_than_the_rate(per_minute: int, pauses: list[float]) -> None:
    rates = Rates()
    limited = agent(allowance=Allowance(calls_per_minute=per_minute))
    now, passed, hints = 0.0, list[float](), list[float]()
    for pause in pauses:
        now += pause
        try:
            rates.take(limited, now)
        except RateLimitedError as refusal:
            hints.append(refusal.retry_after_seconds)
        else:
            passed.append(now)
    assert all(0 < hint <= 60.0 / per_minute + 0.001 for hint in hints)
    for first, start in enumerate(passed):
        for last, end in enumerate(passed[first:], first):
            assert last - first + 1 <= per_minute * (1 + (end - start) / 60.0) + 1e-6


def test_an_agent_without_a_rate_is_never_refused() -> None:
    rates = Rates()
    for _ in range(10_000):
        rates.take(agent(), 0.0)

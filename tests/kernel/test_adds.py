import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_mcp.errors import QuotaExceededError, failure_of
from aios_mcp.kernel import Allowance
from aios_mcp.kernel.adds import Adds
from aios_mcp.kernel.calls import AddCall
from backends.messages import MemoryDraft
from backends.scripted import ListJournal
from backends.scripted_memories import ListMemories
from tests.kernel.kernels import NOW, agent, build
from tests.marks import virtual_time


@given(st.integers(1, 40), st.lists(st.floats(0, 20, allow_subnormal=False), max_size=200))
def test_no_minute_lets_more_adds_pass_and_after_the_hint_the_next_one_does(
    per_minute: int, pauses: list[float]
) -> None:
    adds = Adds()
    limited = agent(allowance=Allowance(adds_per_minute=per_minute))
    now, passed = 0.0, list[float]()
    for pause in pauses:
        now += pause
        try:
            adds.take(limited, now)
        except QuotaExceededError as refusal:
            assert len(passed) >= per_minute
            now += refusal.retry_after_seconds
            adds.take(limited, now)
        passed.append(now)
    for first, start in enumerate(passed):
        window = [each for each in passed[first:] if each - start < 60.0 - 1e-9]
        assert len(window) <= per_minute


@virtual_time
async def test_of_many_adds_at_once_as_many_as_the_quota_are_stored() -> None:
    journal = ListJournal()
    ids = iter(f"m{number}" for number in range(100))
    memories = ListMemories(now=lambda: NOW, new_id=ids.__next__)
    kernel = build(memories=memories, journal=journal, max_waiting_per_agent=100)
    limited = agent(allowance=Allowance(adds_per_minute=10))
    refusals: list[QuotaExceededError] = []

    async def add(number: int, name: str = "self") -> None:
        call = AddCall(draft=MemoryDraft(content=f"note {number}"), namespace=name)
        try:
            await kernel.add_memory(limited, call)
        except QuotaExceededError as exc:
            refusals.append(exc)

    with anyio.fail_after(1000):
        async with anyio.create_task_group() as tg:
            for number in range(32):
                tg.start_soon(add, number, "self" if number % 2 else "shared")
        counts = [await memories.count(owner) for owner in ("ada", "")]
        assert sum(each.rows for each in counts) == 10
        assert len(refusals) == 22
        failure = failure_of(refusals[0])
        assert failure is not None
        assert (failure.code, failure.retryable) == ("quota_exceeded", True)
        assert failure.retry_after_seconds == pytest.approx(60.0)
        refused = [each for each in journal.audit if each.outcome == "quota_exceeded"]
        assert len(refused) == 22
        await anyio.sleep(60.0)
        await add(99)
        assert len(refusals) == 22

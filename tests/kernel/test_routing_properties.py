"""Whatever cores do: who is asked, and that nothing is lost or left behind."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import anyio
from hypothesis import given
from hypothesis import strategies as st

from aios_mcp.errors import failure_of
from aios_mcp.kernel import Allowance, Kernel
from aios_mcp.kernel.budget import day_of
from aios_mcp.kernel.calls import GenerateCall, Generation
from aios_mcp.kernel.cores import Core, Price
from aios_mcp.kernel.routing import Preference, Router
from backends.errors import (
    BackendError,
    BackendRefusedError,
    BackendTimeoutError,
    BackendUnavailableError,
    ContextOverflowError,
    IncompleteAnswerError,
)
from backends.messages import Completion, CoreStatus, GenerateRequest, Piece, Usage
from backends.protocols import Emit, Turn
from backends.scripted import ListJournal
from backends.turns import UNINTERRUPTED
from tests.kernel.kernels import NOW, agent, build, core, ignore, prompt

Way = Literal["answers", "down", "late", "too small", "refuses", "breaks off", "resting", "hangs"]
WAYS: tuple[Way, ...] = get_args(Way)
USAGE = Usage(input_tokens=4, output_tokens=1)
ERRORS: dict[Way, BackendError] = {
    "down": BackendUnavailableError("down"),
    "late": BackendTimeoutError("late"),
    "too small": ContextOverflowError(wanted=9, limit=5),
    "refuses": BackendRefusedError("no"),
}


@dataclass(slots=True)
class Behaving:
    """Behaves in one way, and notes that it was asked."""

    name: str
    way: Way
    asked: list[str]
    hanging: anyio.Event = field(default_factory=anyio.Event)

    async def generate(
        self, request: GenerateRequest, emit: Emit, turn: Turn = UNINTERRUPTED, /
    ) -> Completion:
        self.asked.append(self.name)
        await anyio.lowlevel.checkpoint()
        if self.way in ERRORS:
            raise ERRORS[self.way]
        if self.way == "hangs":
            self.hanging.set()
            await anyio.sleep_forever()
        await emit(Piece("a", 1))
        if self.way == "breaks off":
            raise IncompleteAnswerError("cut", text="a", usage=USAGE)
        return Completion("a", "stop", USAGE)

    def status(self) -> CoreStatus:
        resting = 5.0 if self.way == "resting" else 0.0
        return CoreStatus(model="m", state="ready", resting_seconds=resting)


async def ask(kernel: Kernel, cores: Sequence[Behaving]) -> Generation | BackendError | None:
    """Give the answer or the failure; None where the caller left a core that hangs."""
    outcome: Generation | BackendError | None = None
    spender = agent(allowance=Allowance(micro_usd_per_day=10**6))

    async def call() -> None:
        nonlocal outcome
        try:
            outcome = await kernel.llm_generate(spender, GenerateCall(request=prompt("x")), ignore)
        except BackendError as exc:
            outcome = exc
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        for each in cores:
            tasks.start_soon(leave_when_hanging, each, tasks.cancel_scope)
    return outcome


async def leave_when_hanging(hung: Behaving, scope: anyio.CancelScope) -> None:
    await hung.hanging.wait()
    scope.cancel()


def expected(order: Sequence[Behaving]) -> list[str]:
    """Give whom a kernel asks: all in order, up to the first that ends the matter."""
    asked: list[str] = []
    for each in order:
        if each.way == "resting":
            continue
        asked.append(each.name)
        if each.way in {"answers", "breaks off", "refuses", "hangs"}:
            break
    return asked


@given(
    st.lists(st.tuples(st.sampled_from(WAYS), st.booleans()), min_size=1, max_size=5),
    st.sampled_from(["local", "listed"]),
)
def test_cores_are_asked_in_order_once_each_until_one_settles_it(
    ways: list[tuple[Way, bool]], prefer: Preference
) -> None:
    anyio.run(_check, ways, prefer)


async def _check(ways: list[tuple[Way, bool]], prefer: Preference) -> None:
    asked: list[str] = []
    cores: list[Core] = []
    llms: list[Behaving] = []
    for number, (way, is_local) in enumerate(ways):
        llms.append(Behaving(f"c{number}", way, asked))
        price = Price(input=1.0, cached_input=1.0, output=1.0)
        cores.append(core(f"c{number}", llms[-1], is_local=is_local, price=price))
    journal = ListJournal()
    kernel = build(*cores, journal=journal, router=Router(prefer=prefer))
    outcome = await ask(kernel, llms)

    locality = [not is_local for _, is_local in ways] if prefer == "local" else [False] * len(ways)
    order = [each for _, each in sorted(zip(locality, llms, strict=True), key=lambda pair: pair[0])]
    assert asked == expected(order)
    last = next((each.way for each in llms if asked and each.name == asked[-1]), None)
    if last == "answers":
        assert isinstance(outcome, Generation)
        assert [each.core for each in outcome.attempts] == asked
    elif last == "hangs":
        assert outcome is None
    else:
        assert isinstance(outcome, BackendError)
        failure = failure_of(outcome)
        assert failure is not None
        assert (failure.usage is not None) == (last == "breaks off")
    [record] = journal.audit
    assert record.outcome
    assert record.micro_usd == record.tokens
    balance = await journal.balance("ada", day_of(NOW), "micro_usd")
    assert (balance.held, balance.spent) == (0, record.micro_usd)
    status = await kernel.status(agent())
    assert (status.running, status.waiting) == (0, 0)

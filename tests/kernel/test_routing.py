"""Which core of a tier takes a call."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import anyio
import pytest

from aios_mcp.errors import NotPermittedError
from aios_mcp.kernel import Allowance, Kernel
from aios_mcp.kernel.calls import GenerateCall, Generation
from aios_mcp.kernel.cores import FREE, Core, Price
from aios_mcp.kernel.estimates import most_tokens
from aios_mcp.kernel.routing import Preference, Router, affinity_of, program_of
from backends.errors import (
    BackendRefusedError,
    BackendUnavailableError,
    ContextOverflowError,
    SchemaUnsupportedError,
    UnsupportedError,
)
from backends.messages import Completion, CoreStatus, GenerateRequest, Message, ToolSpec
from backends.protocols import Emit, Turn
from backends.scripted import EchoCore
from backends.turns import UNINTERRUPTED
from tests.kernel.kernels import agent, build, core, ignore, prompt
from tests.marks import virtual_time

READY = CoreStatus(model="m", state="ready", takes_tools=True)
TOOL = ToolSpec(name="t", description="", input_schema={})


@dataclass(slots=True)
class Told:
    """An echo with the status it was told, that counts how often it is asked."""

    its_status: CoreStatus = READY
    echo: EchoCore = field(default_factory=EchoCore)
    asked: int = 0

    async def generate(
        self, request: GenerateRequest, emit: Emit, turn: Turn = UNINTERRUPTED, /
    ) -> Completion:
        self.asked += 1
        return await self.echo.generate(request, emit, turn)

    def status(self) -> CoreStatus:
        return self.its_status


def told(**fields: object) -> Told:
    return Told(replace(READY, **fields))  # type: ignore[arg-type]


def failing(error: Exception) -> Told:
    return Told(echo=EchoCore(fails_with=error))


async def ask(kernel: Kernel, request: GenerateRequest | None = None) -> Generation:
    call = GenerateCall(request=request or prompt("hello"))
    return await kernel.llm_generate(agent(), call, ignore)


@pytest.mark.parametrize(
    ("lacking", "request_", "error"),
    [
        (
            told(takes_schema=False),
            replace(prompt("{}"), schema={"type": "object"}),
            SchemaUnsupportedError,
        ),
        (told(takes_tools=False), replace(prompt("x"), tools=(TOOL,)), UnsupportedError),
        (told(context_tokens=50), prompt("x", 100), ContextOverflowError),
        (told(context_tokens=300), prompt("word " * 1000, 100), ContextOverflowError),
        (told(resting_seconds=7.0, note="asked to wait"), prompt("x"), BackendUnavailableError),
    ],
    ids=["schema", "tools", "answer too long", "prompt too long", "resting"],
)
async def test_a_core_that_cannot_take_a_call_is_passed_over_or_says_why(
    lacking: Told, request_: GenerateRequest, error: type[Exception]
) -> None:
    answer = await ask(build(core("first", lacking), core("second", Told())), request_)
    assert answer.core == "second"
    with pytest.raises(error):
        await ask(build(core("first", lacking)), request_)
    assert lacking.asked == 0


async def test_where_no_core_is_left_each_says_why() -> None:
    plain = core("plain", told(takes_tools=False))
    resting = core("resting", told(resting_seconds=7.0, note="asked to wait"))
    later = core("later", told(resting_seconds=9.0))
    offering = replace(prompt("x"), tools=(TOOL,))
    with pytest.raises(
        BackendUnavailableError, match=r"'plain' takes no tools.*asked to wait"
    ) as e:
        await ask(build(plain, resting, later), offering)
    assert e.value.retry_after_seconds == 7.0
    with pytest.raises(BackendRefusedError, match=r"'plain' takes no tools.*need 240"):
        await ask(build(plain, core("small", told(context_tokens=50))), offering)


async def test_a_prompt_that_may_be_too_long_goes_to_the_roomier_core_first() -> None:
    tight = core("tight", told(context_tokens=200))
    request = prompt("word " * 100, 100)  # 229 tokens as estimated
    assert (await ask(build(tight, core("roomy", Told())), request)).core == "roomy"
    assert (await ask(build(tight), request)).core == "tight"  # it counts for itself


@pytest.mark.parametrize(
    "refusal", [ContextOverflowError(wanted=9, limit=5), UnsupportedError("no min_p here")]
)
async def test_what_only_one_core_cannot_do_another_is_asked_for(refusal: Exception) -> None:
    kernel = build(core("first", failing(refusal)), core("second"))
    answer = await ask(kernel)
    assert [(each.core, each.outcome) for each in answer.attempts] == [
        ("first", "invalid_argument"),
        ("second", "ok"),
    ]


async def test_a_failure_that_may_pass_is_told_before_one_that_stays() -> None:
    down = core("down", failing(BackendUnavailableError("down", retry_after_seconds=3.0)))
    small = core("small", failing(ContextOverflowError(wanted=9, limit=5)))
    for cores in ((down, small), (small, down)):
        with pytest.raises(BackendUnavailableError):
            await ask(build(*cores))


async def test_a_failed_core_is_the_last_to_be_asked() -> None:
    kernel = build(core("broken", told(state="failed")), core("well", Told()))
    assert (await ask(kernel)).core == "well"


CHEAP = Price(input=0.1, cached_input=0.1, output=0.2)
DEAR = Price(input=10.0, cached_input=10.0, output=20.0)


@pytest.mark.parametrize(
    ("prefer", "order"),
    [
        ("local", ["box", "near", "dear", "unknown", "cheap"]),
        ("listed", ["dear", "unknown", "cheap", "box", "near"]),
        ("cheapest", ["box", "near", "cheap", "dear", "unknown"]),
    ],
)
def test_cores_are_preferred_as_configured(prefer: Preference, order: list[str]) -> None:
    cores = [
        core("dear", price=DEAR, is_local=False),
        core("unknown", price=None, is_local=False),
        core("cheap", price=CHEAP, is_local=False),
        core("box"),
        core("near", price=FREE, is_local=False, is_loopback=True),
    ]
    route = Router(prefer=prefer, spill_seconds=2.0).route(prompt("x"), 4, cores)
    assert [each.name for each in route.cores] == order
    assert names_in_steps(route.cores, route.handicaps)[0.0][0] == order[0]


def names_in_steps(cores: Sequence[Core], handicaps: Sequence[float]) -> dict[float, list[str]]:
    steps: dict[float, list[str]] = {}
    for each, seconds in zip(cores, handicaps, strict=True):
        steps.setdefault(seconds, []).append(each.name)
    return steps


def test_each_step_down_in_preference_costs_some_seconds_of_waiting() -> None:
    cores = [core("far", is_local=False), core("a"), core("b"), core("farther", is_local=False)]
    route = Router(spill_seconds=2.0).route(prompt("x"), 4, cores)
    steps = names_in_steps(route.cores, route.handicaps)
    assert steps == {0.0: ["a", "b"], 2.0: ["far", "farther"]}


@virtual_time
async def test_speed_is_measured_shown_and_preferred() -> None:
    slow = core("slow", Told(echo=EchoCore(seconds_per_token=2.0)))
    fast = core("fast", Told(echo=EchoCore(seconds_per_token=0.5)))
    kernel = build(slow, fast, router=Router(prefer="fastest"))
    assert all(report.tokens_per_second is None for report in kernel.cores(agent()))
    chosen = [(await ask(kernel, prompt("a b c"))).core for _ in range(4)]
    assert chosen == ["slow", "fast", "fast", "fast"]  # unmeasured cores first
    by_name = {report.name: report for report in kernel.cores(agent())}
    assert by_name["slow"].tokens_per_second == pytest.approx(0.5)
    assert by_name["slow"].first_token_ms == pytest.approx(2000.0)
    assert by_name["fast"].tokens_per_second == pytest.approx(2.0)


async def test_a_call_that_may_cost_more_than_the_ceiling_is_refused_or_goes_elsewhere() -> None:
    careful = agent(allowance=Allowance(micro_usd_per_call=100))
    call = GenerateCall(request=prompt("hello"))
    dear, cheap = core("dear", price=DEAR, is_local=False), core("cheap", price=CHEAP)
    kernel = build(dear, cheap, router=Router(prefer="listed"))
    assert (await kernel.llm_generate(careful, call, ignore)).core == "cheap"
    with pytest.raises(NotPermittedError, match=r"may cost up to 0.00221 USD.*0.0001 USD on one"):
        await build(dear).llm_generate(careful, call, ignore)
    with pytest.raises(NotPermittedError, match="no known price"):
        await build(core("unknown", price=None)).llm_generate(careful, call, ignore)


@virtual_time
async def test_attempts_say_what_each_took() -> None:
    hanging = EchoCore(seconds_per_token=3.0)

    class Late:
        async def generate(
            self, request: GenerateRequest, emit: Emit, turn: Turn = UNINTERRUPTED, /
        ) -> Completion:
            await anyio.sleep(4.0)
            raise BackendUnavailableError("late")

        def status(self) -> CoreStatus:
            return READY

    answer = await ask(build(core("late", Late()), core("slow", hanging)), prompt("a b"))
    assert [(each.core, each.outcome, each.ms) for each in answer.attempts] == [
        ("late", "backend_unavailable", 4000.0),
        ("slow", "ok", 6000.0),
    ]
    assert (answer.queue_ms, answer.run_ms) == (0.0, 6000.0)


def test_prompts_that_begin_alike_belong_together_for_one_agent() -> None:
    system, first = Message("system", "Be brief."), Message("user", "a")
    begun = GenerateRequest(messages=(system, first))
    grown = GenerateRequest(messages=(system, first, Message("assistant", "b"), first))
    assert affinity_of("ada", begun) == affinity_of("ada", grown)
    assert affinity_of("ada", begun) != affinity_of("ben", begun)
    assert affinity_of("ada", begun) != affinity_of("ada", GenerateRequest(messages=(first,)))


def test_the_bound_of_a_prompt_counts_tools_schema_and_calls() -> None:
    plain = prompt("x")
    long = "y" * 1000
    described = replace(plain, tools=(replace(TOOL, description=long),))
    assert most_tokens(described) > most_tokens(plain) + 1000
    assert most_tokens(replace(plain, schema={"const": long})) > most_tokens(plain) + 1000


@virtual_time
async def test_a_call_waits_a_little_for_a_local_core_and_then_goes_to_a_remote_one() -> None:
    slow = core("local", Told(echo=EchoCore(seconds_per_token=60.0)))
    remote = core("remote", Told(), is_local=False)
    kernel = build(slow, remote, router=Router(spill_seconds=5.0))
    answers: list[Generation] = []

    async def one() -> None:
        answers.append(await ask(kernel, prompt("a")))

    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(one)
    assert [(each.core, each.queue_ms) for each in answers] == [
        ("remote", 5000.0),
        ("local", 0.0),
    ]


async def test_a_conversation_goes_back_to_the_core_that_knows_it() -> None:
    kernel = build(core("a", Told()), core("b", Told()))
    begun = {name: await ask(kernel, prompt(name)) for name in ("first", "second")}
    assert {each.core for each in begun.values()} == {"a"}  # free, and listed first
    together: list[Generation] = []

    async def one(text: str) -> None:
        together.append(await ask(kernel, prompt(text)))

    async with anyio.create_task_group() as tasks:
        for text in ("third", "fourth"):
            tasks.start_soon(one, text)
    moved = next(each for each in together if each.core == "b")
    text = moved.text.strip()
    assert (await ask(kernel, prompt(text))).core == "b"  # though a is free and listed first


async def test_what_a_remote_core_knows_does_not_put_it_before_a_local_one() -> None:
    kernel = build(core("remote", Told(), is_local=False), core("local", Told()))
    named = GenerateCall(request=prompt("hello"), model="remote")
    assert (await kernel.llm_generate(agent(), named, ignore)).core == "remote"
    assert (await ask(kernel, prompt("hello"))).core == "local"


def test_a_conversation_is_known_by_its_session_or_its_beginning() -> None:
    system, first = Message("system", "be brief"), Message("user", "hello")
    more = (Message("assistant", "hi"), Message("user", "and now?"))
    begun = GenerateCall(request=GenerateRequest(messages=(system, first)))
    gone_on = GenerateCall(request=GenerateRequest(messages=(system, first, *more)))
    other = GenerateCall(request=GenerateRequest(messages=(system, more[1])))
    assert program_of("ada", begun) == program_of("ada", gone_on) != program_of("ada", other)
    assert program_of("ada", begun) != program_of("bob", begun)
    assert program_of("ada", replace(other, session="loop")) == "loop"

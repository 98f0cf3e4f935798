from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from aios_mcp.errors import (
    BudgetExceededError,
    ConflictError,
    NotPermittedError,
    RateLimitedError,
)
from aios_mcp.kernel import Agent, Allowance, Grants
from aios_mcp.kernel.calls import GenerateCall, Generation
from aios_mcp.kernel.cores import Price
from backends.database import open_database
from backends.errors import (
    BackendRefusedError,
    BackendTimeoutError,
    BackendUnavailableError,
    IncompleteAnswerError,
)
from backends.journal import JOURNAL, SqliteJournal
from backends.messages import (
    Completion,
    CoreStatus,
    GenerateRequest,
    Piece,
    Usage,
)
from backends.protocols import Emit, Turn
from backends.scripted import EchoCore, ListJournal
from backends.turns import UNINTERRUPTED
from scheduler import DeadlineMissedError, Lease, QueueFullError
from scheduler.policies import Fair
from tests.kernel.kernels import NOW, agent, build, core, ignore, prompt
from tests.marks import asyncio_only, virtual_time

DOWN = EchoCore(fails_with=BackendUnavailableError("down"))


class CutOff:
    """A core that breaks off after its first word."""

    async def generate(
        self, request: GenerateRequest, emit: Emit, turn: Turn = UNINTERRUPTED, /
    ) -> Completion:
        await emit(Piece("half", 1))
        usage = Usage(input_tokens=7, output_tokens=1)
        raise IncompleteAnswerError("cut off", text="half", usage=usage)

    def status(self) -> CoreStatus:
        return CoreStatus(model="cut", state="ready")


def call(text: str, max_tokens: int = 100) -> GenerateCall:
    return GenerateCall(request=prompt(text, max_tokens))


async def test_a_generation_answers_with_text_usage_and_the_core() -> None:
    journal = ListJournal()
    answer = await build(journal=journal).llm_generate(agent(), call("hello there"), ignore)
    assert (answer.text, answer.core, answer.finish_reason) == ("hello there ", "echo", "stop")
    assert answer.usage == Usage(input_tokens=2, output_tokens=2)
    assert answer.cost_micro_usd == 0
    [record] = journal.audit
    assert (record.request_id, record.outcome, record.tokens) == (answer.request_id, "ok", 4)
    assert record.place == "echo"


async def test_pieces_reach_the_caller_in_order() -> None:
    pieces: list[str] = []

    async def keep(piece: Piece) -> None:
        pieces.append(piece.text)

    await build().llm_generate(agent(), call("a b c"), keep)
    assert pieces == ["a ", "b ", "c "]


async def test_a_core_without_a_grant_and_a_core_that_is_not_there_read_the_same() -> None:
    kernel = build(core("public"), core("secret", tiers=("capable",)))
    texts: list[str] = []
    for name in ("secret", "absent"):
        with pytest.raises(NotPermittedError) as refusal:
            await kernel.llm_generate(agent(), replace(call("x"), model=name), ignore)
        texts.append(str(refusal.value).replace(name, "?"))
    assert texts[0] == texts[1]
    assert "public" in texts[0]


async def test_a_core_can_be_named_by_a_grant_of_its_own() -> None:
    kernel = build(core("secret", tiers=("capable",)))
    named = agent(grants=Grants(cores=frozenset({"secret"})))
    answer = await kernel.llm_generate(named, replace(call("x"), model="secret"), ignore)
    assert answer.core == "secret"


async def test_no_grant_means_no() -> None:
    journal = ListJournal()
    kernel = build(journal=journal)
    with pytest.raises(NotPermittedError, match="no model is available to it"):
        await kernel.llm_generate(agent(grants=Grants()), call("x"), ignore)
    assert [record.outcome for record in journal.audit] == ["not_permitted"]


async def test_more_tokens_than_granted_are_refused() -> None:
    with pytest.raises(NotPermittedError, match="max_tokens is 1001"):
        await build().llm_generate(agent(), call("x", 1001), ignore)


async def test_a_budget_that_does_not_cover_the_call_is_refused_and_audited() -> None:
    journal = ListJournal()
    poor = agent(allowance=Allowance(tokens_per_day=50))
    with pytest.raises(BudgetExceededError, match="has 50 left") as refusal:
        await build(journal=journal).llm_generate(poor, call("x", 100), ignore)
    assert refusal.value.wanted > 100
    assert [record.outcome for record in journal.audit] == ["budget_exceeded"]


async def test_a_budget_is_settled_with_what_was_really_used() -> None:
    kernel = build()
    ada = agent(allowance=Allowance(tokens_per_day=500))
    for _ in range(10):  # held in full each time, these would need 1,170 tokens
        await kernel.llm_generate(ada, call("a b", 100), ignore)
    usage = await kernel.usage(ada)
    assert (usage.tokens, usage.tokens_limit) == (40, 500)


async def test_a_budget_of_ten_calls_lets_ten_of_32_in() -> None:
    price = Price(input=0.0, cached_input=0.0, output=1000.0)
    kernel = build(core(price=price, slots=32, is_local=False), max_waiting_per_agent=64)
    ada = agent(allowance=Allowance(micro_usd_per_day=20_000))
    outcomes: list[str] = []

    async def ask() -> None:
        try:
            await kernel.llm_generate(ada, call("a b", 2), ignore)
            outcomes.append("ok")
        except BudgetExceededError:
            outcomes.append("refused")

    async with anyio.create_task_group() as tg:
        for _ in range(32):
            tg.start_soon(ask)
    assert outcomes.count("ok") == 10
    assert (await kernel.usage(ada)).usd == pytest.approx(0.02)


async def test_what_a_sub_agent_uses_counts_towards_both_budgets() -> None:
    kernel = build(core(slots=8))
    lead = agent("lead", allowance=Allowance(tokens_per_day=100))
    subs = [replace(agent(f"sub{at}"), superior=lead) for at in range(2)]
    for each in (*subs, lead):
        await kernel.llm_generate(each, call("a b", 2), ignore)
    used = [(await kernel.usage(each)).tokens for each in (*subs, lead)]
    assert used == [4, 4, 12]
    with pytest.raises(BudgetExceededError, match="agent 'lead'"):
        await kernel.llm_generate(subs[0], call("a b", 90), ignore)


async def test_sub_agents_have_one_share_with_their_superior() -> None:
    slow = EchoCore(seconds_per_token=1.0)
    kernel = build(core(llm=slow, slots=1), policy=Fair())
    lead, other = agent("lead"), agent("other")
    subs = [replace(agent(f"sub{at}"), superior=lead) for at in range(3)]
    order: list[str] = []

    async def ask(who: Agent) -> None:
        await kernel.llm_generate(who, call("a b", 2), ignore)
        order.append(who.name)

    async with anyio.create_task_group() as tasks:
        for who in (lead, *subs, other, other):
            tasks.start_soon(ask, who)
    # On their own they would all have had a turn before the second one of the other.
    assert order[-1] != "other"


async def test_a_core_of_unknown_price_has_unknown_cost_and_no_dollar_budget() -> None:
    kernel = build(core(price=None, is_local=False))
    assert (await kernel.llm_generate(agent(), call("x"), ignore)).cost_micro_usd is None
    budgeted = agent(allowance=Allowance(micro_usd_per_day=10))
    with pytest.raises(NotPermittedError, match="no known price"):
        await kernel.llm_generate(budgeted, call("x"), ignore)


async def test_local_cores_come_before_remote_ones() -> None:
    kernel = build(core("cloud", is_local=False), core("local"))
    assert (await kernel.llm_generate(agent(), call("x"), ignore)).core == "local"


async def test_a_core_that_is_down_is_replaced_by_the_next_one() -> None:
    kernel = build(core("first", DOWN), core("second"))
    answer = await kernel.llm_generate(agent(), call("x"), ignore)
    assert answer.core == "second"


async def test_the_last_core_s_failure_is_the_caller_s() -> None:
    journal = ListJournal()
    kernel = build(core("first", DOWN), core("second", DOWN), journal=journal)
    with pytest.raises(BackendUnavailableError):
        await kernel.llm_generate(agent(), call("x"), ignore)
    assert [(record.outcome, record.tokens) for record in journal.audit] == [
        ("backend_unavailable", 0)
    ]


async def test_a_refused_request_is_not_tried_elsewhere() -> None:
    refusing = EchoCore(fails_with=BackendRefusedError("no"))
    kernel = build(core("first", refusing), core("second"))
    with pytest.raises(BackendRefusedError):
        await kernel.llm_generate(agent(), call("x"), ignore)


async def test_a_core_that_fails_after_its_first_text_is_not_replaced_and_is_paid() -> None:
    journal = ListJournal()
    kernel = build(core("first", CutOff()), core("second"), journal=journal)
    with pytest.raises(IncompleteAnswerError):
        await kernel.llm_generate(agent(), call("x"), ignore)
    assert [(record.outcome, record.tokens) for record in journal.audit] == [
        ("backend_unavailable", 8)
    ]


async def test_an_answer_under_a_schema_is_parsed() -> None:
    request = replace(prompt('{"a":1}'), schema={"type": "object"})
    answer = await build().llm_generate(agent(), GenerateCall(request=request), ignore)
    assert answer.data == {"a": 1}


async def test_an_answer_that_is_not_the_json_asked_for_is_an_error() -> None:
    request = replace(prompt("no json"), schema={"type": "object"})
    with pytest.raises(IncompleteAnswerError, match="not the JSON"):
        await build().llm_generate(agent(), GenerateCall(request=request), ignore)


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "array"}, '{"a":1}'),
        ({"properties": {"a": {"enum": [2]}}}, '{"a":1}'),
        ({"required": ["b"]}, '{"a":1}'),
        ({"$defs": {"n": {"type": "null"}}, "items": {"$ref": "#/$defs/n"}}, "[1]"),
    ],
)
async def test_an_answer_that_does_not_fit_the_schema_is_an_error(
    schema: dict[str, object], text: str
) -> None:
    request = replace(prompt(text), schema=schema)
    with pytest.raises(IncompleteAnswerError, match="does not fit the schema at '/"):
        await build().llm_generate(agent(), GenerateCall(request=request), ignore)


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"pattern": "^(x+)+$"}}},
        {"patternProperties": {"(": {"type": "null"}}},
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"type": "thing"},
    ],
)
async def test_what_cannot_be_checked_safely_is_left_to_the_core(schema: dict[str, object]) -> None:
    request = replace(prompt('{"a":"' + "x" * 60 + '!"}'), schema=schema)
    answer = await build().llm_generate(agent(), GenerateCall(request=request), ignore)
    assert answer.data == {"a": "x" * 60 + "!"}


async def test_the_same_idempotency_key_answers_from_the_first_call() -> None:
    journal = ListJournal()
    kernel = build(journal=journal)
    keyed = replace(call("hello"), idempotency_key="k")
    first = await kernel.llm_generate(agent(), keyed, ignore)
    second = await kernel.llm_generate(agent(), keyed, ignore)
    assert second == first
    assert (await kernel.usage(agent())).tokens == 2
    with pytest.raises(ConflictError):
        await kernel.llm_generate(agent(), replace(keyed, request=prompt("other")), ignore)


async def test_a_failed_call_frees_its_idempotency_key() -> None:
    kernel = build(core("first", CutOff()))
    keyed = replace(call("hello"), idempotency_key="k")
    for _ in range(2):
        with pytest.raises(IncompleteAnswerError):
            await kernel.llm_generate(agent(), keyed, ignore)


@virtual_time
async def test_two_agents_share_one_core_in_turn() -> None:
    kernel = build(core(llm=EchoCore(seconds_per_token=60.0)))
    answers: list[Generation] = []

    async def ask(name: str) -> None:
        answers.append(await kernel.llm_generate(agent(name), call("a b"), ignore))

    async with anyio.create_task_group() as tg:
        tg.start_soon(ask, "ada")
        tg.start_soon(ask, "ben")
    assert sorted((answer.queue_ms, answer.run_ms) for answer in answers) == [
        (0.0, 120_000.0),
        (120_000.0, 120_000.0),
    ]


@asyncio_only  # trio runs what is ready in any order
async def test_who_gets_a_slot_starts_before_the_caller_that_left_it_goes_on(
    tmp_path: Path,
) -> None:
    order: list[str] = []
    another_is_in_line = anyio.Event()

    def in_line(lease: Lease) -> None:
        del lease
        another_is_in_line.set()

    class Noting(EchoCore):
        async def generate(
            self, request: GenerateRequest, emit: Emit, turn: Turn = UNINTERRUPTED, /
        ) -> Completion:
            order.append(f"{request.messages[0].text} starts")
            await another_is_in_line.wait()
            return await super().generate(request, emit, turn)

    async with open_database(tmp_path / "journal.db", [JOURNAL]) as database:
        journal = SqliteJournal(database, now=lambda: NOW)
        await journal.recover()
        kernel = build(core(llm=Noting()), journal=journal)

        async def ask(name: str) -> None:
            await kernel.llm_generate(agent(name), call(name), ignore, in_line)
            order.append(f"{name} ends")

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tg:
                for name in ("ada", "ben"):
                    tg.start_soon(ask, name)
    first, second = (each.split()[0] for each in order if each.endswith("starts"))
    assert order == [f"{first} starts", f"{second} starts", f"{first} ends", f"{second} ends"]


@virtual_time
async def test_a_cancelled_generation_frees_its_slot_and_pays_for_what_it_used() -> None:
    journal = ListJournal()
    kernel = build(core(llm=EchoCore(seconds_per_token=60.0)), journal=journal)
    with anyio.move_on_after(150):
        await kernel.llm_generate(agent(), call("a b c d"), ignore)
    [record] = journal.audit
    assert record.outcome == "cancelled"
    assert 2 < record.tokens < 20  # two words, and the prompt as estimated
    status = await kernel.status(agent())
    assert (status.running, status.waiting, status.cores[0].busy) == (0, 0, 0)


@virtual_time
async def test_a_generation_past_its_deadline_is_a_time_out() -> None:
    kernel = build(core(llm=EchoCore(seconds_per_token=60.0)))
    hasty = replace(call("a b c d"), deadline_seconds=100.0)
    with pytest.raises(BackendTimeoutError, match="within 100 s"):
        await kernel.llm_generate(agent(), hasty, ignore)


@virtual_time
async def test_a_call_that_waits_too_long_is_told_so() -> None:
    kernel = build(core(llm=EchoCore(seconds_per_token=60.0)), queue_seconds=5.0)
    async with anyio.create_task_group() as tg:
        tg.start_soon(kernel.llm_generate, agent(), call("a b"), ignore)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(DeadlineMissedError):
            await kernel.llm_generate(agent(), call("c"), ignore)


@virtual_time
async def test_an_agent_with_too_many_calls_in_line_is_refused_at_once() -> None:
    kernel = build(core(llm=EchoCore(seconds_per_token=1.0)), max_waiting_per_agent=1)
    async with anyio.create_task_group() as tg:
        for _ in range(2):
            tg.start_soon(kernel.llm_generate, agent(), call("a b"), ignore)
            await anyio.wait_all_tasks_blocked()
        with pytest.raises(QueueFullError):
            await kernel.llm_generate(agent(), call("c"), ignore)


@virtual_time
async def test_an_agent_s_concurrency_limit_holds_its_own_calls_back() -> None:
    kernel = build(core(llm=EchoCore(seconds_per_token=10.0), slots=4))
    single = agent(allowance=Allowance(generations_at_once=1))
    ended: list[tuple[str, float]] = []
    start = anyio.current_time()

    async def ask(owner: str) -> None:
        caller = single if owner == "ada" else agent(owner)
        await kernel.llm_generate(caller, call("a"), ignore)
        ended.append((owner, anyio.current_time() - start))

    async with anyio.create_task_group() as tg:
        for owner in ("ada", "ada", "ben"):
            tg.start_soon(ask, owner)
            await anyio.wait_all_tasks_blocked()
    assert sorted(ended) == [("ada", 10.0), ("ada", 20.0), ("ben", 10.0)]


@virtual_time
async def test_calls_above_the_rate_are_refused_until_time_has_passed() -> None:
    kernel = build()
    limited = agent(allowance=Allowance(calls_per_minute=2))
    for _ in range(2):
        await kernel.llm_generate(limited, call("a"), ignore)
    with pytest.raises(RateLimitedError) as refusal:
        await kernel.llm_generate(limited, call("a"), ignore)
    await anyio.sleep(refusal.value.retry_after_seconds)
    await kernel.llm_generate(limited, call("a"), ignore)

"""Choosing tokens from logits."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.errors import BackendRefusedError
from backends.llama_cpp import LlamaSettings, open_llama_core
from backends.llama_cpp.requests import check_limits
from backends.llama_cpp.sampling import TOP_K, Chooser, Logits, Sampling, log_probabilities
from backends.messages import GenerateRequest, Message
from tests.backends.llama_cpp.asking import ask, request

VOCABULARY = 60
unhurried = settings(deadline=None)
samplings = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.3, 1.0, 4.0]),
    top_p=st.floats(0.0, 1.0),
    min_p=st.floats(0.0, 1.0),
    repeat_penalty=st.floats(0.5, 2.0),
    presence_penalty=st.floats(-2.0, 2.0),
    frequency_penalty=st.floats(-2.0, 2.0),
    seed=st.integers(-(2**70), 2**70),
)


def random_logits(seed: int) -> Logits:
    return np.random.default_rng(seed).standard_normal(VOCABULARY).astype(np.float32) * 3


def choose_many(chooser: Chooser, seeds: range) -> list[int]:
    tokens: list[int] = []
    for seed in seeds:
        logits = random_logits(seed)
        tokens.append(chooser.choose(logits, int(logits.argmax())))
    return tokens


@unhurried
@given(sampling=samplings, told=st.integers(0, 20))
def test_a_chooser_told_of_a_beginning_goes_on_like_the_one_that_chose_it(
    sampling: Sampling, told: int
) -> None:
    whole = choose_many(Chooser(sampling, None), range(20))
    second = Chooser(sampling, None)
    second.go_on_after(whole[:told])

    assert choose_many(second, range(told, 20)) == whole[told:]


@unhurried
@given(sampling=samplings)
def test_a_token_is_never_chosen_from_beyond_the_likeliest(sampling: Sampling) -> None:
    plain = Sampling(temperature=sampling.temperature, top_p=sampling.top_p, seed=sampling.seed)
    for seed, token in enumerate(choose_many(Chooser(plain, None), range(20))):
        ranked = np.argsort(-random_logits(seed)).tolist()
        assert ranked.index(token) < TOP_K


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(temperature=2.0, min_p=1.0),
        Sampling(temperature=2.0, top_p=0.0),
        Sampling(temperature=0.001),
    ],
)
def test_limits_at_their_end_leave_only_the_likeliest(sampling: Sampling) -> None:
    tokens = choose_many(Chooser(sampling, None), range(30))

    assert tokens == [int(random_logits(seed).argmax()) for seed in range(30)]


def test_min_p_leaves_out_what_is_less_likely_than_a_share_of_the_likeliest() -> None:
    logits = np.log(np.array([0.5, 0.26, 0.24, 0.0001], np.float32))
    chosen = {
        Chooser(Sampling(temperature=1.0, min_p=0.5, seed=seed), None).choose(logits, 0)
        for seed in range(200)
    }

    assert chosen == {0, 1}


@pytest.mark.parametrize(
    ("penalty", "second"),
    [
        ({}, 0),
        ({"repeat_penalty": 1.3}, 1),
        ({"presence_penalty": 0.5}, 1),
        ({"frequency_penalty": 0.5}, 1),
        ({"repeat_penalty": 1.01, "presence_penalty": 0.05, "frequency_penalty": 0.05}, 0),
    ],
)
def test_a_penalty_makes_what_was_said_less_likely(penalty: dict[str, Any], second: int) -> None:
    logits = np.array([2.0, 1.7, -1.0], np.float32)
    chooser = Chooser(Sampling(**penalty), None)

    assert [chooser.choose(logits, 0), chooser.choose(logits, 0)] == [0, second]


def test_a_repeated_token_is_penalised_by_frequency_each_time_and_by_presence_once() -> None:
    logits = np.array([2.0, 0.9], np.float32)
    presence = Chooser(Sampling(presence_penalty=1.0), None)
    frequency = Chooser(Sampling(frequency_penalty=0.4), None)

    assert [presence.choose(logits, 0) for _ in range(4)] == [0, 0, 0, 0]
    assert [frequency.choose(logits, 0) for _ in range(4)] == [0, 0, 0, 1]


def test_a_repeat_penalty_makes_a_negative_logit_more_negative() -> None:
    logits = np.array([-1.0, -1.5], np.float32)
    chooser = Chooser(Sampling(repeat_penalty=2.0), None)

    assert [chooser.choose(logits, 0), chooser.choose(logits, 0)] == [0, 1]


@unhurried
@given(seed=st.integers(0, 2**32), count=st.integers(0, 20), token=st.integers(0, VOCABULARY - 1))
def test_log_probabilities_are_those_of_the_whole_distribution(
    seed: int, count: int, token: int
) -> None:
    logits = random_logits(seed)
    expected = logits - np.log(np.exp(logits.astype(np.float64)).sum())
    chosen, *likeliest = log_probabilities(logits, token, count)

    assert chosen[0] == token
    assert chosen[1] == pytest.approx(expected[token], abs=1e-4)
    assert [of for of, _ in likeliest] == np.argsort(-expected, kind="stable")[:count].tolist()
    assert [value for _, value in likeliest] == pytest.approx(
        np.sort(expected)[::-1][:count].tolist(), abs=1e-4
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("temperature", -0.1),
        ("top_p", 1.1),
        ("min_p", float("nan")),
        ("repeat_penalty", 0.0),
        ("presence_penalty", 2.1),
        ("frequency_penalty", float("-inf")),
        ("logprobs", 21),
    ],
)
def test_a_number_out_of_range_is_refused_by_name(key: str, value: float) -> None:
    fields: dict[str, Any] = {key: value}
    with pytest.raises(BackendRefusedError, match=f"{key} = .*must be"):
        check_limits(GenerateRequest(messages=(Message("user", "hi"),), **fields))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_answer_brings_a_log_probability_for_each_token_where_asked(
    language: LlamaSettings,
) -> None:
    plain = request("hello", max_tokens=40)
    asked = GenerateRequest(messages=plain.messages, max_tokens=40, logprobs=3)
    async with open_llama_core(language) as core:
        without = await ask(core, plain)
        answer = await ask(core, asked)

    assert without.logprobs == ()
    assert answer.text == without.text
    assert len(answer.logprobs) == answer.usage.output_tokens
    for told in answer.logprobs:
        # Greedy: what was chosen is the likeliest.
        assert told.likeliest[0] == (told.text, told.logprob)
        assert [value for _, value in told.likeliest] == sorted(
            (value for _, value in told.likeliest), reverse=True
        )
        assert len(told.likeliest) == 3
        assert told.logprob < 0.0

"""The cores to generate on: which of them an agent may use for a call, and what they cost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from aios_mcp.errors import NotPermittedError
from aios_mcp.kernel.agents import Agent
from aios_mcp.kernel.calls import GenerateCall
from aios_mcp.kernel.estimates import worst_usage
from backends.messages import Usage
from backends.protocols import LLMCore


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """USD per million tokens, which is also millionths of a dollar per token."""

    input: float
    cached_input: float
    output: float

    @property
    def triple(self) -> tuple[float, float, float]:
        """Prices of input, cached input and output."""
        return self.input, self.cached_input, self.output

    def micro_usd(self, usage: Usage) -> int:
        """Price a generation, rounded up to a millionth of a dollar."""
        fresh = usage.input_tokens - usage.cached_tokens
        exact = (
            fresh * self.input
            + usage.cached_tokens * self.cached_input
            + usage.output_tokens * self.output
        )
        return math.ceil(exact - 1e-9)


FREE = Price(input=0.0, cached_input=0.0, output=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """One core and what the configuration says of it.

    Attributes:
        price: None is unknown.
        is_loopback: It is an endpoint on this machine.
    """

    name: str
    backend: Literal["llama_cpp", "openai"]
    llm: LLMCore
    tiers: tuple[str, ...]
    slots: int
    price: Price | None
    is_loopback: bool = False

    @property
    def is_local(self) -> bool:
        """It runs on this machine."""
        return self.backend == "llama_cpp" or self.is_loopback


class Cores:
    """All cores, in the order of the configuration."""

    def __init__(self, cores: Sequence[Core]) -> None:
        self._cores: Mapping[str, Core] = {core.name: core for core in cores}

    def visible_to(self, agent: Agent) -> tuple[Core, ...]:
        """Give the cores an agent may use."""
        return tuple(core for core in self._cores.values() if _may_use(agent, core))

    def choose(self, agent: Agent, call: GenerateCall) -> tuple[Core, ...]:
        """Give the cores that an agent may use for a call: those its model and its money mean.

        Raises:
            NotPermittedError: There is none, or none for this agent: both read the same.
        """
        chosen = self._named(agent, call.model)
        allowance = agent.allowance
        if allowance.micro_usd_per_day is None and allowance.micro_usd_per_call is None:
            return chosen
        priced = tuple(core for core in chosen if core.price is not None)
        if not priced:
            raise NotPermittedError(
                f"model {call.model!r} has no known price, and agent {agent.name!r} has a budget in"
                " dollars; set `price` for the core in the configuration",
                rule="llm.usd_per_day",
            )
        return _affordable(agent, call, priced)

    def _named(self, agent: Agent, model: str) -> tuple[Core, ...]:
        allowed = self.visible_to(agent)
        named = tuple(core for core in allowed if core.name == model)
        by_tier = (
            tuple(core for core in allowed if model in core.tiers)
            if model in agent.grants.tiers
            else ()
        )
        chosen = named or by_tier
        if not chosen:
            names = sorted({core.name for core in allowed} | _tiers_of(agent, allowed))
            hint = f"available: {', '.join(names)}" if names else "no model is available to it"
            raise NotPermittedError(
                f"model {model!r} is not available to agent {agent.name!r}; {hint}", rule="llm"
            )
        return chosen


def _affordable(agent: Agent, call: GenerateCall, cores: Sequence[Core]) -> tuple[Core, ...]:
    ceiling = agent.allowance.micro_usd_per_call
    if ceiling is None:
        return tuple(cores)
    worst = worst_usage(call)
    costs = [(core.price.micro_usd(worst), core) for core in cores if core.price is not None]
    affordable = tuple(core for cost, core in costs if cost <= ceiling)
    if not affordable:
        least = min(cost for cost, _ in costs)
        raise NotPermittedError(
            f"a call of model {call.model!r} may cost up to {least / 1e6:g} USD, and"
            f" agent {agent.name!r} may spend {ceiling / 1e6:g} USD on one; lower max_tokens,"
            " shorten the messages or name a cheaper model",
            rule="llm.usd_per_call",
        )
    return affordable


def _may_use(agent: Agent, core: Core) -> bool:
    grants = agent.grants
    return core.name in grants.cores or not grants.tiers.isdisjoint(core.tiers)


def _tiers_of(agent: Agent, cores: Sequence[Core]) -> set[str]:
    return {tier for core in cores for tier in core.tiers if tier in agent.grants.tiers}

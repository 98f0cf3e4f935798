"""The cores to generate on: which of them an agent's choice means, and what they cost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from aios_mcp.errors import NotPermittedError
from aios_mcp.kernel.agents import Agent
from backends.messages import GenerateRequest, Usage
from backends.protocols import LLMCore

_MESSAGE_OVERHEAD_TOKENS = 16
_BYTES_PER_TOKEN = 4


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
    """One core and what the configuration says of it; `price` None is unknown."""

    name: str
    backend: Literal["llama_cpp", "openai"]
    llm: LLMCore
    tiers: tuple[str, ...]
    slots: int
    price: Price | None

    @property
    def is_local(self) -> bool:
        """It runs on this machine, under this kernel."""
        return self.backend == "llama_cpp"


class Cores:
    """All cores, in the order in which they are tried: local ones first, then as configured."""

    def __init__(self, cores: Sequence[Core]) -> None:
        ordered = sorted(cores, key=lambda core: not core.is_local)
        self._cores: Mapping[str, Core] = {core.name: core for core in ordered}

    def __getitem__(self, name: str) -> Core:
        return self._cores[name]

    def visible_to(self, agent: Agent) -> tuple[Core, ...]:
        """Give the cores an agent may use."""
        return tuple(core for core in self._cores.values() if _may_use(agent, core))

    def choose(self, agent: Agent, model: str) -> tuple[Core, ...]:
        """Give the cores that a core's name or a tier means, in order of preference.

        Raises:
            NotPermittedError: There is none, or none for this agent: both read the same.
        """
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
        if agent.allowance.micro_usd_per_day is None:
            return chosen
        priced = tuple(core for core in chosen if core.price is not None)
        if not priced:
            raise NotPermittedError(
                f"model {model!r} has no known price, and agent {agent.name!r} has a budget in"
                " dollars; set `price` for the core in the configuration",
                rule="llm.usd_per_day",
            )
        return priced


def most_tokens(request: GenerateRequest) -> int:
    """Bound the tokens of a prompt from above: a token is at least one byte of UTF-8."""
    return sum(
        len(message.text.encode("utf-8", "replace")) + _MESSAGE_OVERHEAD_TOKENS
        for message in request.messages
    )


def likely_tokens(request: GenerateRequest) -> int:
    """Estimate the tokens of a prompt, for calls that end before the core has counted them."""
    return math.ceil(most_tokens(request) / _BYTES_PER_TOKEN)


def _may_use(agent: Agent, core: Core) -> bool:
    grants = agent.grants
    return core.name in grants.cores or not grants.tiers.isdisjoint(core.tiers)


def _tiers_of(agent: Agent, cores: Sequence[Core]) -> set[str]:
    return {tier for core in cores for tier in core.tiers if tier in agent.grants.tiers}

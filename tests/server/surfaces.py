"""Servers over scripted kernels."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Literal

from aios_mcp.kernel import Agent, Agents, Allowance, Grants, Kernel
from aios_mcp.server import AiosServer, Surface, build_server
from backends.scripted_memories import ListMemories
from tests.kernel.kernels import NOW, agent, build

SECRETS = {"ada": "ada-secret", "bob": "bob-secret"}


def memories() -> ListMemories:
    """Give a store in memory whose ids are m1, m2 and so on."""
    numbers = itertools.count(1)
    return ListMemories(now=lambda: NOW, new_id=lambda: f"m{next(numbers)}")


def known(*some: Agent) -> Agents:
    """Give ada, and others, each with a secret where there is one."""
    everyone = {each.name: each for each in some or (agent(),)}
    secrets = {name: SECRETS[name] for name in everyone if name in SECRETS}
    return Agents(everyone, secrets=secrets, token_key=b"k" * 32, now=lambda: NOW)


def limited(name: str) -> Agent:
    """Give an agent that may echo but not wait, with a budget for one long answer at a time."""
    grants = Grants(
        tools=(("demo.echo",),),
        read=("self/*", "shared"),
        write=("self/*", "shared"),
        tiers=frozenset({"balanced"}),
        max_tokens=1000,
    )
    return agent(name, grants=grants, allowance=Allowance(tokens_per_day=8000))


def server(
    kernel: Kernel | None = None,
    *,
    agents: Agents | None = None,
    default_agent: str = "ada",
    expose: Literal["gateway", "passthrough"] = "gateway",
    exposed: Mapping[str, Sequence[str]] | None = None,
) -> AiosServer:
    """Give a server; without more, ada may do everything and keeps memories in a list."""
    return build_server(
        Surface(
            kernel=kernel or build(memories=memories()),
            agents=agents or known(),
            default_agent=default_agent,
            expose=expose,
            exposed=exposed or {},
        )
    )

"""Agents, the processes of this OS: who they are, what they may do, what they may spend."""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from aios_mcp.errors import NotFoundError
from aios_mcp.kernel import tokens
from aios_mcp.kernel.capabilities import Grants


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What an agent may use up; None is no limit.

    Attributes:
        tokens_per_day: Tokens a day (UTC), prompts included.
        micro_usd_per_day: Millionths of a dollar a day (UTC).
        micro_usd_per_call: Millionths of a dollar that one generation may cost at most.
        calls_per_minute: Calls of any kind.
        generations_at_once: Generations that may run at the same time.
        memory_rows: Most memories in its own partition.
        memory_bytes: Most bytes in its own partition.
        adds_per_minute: Memories it may add, wherever to.
    """

    tokens_per_day: int | None = None
    micro_usd_per_day: int | None = None
    micro_usd_per_call: int | None = None
    calls_per_minute: int | None = None
    generations_at_once: int | None = None
    memory_rows: int = 100_000
    memory_bytes: int = 500_000_000
    adds_per_minute: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A caller with its rights. Its name is the account that pays and its private partition.

    Attributes:
        superior: The agent whose sub-agent it is: what this one uses counts towards both budgets,
            and the two have one share of the slots.
        errand: The token of the errand that it calls for, as it says itself; see `errands`.
    """

    name: str
    grants: Grants = field(default_factory=Grants)
    allowance: Allowance = field(default_factory=Allowance)
    superior: "Agent | None" = None
    errand: str = field(default="", repr=False)

    @property
    def top(self) -> str:
        """The name of its superior, or its own."""
        return self.name if self.superior is None else self.superior.name


class Agents:
    """The known agents, and how a credential names one of them.

    A credential is either an agent's own secret, compared by digest in constant time, or a
    capability token, which names an agent and narrows its rights.
    """

    def __init__(
        self,
        agents: Mapping[str, Agent],
        *,
        secrets: Mapping[str, str],
        token_key: bytes,
        now: Callable[[], float],
    ) -> None:
        self._agents = dict(agents)
        self._digests = {name: _digest(secret) for name, secret in secrets.items()}
        self._token_key = token_key
        self._now = now

    @property
    def has_credentials(self) -> bool:
        """Some agent has a secret of its own."""
        return bool(self._digests)

    def get(self, name: str) -> Agent:
        """Give an agent by name.

        Raises:
            NotFoundError: There is none of that name.
        """
        agent = self._agents.get(name)
        if agent is None:
            known = ", ".join(sorted(self._agents))
            raise NotFoundError(f"no agent {name!r} in the configuration; there are: {known}")
        return agent

    def by_token(self, token: str) -> Agent | None:
        """Give the agent a bearer token stands for, or None for an unknown or expired one."""
        if token.startswith(tokens.PREFIX):
            return self._by_capability(token)
        presented = _digest(token)
        found: Agent | None = None
        for name, digest in self._digests.items():  # all of them: no early exit to time
            if hmac.compare_digest(digest, presented):
                found = self._agents[name]
        return found

    def _by_capability(self, token: str) -> Agent | None:
        try:
            capability = tokens.verify(token, self._token_key, now=self._now())
        except tokens.TokenRefusedError:
            return None
        agent = self._agents.get(capability.agent)
        if agent is None:
            return None
        grants = agent.grants
        for caveats in capability.caveats:
            grants = grants.narrow(
                tools=caveats.tools,
                deny=caveats.deny or (),
                tiers=caveats.tiers,
                max_tokens=caveats.max_tokens,
                read=caveats.read,
                write=caveats.write,
            )
        return replace(agent, grants=grants)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()

"""Who is calling. The connection says it, never an argument and never the client's own name.

On whose behalf it calls is what the request says; that gives no right.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from mcp.server.context import ServerRequestContext
from starlette.requests import Request

from aios_mcp.errors import NotPermittedError
from aios_mcp.kernel import Agent, Agents
from backends.messages import ERRAND_KEY

AGENT_KEY = "aios.agent"
"""Where the HTTP side puts the authenticated `Agent`: a key of the request's ASGI scope."""


def agent_of(ctx: ServerRequestContext[Any, Any], agents: Agents, default_agent: str) -> Agent:
    """Give the agent of one request: asked anew each time, so that a revoked token ends at once.

    Args:
        ctx: The request.
        agents: Those who are known.
        default_agent: Whom requests speak for that came over no HTTP: stdio and in memory.

    Raises:
        NotFoundError: The default agent is not in the configuration.
        NotPermittedError: An HTTP request that nobody authenticated.
    """
    request: object = ctx.request
    if not isinstance(request, Request):
        agent: object = agents.get(default_agent)
    else:
        agent = request.scope.get(AGENT_KEY)
    if not isinstance(agent, Agent):
        raise NotPermittedError("the request carries no credential", rule="identity")
    errand = cast("Mapping[str, object]", ctx.meta or {}).get(ERRAND_KEY)
    return replace(agent, errand=errand) if isinstance(errand, str) else agent

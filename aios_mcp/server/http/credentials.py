"""Who calls: the bearer token of each request names the agent."""

import hashlib
import re

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from aios_mcp.kernel import Agents
from aios_mcp.server.http.answers import refusal
from aios_mcp.server.identity import AGENT_KEY

_BEARER = re.compile(r"bearer +(?P<token>\S+)", re.IGNORECASE)
_CHALLENGE = 'Bearer realm="aios-mcp"'


class Credentials:
    """ASGI: puts the authenticated agent into the request's scope, or answers 401.

    Once any agent has a secret, every request needs a token, from loopback too. Without one,
    requests that present no token speak for the default agent, whose door is loopback only.

    Sessions belong to the very token that opened them: the SDK compares `scope["user"]`, and
    answers others as if there were no such session.
    """

    def __init__(self, app: ASGIApp, *, agents: Agents, default_agent: str) -> None:
        self._app = app
        self._agents = agents
        self._default_agent = default_agent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one exchange."""
        refused = self._authenticate(scope)
        await (refused or self._app)(scope, receive, send)

    def _authenticate(self, scope: Scope) -> Response | None:
        values = Headers(scope=scope).getlist("authorization")
        if len(values) > 1:
            return _challenge(400, "invalid_request", "more than one Authorization header")
        found = _BEARER.fullmatch(values[0]) if values else None
        if found is None:
            if values or self._agents.has_credentials:
                return _challenge(401)
            scope[AGENT_KEY] = self._agents.get(self._default_agent)
            return None
        agent = self._agents.by_token(found["token"])
        if agent is None:
            return _challenge(401, "invalid_token", "the token is unknown or has expired")
        digest = hashlib.sha256(found["token"].encode("utf-8", "surrogatepass")).hexdigest()
        access = AccessToken(token=digest, client_id=agent.name, scopes=[], subject=digest)
        scope[AGENT_KEY] = agent
        scope["user"] = AuthenticatedUser(access)
        return None


def _challenge(status: int, error: str | None = None, reason: str | None = None) -> Response:
    # RFC 6750, section 3.1: no error code where no credential was sent.
    parts = [_CHALLENGE]
    if error is not None:
        parts += [f'error="{error}"', f'error_description="{reason}"']
    return refusal(status, reason or "needs a bearer token", {"WWW-Authenticate": ", ".join(parts)})

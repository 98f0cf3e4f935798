"""What supervisors ask: `/healthz` (the loop turns) and `/readyz` (calls can be served).

Both need no credential and name nothing.
"""

import inspect
import logging
from collections.abc import Awaitable, Callable

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

_CHECK_SECONDS = 2.0
_REMEMBER_SECONDS = 1.0

IsReady = Callable[[], Awaitable[bool] | bool]
"""Says whether the kernel can do its work, such as write to its store."""


logger = logging.getLogger(__name__)


class Health:
    """Answers both. Readiness is asked at most once a second, whoever knocks."""

    def __init__(self, is_ready: IsReady, is_draining: Callable[[], bool]) -> None:
        self._is_ready = is_ready
        self._is_draining = is_draining
        self._lock = anyio.Lock()
        self._known = False
        self._known_until = float("-inf")

    def routes(self) -> list[Route]:
        """Give the routes of both."""
        return [Route("/healthz", self._alive), Route("/readyz", self._ready)]

    async def _alive(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _ready(self, _: Request) -> Response:
        if self._is_draining():
            return JSONResponse({"status": "draining"}, 503)
        async with self._lock:
            if anyio.current_time() >= self._known_until:
                self._known = await self._ask()
                self._known_until = anyio.current_time() + _REMEMBER_SECONDS
        if not self._known:
            return JSONResponse({"status": "not ready"}, 503)
        return JSONResponse({"status": "ready"})

    async def _ask(self) -> bool:
        try:
            with anyio.move_on_after(_CHECK_SECONDS):
                answer = self._is_ready()
                return await answer if inspect.isawaitable(answer) else answer
        except Exception:
            logger.exception("readiness check failed")
        return False

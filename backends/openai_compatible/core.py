"""An LLM core over one model of an OpenAI-compatible endpoint."""

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import TYPE_CHECKING, cast

import anyio
import httpx2
import openai

from backends.errors import (
    BackendError,
    BackendRefusedError,
    BackendTimeoutError,
    BackendUnavailableError,
)
from backends.messages import Completion, CoreStatus, GenerateRequest
from backends.openai_compatible.answer import Answer
from backends.openai_compatible.breaker import Breaker, Ticket
from backends.openai_compatible.client import closing, open_client
from backends.openai_compatible.failures import (
    TRANSPORT_ERRORS,
    CredentialRefusedError,
    EndpointBusyError,
    from_status,
    from_transport,
    rejects_stream_options,
)
from backends.openai_compatible.prompt import chat_messages, request_fields
from backends.openai_compatible.settings import OpenAISettings
from backends.openai_compatible.stream import DONE, check_is_stream, event_data
from backends.protocols import Emit, Turn
from backends.turns import UNINTERRUPTED

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam

_CREDENTIAL_SECONDS = 300.0
_USAGE_SECONDS = 2.0
_END_SECONDS = 0.2


class OpenAICore:
    """Generates text at an endpoint; see `backends.protocols.LLMCore`."""

    def __init__(
        self, settings: OpenAISettings, client: openai.AsyncOpenAI, *, now: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._client = client
        self._now = now
        self._breaker = Breaker()
        self._trouble = ""
        self._is_busy = False
        self._asks_usage = True
        self._reports_usage = True

    async def generate(
        self, request: GenerateRequest, emit: Emit, turn: Turn = UNINTERRUPTED, /
    ) -> Completion:
        """Generate an answer; cancelling the call closes the connection to the endpoint.

        Raises:
            BackendUnavailableError: The endpoint failed, is busy, refuses the API key, or is not
                tried because it did so a moment ago; carries when to try again.
            BackendTimeoutError: It was silent for too long, or the answer took too long.
            BackendRefusedError: It does not take this request.
            IncompleteAnswerError: The answer broke off.
        """
        settings = self._settings
        fields = request_fields(settings, request)
        ticket = self._admit()
        answer = Answer(settings, request)

        def begin() -> None:
            if first.deadline < math.inf:
                first.deadline = math.inf
                self._breaker.answers(ticket)

        try:
            with (
                anyio.move_on_after(settings.total_deadline_seconds) as total,
                anyio.move_on_after(settings.first_token_deadline_seconds) as first,
            ):
                await self._stream(request, fields, answer, emit, begin)
            is_late = total.cancelled_caught or first.cancelled_caught
            completion = None if is_late else answer.completion()
        except BackendError as exc:
            self._note_failure(ticket, exc)
            raise
        except BaseException:
            # Cancelled, or `emit` failed: that says nothing of the endpoint.
            self._breaker.abandon(ticket)
            raise
        if completion is None:
            raise self._too_late(ticket, answer)
        self._breaker.succeed(ticket)
        self._reports_usage = answer.has_reported_usage
        return completion

    def status(self) -> CoreStatus:
        """Say what this core is and how it is."""
        is_open = not self._breaker.is_closed
        resting_seconds = self._breaker.wait_seconds(self._now()) if is_open else 0.0
        note = "" if self._reports_usage else "the endpoint reports no usage: tokens are estimated"
        return CoreStatus(
            model=self._settings.model,
            state="failed" if is_open and not self._is_busy else "ready",
            context_tokens=self._settings.context_tokens,
            note=self._trouble if is_open else note,
            takes_schema="schema" not in self._settings.lacks,
            takes_tools="tools" not in self._settings.lacks,
            resting_seconds=resting_seconds,
        )

    async def _stream(
        self,
        request: GenerateRequest,
        fields: dict[str, object],
        answer: Answer,
        emit: Emit,
        begin: Callable[[], None],
    ) -> None:
        async with AsyncExitStack() as stack:
            response = await self._open(stack, request, fields)
            events = await stack.enter_async_context(aclosing(event_data(self._settings, response)))
            is_done = False
            while (data := await _next(events, answer, is_done=is_done)) is not None:
                if is_done or data == DONE:
                    is_done = True
                    continue
                piece = answer.take(data)
                if piece is not None:
                    begin()
                    await emit(piece)
        last = answer.finish()
        if last is not None:
            await emit(last)

    async def _open(
        self, stack: AsyncExitStack, request: GenerateRequest, fields: dict[str, object]
    ) -> httpx2.Response:
        asks_usage = self._asks_usage
        asked = {"stream_options": {"include_usage": True}} if asks_usage else {}
        try:
            response = await self._send(request, {**fields, **asked})
        except openai.APIStatusError as exc:
            if not (asks_usage and rejects_stream_options(exc)):
                raise from_status(self._settings, exc, max_tokens=request.max_tokens) from None
            self._asks_usage = False
            return await self._open(stack, request, fields)
        except TRANSPORT_ERRORS as exc:
            raise from_transport(self._settings, exc) from None
        await stack.enter_async_context(closing(response))
        check_is_stream(self._settings, response)
        return response

    async def _send(self, request: GenerateRequest, fields: dict[str, object]) -> httpx2.Response:
        messages = cast("list[ChatCompletionMessageParam]", chat_messages(request))
        # The events are read here and not by the client, which takes a broken stream for a whole
        # one, has no bound on its size, and builds a model of each chunk.
        stream = await self._client.chat.completions.create(
            model=self._settings.model, messages=messages, stream=True, extra_body=fields
        )
        return stream.response

    def _admit(self) -> Ticket:
        now = self._now()
        ticket = self._breaker.admit(now)
        if ticket is None:
            raise BackendUnavailableError(
                f"not tried again yet: {self._trouble}",
                retry_after_seconds=self._breaker.wait_seconds(now),
            )
        return ticket

    def _note_failure(self, ticket: Ticket, failure: BackendError) -> None:
        now = self._now()
        if isinstance(failure, BackendRefusedError):
            self._breaker.succeed(ticket)  # the endpoint is well, it is the request that is not
            return
        self._trouble = str(failure)
        self._is_busy = isinstance(failure, EndpointBusyError)
        if isinstance(failure, CredentialRefusedError):
            self._breaker.pause(ticket, now, _CREDENTIAL_SECONDS)
        elif isinstance(failure, EndpointBusyError):
            self._breaker.pause(ticket, now, failure.retry_after_seconds)
        else:
            self._breaker.fail(ticket, now)
        if isinstance(failure, BackendUnavailableError) and not self._breaker.is_closed:
            failure.retry_after_seconds = self._breaker.wait_seconds(now)

    def _too_late(self, ticket: Ticket, answer: Answer) -> BackendTimeoutError:
        core = f"core {self._settings.name!r}"
        if answer.has_begun:
            self._breaker.abandon(ticket)  # a long answer is no failure of the endpoint
            seconds = self._settings.total_deadline_seconds
            return BackendTimeoutError(
                f"{core}: the answer took more than {seconds:g} s;"
                " ask for fewer tokens or raise limits.generate_seconds"
            )
        failure = BackendTimeoutError(
            f"{core}: nothing of an answer came in time; raise first_token_seconds of the core"
            " if its model takes longer to begin"
        )
        self._note_failure(ticket, failure)
        return failure


@asynccontextmanager
async def open_openai_core(settings: OpenAISettings) -> AsyncGenerator[OpenAICore]:
    """Open a core; its connections are made when needed and end with the block."""
    async with open_client(settings) as client:
        yield OpenAICore(settings, client, now=anyio.current_time)


async def _next(events: AsyncGenerator[str], answer: Answer, *, is_done: bool) -> str | None:
    """Give the next event, or None at the end: also where only the usage did not come any more."""
    try:
        if not (is_done or answer.is_finished):
            return await anext(events, None)
        with anyio.move_on_after(_END_SECONDS if is_done else _USAGE_SECONDS):
            return await anext(events, None)
    except (BackendUnavailableError, BackendTimeoutError) as exc:
        if answer.is_finished:
            return None
        if answer.has_begun and isinstance(exc, BackendUnavailableError):
            raise answer.broken("the connection broke off within the answer") from None
        raise
    return None

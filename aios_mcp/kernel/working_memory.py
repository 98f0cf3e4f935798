"""The last exchanges of a session in front of the next prompt."""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from aios_mcp.kernel.agents import Agent
from aios_mcp.kernel.calls import ForgetCall, GenerateCall, Generation
from aios_mcp.kernel.capabilities import SELF, covers
from aios_mcp.kernel.deadlines import deadline
from aios_mcp.kernel.estimates import likely_tokens
from aios_mcp.kernel.permissions import check_namespace
from backends.errors import StoreError
from backends.messages import Exchange, GenerateRequest, Message
from backends.protocols import Sessions

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recalled:
    """A call with what was said before, and the ids of the calls in which it was."""

    call: GenerateCall
    requests: tuple[str, ...] = ()


class WorkingMemory:
    """What each agent said last in each of its sessions.

    It belongs to what the agent may call `self`: a token without the right to read that recalls
    nothing, and one without the right to write it leaves nothing behind.
    """

    def __init__(
        self,
        sessions: Sessions | None,
        *,
        now: Callable[[], float],
        extracts: Collection[str] = (),
        seconds: float = 30.0,
    ) -> None:
        """Keep what it works with.

        Args:
            sessions: Where exchanges are kept; None keeps none.
            now: Gives Unix seconds.
            extracts: Agents from whose sessions memories are to be extracted.
            seconds: Longest time that recalling may take.
        """
        self._sessions = sessions
        self._now = now
        self._extracts = extracts
        self._seconds = seconds

    async def recall(self, agent: Agent, call: GenerateCall) -> Recalled:
        """Put the last exchanges that a call asks for in front of its prompt, if there is room.

        They get half of the room, or all of it where no memories are wanted; those get the rest.

        Raises:
            NotPermittedError: The agent may not read its own memories.
            StoreError: The database could not be read.
        """
        memory = call.memory
        if self._sessions is None or memory is None or not (memory.turns and call.session):
            return Recalled(call)
        check_namespace(agent, agent.grants.read, SELF, "read")
        with deadline(self._seconds, StoreError, "the session"):
            exchanges = await self._sessions.last(agent.name, call.session, memory.turns)
        room = memory.max_tokens // 2 if memory.k else memory.max_tokens
        left, kept = room, list[Exchange]()
        for each in reversed(exchanges):
            needed = likely_tokens(GenerateRequest(messages=_messages(each)))
            if needed > left:
                break
            left, kept = left - needed, [each, *kept]
        messages = [message for each in kept for message in _messages(each)]
        return Recalled(
            replace(
                call,
                request=_put_in_front(call.request, messages),
                memory=replace(memory, max_tokens=memory.max_tokens - room + left),
            ),
            tuple(each.request for each in kept),
        )

    async def keep(self, agent: Agent, call: GenerateCall, answer: Generation) -> None:
        """Keep what was asked and answered, where the session will want it.

        An answer is one although it could not be kept.
        """
        if self._sessions is None or not call.session:
            return
        extract = agent.name in self._extracts
        is_wanted = extract or (call.memory is not None and call.memory.turns)
        asked = [each.text for each in call.request.messages if each.role == "user" and each.text]
        if not (is_wanted and asked and answer.text.strip() and not answer.calls):
            return
        if not _may_write(agent):
            return
        exchange = Exchange(
            agent=agent.name,
            session=call.session,
            request=answer.request_id,
            asked=asked[-1],
            answered=answer.text,
            at=self._now(),
        )
        try:
            await self._sessions.keep(exchange, extract=extract)
        except StoreError:
            logger.warning("exchange not kept", extra={"request_id": answer.request_id})

    async def forget(self, agent: Agent, call: ForgetCall) -> int:
        """Forget what was said in a session; returns how many exchanges.

        Exchanges have neither kinds nor tags, so a filter by these leaves them.

        Raises:
            StoreError: The database could not be written.
        """
        chosen, namespace = call.selection, call.namespace or SELF
        if self._sessions is None or not chosen.session or chosen.kinds or chosen.tags:
            return 0
        if not (covers(namespace, SELF) and _may_write(agent)):
            return 0
        return await self._sessions.forget(agent.name, chosen.session, until=chosen.until)


def _may_write(agent: Agent) -> bool:
    return any(covers(pattern, SELF) for pattern in agent.grants.write)


def _messages(exchange: Exchange) -> tuple[Message, Message]:
    return Message("user", exchange.asked), Message("assistant", exchange.answered)


def _put_in_front(request: GenerateRequest, messages: list[Message]) -> GenerateRequest:
    """Give the request with messages behind its instructions, before all else."""
    own = request.messages
    first = next((n for n, each in enumerate(own) if each.role != "system"), len(own))
    return replace(request, messages=(*own[:first], *messages, *own[first:]))

"""The newest events of resumable streams."""

from collections import deque
from itertools import count

from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp_types import JSONRPCMessage

_MOST = 1000


class RecentEvents(EventStore):
    """Keeps a bounded number of events.

    The SDK names streams by request id alone, so that two sessions share their events: one reason
    why this serves the conformance suite and nobody else.
    """

    def __init__(self) -> None:
        self._events = deque[tuple[str, str, JSONRPCMessage | None]](maxlen=_MOST)
        self._ids = count(1)

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        """Keep an event; give its id."""
        event_id = str(next(self._ids))
        self._events.append((event_id, stream_id, message))
        return event_id

    async def replay_events_after(
        self, last_event_id: str, send_callback: EventCallback
    ) -> str | None:
        """Send what its stream carried after an event; give the stream, or None if unknown."""
        events = list(self._events)
        start = next((i for i, event in enumerate(events) if event[0] == last_event_id), None)
        if start is None:
            return None
        stream_id = events[start][1]
        for event_id, of, message in events[start + 1 :]:
            if of == stream_id and message is not None:
                await send_callback(EventMessage(message, event_id))
        return stream_id

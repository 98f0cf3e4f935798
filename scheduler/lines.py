"""All lines, and which of their first jobs may start."""

from collections.abc import Mapping

from scheduler.jobs import NoResourceError
from scheduler.lanes import Lanes
from scheduler.resources import Resource
from scheduler.shares import Share
from scheduler.tickets import Place, Queue, Ticket
from scheduler.waiting import Line

_IDLE_LINES = 64


class Lines:
    """The lines, by what their jobs have in common.

    Attributes:
        active: Those with jobs in them.
    """

    def __init__(self, resources: Mapping[str, Resource], lanes: Lanes) -> None:
        self._resources = resources
        self._lanes = lanes
        self._places: dict[tuple[tuple[str, ...], tuple[float, ...], int], Place] = {}
        self.active: dict[Place, Line] = {}
        # Empty ones are kept, as they are soon wanted again, but not looked at.
        self._idle: dict[Place, Line] = {}
        self._held_back: dict[Share, dict[Queue, Line]] = {}

    def place(self, resources: tuple[str, ...], handicaps: tuple[float, ...], band: int) -> Place:
        """Give the place of jobs that have this in common.

        Raises:
            NoResourceError: None of the resources exists.
        """
        name = (resources, handicaps, band)
        place = self._places.get(name)
        if place is None:
            if self._resources.keys().isdisjoint(resources):
                raise NoResourceError("nothing here can run this call")
            if len(self._places) > 2 * len(self.active) + _IDLE_LINES:
                self._forget()
            place = self._places[name] = Place(resources, handicaps, band)
        return place

    def at(self, place: Place) -> Line:
        """Give the line of a place, which may be empty."""
        line = self.active.get(place) or self._idle.get(place)
        return self._new(place) if line is None else line

    def push(self, ticket: Ticket) -> None:
        """Put a ticket in its line."""
        line = self.active.get(ticket.place)
        if line is None:
            line = self._idle.pop(ticket.place, None)
            if line is None:
                line = self._new(ticket.place)
            self.active[ticket.place] = line
        line.push(ticket)

    def head(self, line: Line) -> Ticket | None:
        """Give the first ticket of a line whose owner is within its limit."""
        while (head := line.head()) is not None:
            limit = head.job.agent_limit
            if limit is None or head.is_exempt or self._lanes.running(head) < limit:
                return head
            # Out of the decision until one of the owner's own jobs ends: others must pass.
            self._held_back.setdefault(head.share, {})[line.hold_back()] = line
        return None

    def pop(self, line: Line) -> Ticket:
        """Take the ticket that `head` has just given."""
        ticket = line.pop()
        if not line:
            self._put_by(line)
        return ticket

    def drop(self, ticket: Ticket) -> None:
        """Take a ticket out, wherever it stands."""
        line = self.active[ticket.place]
        line.drop(ticket)
        if not line:
            self._put_by(line)

    def let_forward(self, ticket: Ticket) -> None:
        """Look again at the jobs of an agent, one of which has ended."""
        if not self._held_back:
            return
        for share in self._lanes.shares_of(ticket):
            for queue, line in self._held_back.pop(share, {}).items():
                line.bring_back(queue)

    def move_forward(self, top: Share) -> None:
        """Put queues where they belong, now that work was taken back from their counter."""
        for line in self.active.values():
            for share in (top, *top.members.values()):
                for queue in line.queues_of(share):
                    line.bring_back(queue)

    def _new(self, place: Place) -> Line:
        return Line(place, self._resources, self._lanes.policies[place.band])

    def _put_by(self, line: Line) -> None:
        del self.active[line.place]
        self._idle[line.place] = line

    def _forget(self) -> None:
        # A place that somebody still holds may come back beside its like, which does no harm.
        self._idle.clear()
        self._places = {name: place for name, place in self._places.items() if place in self.active}

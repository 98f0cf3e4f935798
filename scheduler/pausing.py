"""Which running job stands still for one that waits."""

from scheduler.lanes import Lanes
from scheduler.tickets import Ticket
from scheduler.waiting import Line


def one_to_pause(line: Line, head: Ticket, lanes: Lanes) -> Ticket | None:
    """Give the running job that should go on last of those that give way to the first of a line."""
    for choice in line.choices:
        if not choice.resource.may_pause(head):
            continue
        found = [
            running
            for running in choice.resource.running.values()
            if running.is_alone and lanes.gives_way(running, head)
        ]
        if found:
            return max(found, key=lanes.order)
    return None

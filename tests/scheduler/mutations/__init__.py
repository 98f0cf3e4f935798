"""Faults to put into the scheduler, each of which its tests must find."""

from typing import NamedTuple


class Mutation(NamedTuple):
    """A fault: in a file of the package, one text in place of another that occurs once."""

    file: str
    old: str
    new: str


MUTATIONS: tuple[Mutation, ...] = (
    # scheduler.py
    Mutation("scheduler.py", "            resource.free -= 1\n", "            pass\n"),
    Mutation(
        "scheduler.py",
        "            if not ticket.is_exempt:\n                ticket.share.running += 1\n",
        "            ticket.share.running += 1\n",
    ),
    Mutation("scheduler.py", "used > ticket.used:", "used >= 0:"),
    Mutation("scheduler.py", "                running.is_asked = True\n", ""),
    Mutation(
        "scheduler.py",
        "        self._give_back(ticket, resource)\n        ticket.is_waiting",
        "        ticket.is_waiting",
    ),
    Mutation("scheduler.py", "        ticket.place = ((resource.name,), ())\n", ""),
    Mutation("scheduler.py", "        resource.paused += 1\n", ""),
    Mutation(
        "scheduler.py",
        "            ticket.is_over = True\n            resource",
        "            resource",
    ),
    Mutation(
        "scheduler.py",
        "head.is_exempt or head.share.running < limit",
        "head.is_exempt or head.share.running <= limit",
    ),
    Mutation("scheduler.py", "limit is None or head.is_exempt or", "limit is None or"),
    Mutation("scheduler.py", "            if self._held_back:\n", "            if False:\n"),
    Mutation("scheduler.py", "            self._place_anew(top)\n", ""),
    Mutation("scheduler.py", "            self._shares.lower(top, ticket.job)\n", ""),
    Mutation("scheduler.py", "        self._shares.leave(ticket.share, ticket.job)\n", ""),
    Mutation(
        "scheduler.py",
        "        ticket.is_waiting = ticket.is_asked = False\n",
        "        ticket.is_waiting = False\n",
    ),
    Mutation("scheduler.py", "        ticket.used_before = ticket.used\n", ""),
    Mutation("scheduler.py", "        ticket.is_asked = False\n        del", "        del"),
    Mutation(
        "scheduler.py", "            borrower.lender = lender  # with", "            pass  # with"
    ),
    Mutation("scheduler.py", "        ticket.is_exempt = True\n", ""),
    Mutation("scheduler.py", "        lender.borrower = None\n        for", "        for"),
    Mutation("pausing.py", "return max(found", "return min(found"),
    Mutation("scheduler.py", "        if left_seconds < 0:", "        if left_seconds < -100:"),
    Mutation("outlook.py", "mine.live * len(line.queues)", "len(line)"),
    Mutation("scheduler.py", ">= MAX_DEPTH:", "> MAX_DEPTH:"),
    # waiting.py
    Mutation(
        "waiting.py",
        "        if queue.heap[0][2] is ticket:\n            self.bring_back(queue)\n",
        "        if queue.live == 1:\n            self.bring_back(queue)\n",
    ),
    Mutation("waiting.py", "and head.arrival == arrival:", ":"),
    Mutation(
        "waiting.py", "if now[0] == first and now[1] == second and", "if now[1] == second and"
    ),
    Mutation(
        "waiting.py",
        "            self.bring_back(queue)\n        elif",
        "            queue.head()\n        elif",
    ),
    Mutation("waiting.py", "        self.cost -= ticket.job.cost\n", ""),
    Mutation("waiting.py", "        queue.version = self._entries\n", ""),
    Mutation("waiting.py", "        self._entries += 1\n", ""),
    # tickets.py
    Mutation("tickets.py", "self.lane = min(self.lane, parent.lane)", "self.lane = self.lane"),
    Mutation(
        "tickets.py",
        "self.lender is None and self.borrower is None and not self.is_asked",
        "self.borrower is None and not self.is_asked",
    ),
    Mutation(
        "tickets.py", "above.is_running and above.borrower is None and", "above.is_running and"
    ),
    # shares.py
    Mutation("shares.py", "max(share.counter, self._least())", "share.counter"),
    Mutation(
        "shares.py",
        "            if not share.live_below or number != share.entry:",
        "            if number != share.entry:",
    ),
    Mutation("shares.py", "            elif counter != share.counter:", "            elif False:"),
    Mutation("shares.py", "            _lift_among_siblings(share)\n", "            pass\n"),
    Mutation(
        "shares.py",
        "            if share.live_below or share.counter > least\n",
        "            if share.live_below\n",
    ),
    # policies
    Mutation(
        "policies/fair.py",
        "share.top.counter += work / self._weights.get(share.top.agent, 1.0)",
        "share.top.counter += work",
    ),
    Mutation("policies/fair.py", "max(due, charged or 1.0)", "max(due, charged)"),
    Mutation("policies/fair.py", "running.ran >= self._quantum and behind", "behind"),
    Mutation("policies/fair.py", "behind.counter + gap < ahead", "behind.counter <= ahead"),
    Mutation(
        "policies/fair.py",
        "(used - first) * self._output_weight",
        "(used - first) * self._prompt_weight",
    ),
    Mutation(
        "policies/priority.py", "head.lane < running.lane and", "head.lane <= running.lane and"
    ),
    Mutation("policies/priority.py", " and head.rank < running.rank", ""),
    Mutation(
        "policies/deadline.py",
        "return head.rank < running.rank",
        "return head.rank <= running.rank",
    ),
    Mutation("policies/round_robin.py", "return is_over and", "return"),
    # admission.py
    Mutation(
        "admission.py",
        "        if mine + 1 < len(self._agents_with) - 1:",
        "        if mine < len(self._agents_with) - 1:",
    ),
    Mutation(
        "admission.py",
        "        if mine >= self._most_per_agent:",
        "        if mine > self._most_per_agent:",
    ),
    Mutation("admission.py", "next(reversed(max(", "next(iter(max("),
    # dispatcher.py and resources.py
    Mutation("dispatcher.py", "each.resource.name != warm", "each.resource.name == warm"),
    Mutation("dispatcher.py", "> patience:", "< patience:"),
    Mutation("dispatcher.py", "return head.since + patience", "return head.since"),
    Mutation("resources.py", "head.has_started or self.paused < self.slots", "True"),
    Mutation("resources.py", "self.is_pausable and", "True and"),
    Mutation("resources.py", "return self.slots * self._cost", "return self._cost"),
)

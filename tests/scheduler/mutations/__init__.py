"""Faults to put into the scheduler, each of which its tests must find."""

from typing import NamedTuple


class Mutation(NamedTuple):
    """A fault: in a file of the package, one text in place of another that occurs once."""

    file: str
    old: str
    new: str


MUTATIONS: tuple[Mutation, ...] = (
    Mutation("scheduler.py", "            resource.free -= 1\n", ""),
    Mutation(
        "scheduler.py",
        "            if not ticket.is_exempt:\n                ticket",
        "            if True:\n                ticket",
    ),
    Mutation("scheduler.py", "used > ticket.used:", "used >= 0:"),
    Mutation("scheduler.py", "                running.is_asked = True\n", ""),
    Mutation(
        "scheduler.py",
        "        self._give_back(ticket, resource)\n        ticket.is_waiting",
        "        ticket.is_waiting",
    ),
    Mutation(
        "scheduler.py",
        "        ticket.place = self._lines.place((resource.name,), (), ticket.band)\n",
        "",
    ),
    Mutation("scheduler.py", "        resource.paused += 1\n", ""),
    Mutation(
        "scheduler.py",
        "            ticket.is_over = True\n            resource",
        "            resource",
    ),
    Mutation("scheduler.py", "            self._lines.move_forward(top)\n", ""),
    Mutation("scheduler.py", "            shares.lower(top, ticket.job)\n", ""),
    Mutation("scheduler.py", "        shares.leave(ticket.share, ticket.job)\n", ""),
    Mutation("scheduler.py", "        ticket.used_before = ticket.used\n", ""),
    Mutation("scheduler.py", "        ticket.is_asked = False\n", ""),
    Mutation("scheduler.py", "            self._lines.let_forward(ticket)\n", ""),
    Mutation("scheduler.py", "        if left_seconds < 0:", "        if left_seconds < -100:"),
    Mutation("scheduler.py", ">= MAX_DEPTH:", "> MAX_DEPTH:"),
    Mutation(
        "lanes.py", "self.order(one) < self.order(other)", "self.order(other) < self.order(one)"
    ),
    Mutation("lanes.py", "ticket.band, key, ticket.arrival", "ticket.band, key, 0"),
    Mutation("lanes.py", "return self.counter(ticket), ticket.band", "return 0.0, ticket.band"),
    Mutation("lanes.py", "self.counter(ticket), ticket.band, key", "self.counter(ticket), 0, key"),
    Mutation("lanes.py", "            band.counter = max(band.counter, least)\n", ""),
    Mutation(
        "lanes.py",
        "for each in self._bands[group] if each.live)",
        "for each in self._bands[group])",
    ),
    Mutation("lanes.py", "(due - ticket.lane_charged) /", "due /"),
    Mutation("lanes.py", "ticket.used if is_over else max(", "max("),
    Mutation("lanes.py", "            del self._bands[ticket.job.group]\n", "            pass\n"),
    Mutation("lanes.py", "if running.ran < self._quantum:", "if False:"),
    Mutation("lanes.py", "return behind <= ahead", "return True"),
    Mutation("lanes.py", "return behind + self._quantum /", "return behind + 0 /"),
    Mutation("lanes.py", "if band.live and lane != job.lane", "if lane != job.lane"),
    Mutation("lanes.py", "ticket.job.cost / self._weights[ticket.band]", "0.0"),
    Mutation("lines.py", "self._lanes.running(head) < limit", "self._lanes.running(head) <= limit"),
    Mutation("lines.py", "limit is None or head.is_exempt or", "limit is None or"),
    Mutation(
        "nesting.py", "            borrower.lender = lender  # with", "            pass  # with"
    ),
    Mutation("nesting.py", "        ticket.is_exempt = True\n", ""),
    Mutation("nesting.py", "        lender.borrower = None\n        for", "        for"),
    Mutation(
        "nesting.py",
        "            self._end(lender)\n        if borrower",
        "            pass\n        if borrower",
    ),
    Mutation("nesting.py", "            self.enter(borrower)\n", ""),
    Mutation(
        "nesting.py", "                lender.borrower = borrower\n", "                pass\n"
    ),
    Mutation("nesting.py", "        self._in_line.pop(ticket.job.id, None)\n", ""),
    Mutation("nesting.py", "                self._take_out(waiting)\n", ""),
    Mutation("nesting.py", "                del self._in_line[waiting.job.id]\n", ""),
    Mutation("nesting.py", "            del self._ready[borrower.job.id]\n", ""),
    Mutation(
        "nesting.py",
        "above.is_running and above.has_owner_of(ticket)",
        "above.has_owner_of(ticket)",
    ),
    Mutation("nesting.py", "return lender is None", "return True"),
    Mutation("tickets.py", "self.due = min(self.due, parent.due)", "pass"),
    Mutation("pausing.py", "return max(found", "return min(found"),
    Mutation("outlook.py", "mine.live * len(line.queues)", "len(line)"),
    Mutation("outlook.py", 'turn if line.policy.order == "turns" else 0', "0"),
    Mutation(
        "waiting.py",
        "        if queue.heap[0][2] is ticket:\n            self",
        "        if queue.live == 1:\n            self",
    ),
    Mutation("waiting.py", "and head.arrival == arrival:", ":"),
    Mutation(
        "waiting.py", "if now[0] == first and now[1] == second and", "if now[1] == second and"
    ),
    Mutation(
        "waiting.py",
        "            self.bring_back(queue)\n        elif ticket",
        "            queue.head()\n        elif ticket",
    ),
    Mutation("waiting.py", "        self.cost -= ticket.job.cost\n", ""),
    Mutation("waiting.py", "        queue.version = self._entries\n", ""),
    Mutation("waiting.py", "        self._entries += 1\n", ""),
    Mutation("tickets.py", "self.lane = min(self.lane, parent.lane)", "self.lane = self.lane"),
    Mutation("tickets.py", "return self.lender is None and self.borrower is None and", "return"),
    Mutation(
        "tickets.py", "above.is_running and above.borrower is None and", "above.is_running and"
    ),
    Mutation("shares.py", "max(share.counter, self._least())", "share.counter"),
    Mutation(
        "shares.py",
        "if not share.live_below or number != share.entry:",
        "if number != share.entry:",
    ),
    Mutation("shares.py", "            elif counter != share.counter:", "            elif False:"),
    Mutation("shares.py", "            _lift_among_siblings(share)\n", "            pass\n"),
    Mutation("shares.py", "or share is newest or share.counter > least", "or share is newest"),
    Mutation(
        "policies/fair.py", "weighted = work / self._weights.get(top.agent, 1.0)", "weighted = work"
    ),
    Mutation("policies/fair.py", "due = charged or 1.0", "due = charged"),
    Mutation("policies/fair.py", "running.ran >= self._quantum and behind", "behind"),
    Mutation("policies/fair.py", "behind.counter + gap < ahead", "behind.counter <= ahead"),
    Mutation(
        "policies/fair.py",
        "(used - job.prompt) * self._output",
        "(used - job.prompt) * self._prompt",
    ),
    Mutation(
        "policies/priority.py", "head.lane < running.lane and", "head.lane <= running.lane and"
    ),
    Mutation("policies/priority.py", " and head.rank < running.rank", ""),
    Mutation("policies/deadline.py", "return head.rank < running", "return head.rank <= running"),
    Mutation("policies/round_robin.py", "return is_over and", "return"),
    Mutation("admission.py", "if mine + 1 < len(", "if mine < len("),
    Mutation("admission.py", "mine >= self._most_per_agent and", "mine > self._most_per_agent and"),
    Mutation("admission.py", "_most_per_agent and not is_nested:", "_most_per_agent:"),
    Mutation("admission.py", "next(reversed(max(", "next(iter(max("),
    Mutation("dispatcher.py", "each.resource.name != warm", "each.resource.name == warm"),
    Mutation("dispatcher.py", "> patience:", "< patience:"),
    Mutation("dispatcher.py", "if each.handicap < choice.handicap]", "if each is not choice]"),
    Mutation("dispatcher.py", "choice.handicap - min(", "choice.handicap - max("),
    Mutation("dispatcher.py", "if all(resource.is_measured", "if any(resource.is_measured"),
    Mutation("dispatcher.py", "self._warm[job.affinity] = resource.name", "pass"),
    Mutation(
        "dispatcher.py",
        "if any(choice.resource in resources",
        "if all(choice.resource in resources",
    ),
    Mutation("dispatcher.py", "return head.since + patience", "return head.since"),
    Mutation("resources.py", "head.has_started or self.paused < self.slots", "True"),
    Mutation("resources.py", "self.is_pausable and", "True and"),
    Mutation("resources.py", "return self.slots * self._cost", "return self._cost"),
)

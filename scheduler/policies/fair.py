"""Fair shares of the work done, by weight, over agents.

The virtual token counter of Y. Sheng and others, Fairness in Serving Large Language Models, 2024:
an agent's counter grows by its work divided by its weight, as the work is done, and the agent with
the least counter goes first. Unlike theirs, a newcomer is lifted to the least counter of those who
run as well as of those who wait (`scheduler.shares`), and running jobs stand still for an agent
that is far behind. Among an agent's own jobs, those of the program that has had least go first,
after M. Luo and others, Autellix: An Efficient Serving Engine for LLM Agents as General Programs,
2025.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import ClassVar

from scheduler.jobs import Job
from scheduler.policies.base import Order, Policy
from scheduler.tickets import Key, Ticket

_PROGRAMS = 4096


class Fair(Policy):
    """Gives each agent that has work waiting its share, whatever the others ask for.

    Args:
        weights: By agent; 1 for those it does not name.
        prompt_weight: What a token of a prompt costs.
        output_weight: What any other unit of work costs.
        quantum_tokens: A running job gives its slot up to an agent that is further behind than
            this, and only after so much work of its own.
        ageing_tokens: How fast a waiting job catches up with programs that have had less, per
            second.
        ageing_seconds: Among an agent's own jobs, what a step of a lane is worth.

    Invariants (`tests/scheduler/test_fair.py`):
        - of two agents with work waiting, the work charged divided by weight differs by at most
          the largest job of one for each slot (one slot: one job);
        - an agent's own jobs of a group, lane and program run in order of arrival;
        - an agent that comes late neither owes nor is owed anything.
    """

    order: ClassVar[Order] = "turns"

    def __init__(
        self,
        weights: Mapping[str, float] | None = None,
        *,
        prompt_weight: float = 1.0,
        output_weight: float = 2.0,
        quantum_tokens: int = 32,
        ageing_tokens: float = 100.0,
        ageing_seconds: float = 30.0,
    ) -> None:
        self._weights = dict(weights or {})
        self._prompt_weight = prompt_weight
        self._output_weight = output_weight
        self._quantum = quantum_tokens
        self._ageing_tokens = ageing_tokens
        self._ageing_seconds = ageing_seconds
        self._most_had = ageing_tokens * 4 * ageing_seconds
        self._had: OrderedDict[tuple[str, str], float] = OrderedDict()

    def rank(self, ticket: Ticket, now: float, /) -> float:
        """Give what its program has had, plus its arrival as an amount of work."""
        job = ticket.job
        had = self._had.get((job.agent, job.program), 0.0) if job.program else 0.0
        since = now + ticket.lane * self._ageing_seconds
        return min(had, self._most_had) + since * self._ageing_tokens

    def key(self, ticket: Ticket, /) -> Key:
        """Give the counter, and among agents of one superior their own."""
        share = ticket.share
        return share.top.counter, share.own

    def charge(self, ticket: Ticket, /, *, is_over: bool) -> None:
        """Charge the prompt when it starts and the rest as it is done; correct it at the end."""
        job, used, charged = ticket.job, ticket.used, ticket.charged
        if used > job.prompt:
            due = job.prompt * self._prompt_weight + (used - job.prompt) * self._output_weight
        else:
            due = (used if is_over else job.prompt) * self._prompt_weight
        if not is_over and due < (charged or 1.0):
            # At least something, so that equals take turns; and nothing back before the end.
            due = charged or 1.0
        if due == charged:
            return
        work, share = due - charged, ticket.share
        top = share.top
        ticket.charged = due
        weighted = work / self._weights.get(top.agent, 1.0)
        top.counter += weighted
        share.own += weighted if share is top else work / self._weights.get(share.agent, 1.0)
        if job.program:
            self._note(job, work)

    def gives_way(self, running: Ticket, head: Ticket, /) -> bool:
        """Say yes to an agent that is behind by more than a quantum, after one."""
        ahead, behind = running.share.top, head.share.top
        gap = self._quantum * self._output_weight / self._weights.get(ahead.agent, 1.0)
        return running.ran >= self._quantum and behind.counter + gap < ahead.counter

    def _note(self, job: Job, work: float) -> None:
        key = (job.agent, job.program)
        self._had[key] = max(0.0, self._had.pop(key, 0.0) + work)
        if len(self._had) > _PROGRAMS:
            self._had.popitem(last=False)

"""A core with continuous batching, as a model of what its steps cost.

Each step decodes one token of every sequence that has its prompt behind it, and fills what is left
of the step's token budget with prompts, the shortest remainder first (chunked prefill: A. Agrawal
and others, Sarathi-Serve, 2024). The state of paused and of ended sequences stays until its room
is needed, the oldest going first; what has lost its state computes it again.
"""

from dataclasses import dataclass

PROMPT_WEIGHT, OUTPUT_WEIGHT = 1, 2
"""What the tokens weigh: as in the VTC paper, and by default in the policy `fair`."""

_MOST_STEPS = 16  # taken at once while nothing changes but the length of the answers


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """What a step takes, in seconds, and what the core has room for.

    Attributes:
        base: Every step.
        per_sequence: Each sequence that decodes.
        per_prompt_token: Each prompt token.
        per_thousand_kept: A thousand tokens of context of the sequences at work.
        slots: Sequences at work at once.
        step_tokens: Tokens of one step, prompts included.
        kept_tokens: Tokens whose state has room.
    """

    base: float
    per_sequence: float
    per_prompt_token: float
    per_thousand_kept: float
    slots: int
    step_tokens: int
    kept_tokens: int


GPU = CostModel(
    base=0.012,
    per_sequence=0.000_25,
    per_prompt_token=0.000_06,
    per_thousand_kept=0.000_02,
    slots=16,
    step_tokens=512,
    kept_tokens=160_000,
)
CPU = CostModel(
    base=0.045,
    per_sequence=0.012,
    per_prompt_token=0.004,
    per_thousand_kept=0.000_5,
    slots=4,
    step_tokens=256,
    kept_tokens=32_000,
)


@dataclass(slots=True, eq=False)
class Generation:
    """One generation, from its grant to its last token.

    Attributes:
        prompt_left: Tokens to compute before the next one can be written.
        counted: Its tokens by weight that were counted already.
    """

    id: str
    prompt_tokens: int
    output_left: int
    agent: str = ""
    program: str = ""
    prompt_left: int = 0
    written: int = 0
    counted: int = 0

    @property
    def context(self) -> int:
        """Tokens whose state it needs, computed or not."""
        return self.prompt_tokens + self.written

    def count(self) -> int:
        """Give the tokens by weight that came since they were last counted."""
        served = OUTPUT_WEIGHT * self.written
        # What it computes a second time, having lost it, is no service to its agent.
        done = self.prompt_tokens - (0 if self.written else self.prompt_left)
        served += PROMPT_WEIGHT * done
        fresh = max(0, served - self.counted)
        self.counted += fresh
        return fresh

    @property
    def used(self) -> int:
        """Tokens to be charged so far: the prompt with the first piece, as the kernel does."""
        return self.context if self.written else 0


@dataclass(frozen=True, slots=True)
class Step:
    """What some steps took and did."""

    seconds: float
    first: list[Generation]
    ended: list[Generation]


class SimulatedCore:
    """The sequences at work, and whose state is kept beside them."""

    def __init__(self, costs: CostModel) -> None:
        self._costs = costs
        self.running: dict[str, Generation] = {}
        self.computed_tokens = 0
        self._context = 0
        self._kept: dict[str, int] = {}  # by sequence or program, oldest first
        self._kept_tokens = 0

    def start(self, sequence: Generation) -> None:
        """Put a sequence to work, with what is still known of its beginning."""
        known = max(self._take(sequence.id), self._take(sequence.program))
        sequence.prompt_left = max(1, sequence.context - known)
        self.running[sequence.id] = sequence
        self._context += sequence.context
        self._make_room()

    def pause(self, job_id: str) -> Generation:
        """Take a sequence off work; its state stays if there is room."""
        sequence = self.running.pop(job_id)
        self._context -= sequence.context
        self._keep(job_id, sequence.context - sequence.prompt_left)
        return sequence

    def step(self, seconds_left: float) -> Step:
        """Take one step, or several alike that end within the time left."""
        costs = self._costs
        decoding = [each for each in self.running.values() if not each.prompt_left]
        filled = self._fill(costs.step_tokens - len(decoding))
        one = (
            costs.base
            + costs.per_sequence * len(decoding)
            + costs.per_thousand_kept * self._context / 1000
        )
        steps = 1 if filled else _steps(decoding, int(seconds_left / one))
        seconds = steps * one + filled * costs.per_prompt_token
        self.computed_tokens += filled + steps * len(decoding)
        self._context += steps * len(decoding)
        first: list[Generation] = []
        ended: list[Generation] = []
        for each in decoding:
            if not each.written:
                first.append(each)
            each.written += steps
            each.output_left -= steps
            if not each.output_left:
                ended.append(each)
        for each in ended:
            del self.running[each.id]
            self._context -= each.context
            self._keep(each.program, each.context)
        return Step(seconds, first, ended)

    def _fill(self, budget: int) -> int:
        left = budget
        prompts = (each for each in self.running.values() if each.prompt_left)
        for each in sorted(prompts, key=lambda each: each.prompt_left):
            chunk = min(left, each.prompt_left)
            each.prompt_left -= chunk
            left -= chunk
            if not left:
                break
        return budget - left

    def _keep(self, key: str, tokens: int) -> None:
        if key:
            self._take(key)
            self._kept[key] = tokens
            self._kept_tokens += tokens
            self._make_room()

    def _take(self, key: str) -> int:
        tokens = self._kept.pop(key, 0)
        self._kept_tokens -= tokens
        return tokens

    def _make_room(self) -> None:
        while self._kept and self._context + self._kept_tokens > self._costs.kept_tokens:
            self._take(next(iter(self._kept)))


def _steps(decoding: list[Generation], fitting: int) -> int:
    if not all(each.written for each in decoding):
        return 1  # when its first token comes is to be known
    return max(1, min(_MOST_STEPS, fitting, *(each.output_left for each in decoding)))

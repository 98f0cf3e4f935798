"""Which of the permitted cores may take a call, and in which order they are preferred.

A core that is resting, that lacks what the call needs or cannot hold it is left out; where none
remains, the error says why. Among the others the scheduler picks by expected wait, to which a
handicap is added for each step down in preference.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from aios_mcp.kernel.calls import CoreReport, GenerateCall
from aios_mcp.kernel.cores import Core
from aios_mcp.kernel.patience import Patience
from aios_mcp.kernel.speeds import Speed, Speeds
from backends.errors import (
    BackendError,
    BackendRefusedError,
    BackendUnavailableError,
    ContextOverflowError,
    SchemaUnsupportedError,
    UnsupportedError,
)
from backends.messages import CoreStatus, GenerateRequest, Message, Usage
from scheduler import ResourceCounts

_LEAST_HANDICAP_SECONDS = 1e-6

Preference = Literal["local", "listed", "cheapest", "fastest"]


@dataclass(frozen=True, slots=True)
class Route:
    """Cores in order of preference, each with the seconds that its expected wait is handicapped."""

    cores: tuple[Core, ...]
    handicaps: tuple[float, ...]


class Router:
    """Chooses among the cores that a call may use, by their state now and what they were like.

    Args:
        prefer: `local` puts cores of this machine first; `listed` takes the order of the
            configuration; `cheapest` the expected price, unknown ones last; `fastest` the expected
            time, unmeasured ones first so that they are measured.
        spill_seconds: How much longer a call waits for a core than for one that is a step less
            preferred.
    """

    def __init__(self, *, prefer: Preference = "local", spill_seconds: float = 0.0) -> None:
        self._prefer: Preference = prefer
        # Never nothing: the scheduler looks at affinity only among cores of one handicap.
        self._spill_seconds = max(spill_seconds, _LEAST_HANDICAP_SECONDS)
        self.speeds = Speeds()
        self.patience = Patience()

    def route(self, request: GenerateRequest, prompt_tokens: int, cores: Sequence[Core]) -> Route:
        """Order those of the cores that can take a request now.

        Args:
            request: The request.
            prompt_tokens: What its prompt is likely to have.
            cores: Those permitted, in the order of the configuration.

        Raises:
            BackendUnavailableError: None can; one that is resting might, and when is said.
            BackendRefusedError: None ever can: what it asks for does not fit them.
        """
        likely = Usage(input_tokens=prompt_tokens, output_tokens=request.max_tokens)
        fitting: list[tuple[tuple[bool, float], Core]] = []
        problems: list[BackendError] = []
        for number, core in enumerate(cores):
            status = core.llm.status()
            problem = _problem(core, status, request, likely)
            if problem is None:
                doubtful = (
                    status.state == "failed"
                    or _overflows(status, likely)
                    or self.patience.doubts(core.name)
                )
                fitting.append(((doubtful, self._rank(core, number, likely)), core))
            else:
                problems.append(problem)
        if not fitting:
            raise _none_left(problems)
        if len(fitting) == 1:
            return Route((fitting[0][1],), (0.0,))
        fitting.sort(key=lambda each: each[0])
        steps = sorted({rank for rank, _ in fitting})
        return Route(
            cores=tuple(core for _, core in fitting),
            handicaps=tuple(steps.index(rank) * self._spill_seconds for rank, _ in fitting),
        )

    def _rank(self, core: Core, number: int, likely: Usage) -> float:
        match self._prefer:
            case "local":
                return 0 if core.is_local else 1
            case "listed":
                return number
            case "cheapest":
                return math.inf if core.price is None else core.price.micro_usd(likely)
            case "fastest":
                speed = self.speeds.known().get(core.name)
                return 0.0 if speed is None else speed.seconds_for(likely.output_tokens)


def report_core(core: Core, counts: ResourceCounts, speed: Speed | None) -> CoreReport:
    """Describe a core as an agent may see it."""
    rate = None if speed is None else speed.tokens_per_second
    return CoreReport(
        name=core.name,
        backend=core.backend,
        tiers=core.tiers,
        status=core.llm.status(),
        slots=core.slots,
        busy=counts.busy,
        waiting=counts.waiting,
        is_local=core.is_local,
        price=None if core.price is None else core.price.triple,
        tokens_per_second=None if rate is None else round(rate, 1),
        first_token_ms=None if speed is None else round(speed.first_seconds * 1000, 1),
    )


def affinity_of(agent: str, request: GenerateRequest) -> str:
    """Name the beginning that a prompt shares with others of its agent: its first message.

    What a core has kept of that beginning it need not compute again.
    """
    return _name_of(agent, request.messages[:1])


def program_of(agent: str, call: GenerateCall) -> str:
    """Name the conversation or agent loop of a call: as it says itself, or by how it began.

    The turns of a conversation have their beginning in common, up to what was asked first.
    """
    if call.session:
        return call.session
    messages = call.request.messages
    asked = next((at for at, each in enumerate(messages) if each.role == "user"), 0)
    return _name_of(agent, messages[: asked + 1])


def _name_of(agent: str, messages: Sequence[Message]) -> str:
    text = "\0".join((agent, *(part for each in messages for part in (each.role, each.text))))
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def _problem(
    core: Core, status: CoreStatus, request: GenerateRequest, likely: Usage
) -> BackendError | None:
    if request.schema is not None and not status.takes_schema:
        return SchemaUnsupportedError(f"core {core.name!r} takes no JSON Schema")
    if request.tools and not status.takes_tools:
        return UnsupportedError(f"core {core.name!r} takes no tools")
    # Half of what is likely: a core counts exactly, and refuses what is only likely too long.
    if _overflows(status, likely, share=0.5):
        return ContextOverflowError(wanted=likely.total, limit=status.context_tokens)
    if status.resting_seconds > 0:
        return BackendUnavailableError(
            f"not tried again yet: {status.note or core.name}",
            retry_after_seconds=status.resting_seconds,
        )
    return None


def _overflows(status: CoreStatus, likely: Usage, *, share: float = 1.0) -> bool:
    wanted = likely.input_tokens * share + likely.output_tokens
    return 0 < status.context_tokens < wanted


def _none_left(problems: Sequence[BackendError]) -> BackendError:
    if len(problems) == 1:
        return problems[0]
    text = "no core can take this call: " + "; ".join(str(problem) for problem in problems)
    waits = [
        each.retry_after_seconds
        for each in problems
        if isinstance(each, BackendUnavailableError) and each.retry_after_seconds is not None
    ]
    if waits:
        return BackendUnavailableError(text, retry_after_seconds=min(waits))
    return BackendRefusedError(text)

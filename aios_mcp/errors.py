"""Kernel errors, and the one table that maps every anticipated failure to its wire code.

* KernelError
  - InvalidArgumentError    the caller's arguments cannot be used
  - NotPermittedError       no grant, or no such thing: both read the same
  - RateLimitedError        too many calls per minute
  - BudgetExceededError     tokens or dollars of the period are used up
  - QuotaExceededError      too many memories added per minute
  - NotFoundError           nothing of that name or id within reach
  - ConflictError           the idempotency key stands for something else

Failures of the scheduler and of the backends keep their own types; `failure_of` knows them all.
"""

from dataclasses import dataclass
from typing import Literal

from backends import errors as backend
from backends.messages import Usage
from scheduler.jobs import (
    DeadlineMissedError,
    DeadlineUnreachableError,
    NestingTooDeepError,
    NoResourceError,
    QueueFullError,
)

Code = Literal[
    "invalid_argument",
    "not_permitted",
    "rate_limited",
    "budget_exceeded",
    "quota_exceeded",
    "busy",
    "not_found",
    "conflict",
    "cancelled",
    "backend_unavailable",
    "backend_timeout",
    "downstream_unavailable",
    "downstream_timeout",
    "output_too_large",
    "internal",
]


class KernelError(Exception):
    """The kernel refused or failed a syscall."""


class InvalidArgumentError(KernelError):
    """An argument is missing, unknown or out of range; the text names it and the fix."""


class NotPermittedError(KernelError):
    """The agent may not do this, or there is no such thing: the text is the same for both.

    Attributes:
        rule: The rule that refused, for the audit trail only.
    """

    def __init__(self, message: str, *, rule: str) -> None:
        super().__init__(message)
        self.rule = rule


class RateLimitedError(KernelError):
    """The agent called too often.

    Attributes:
        retry_after_seconds: When the next call will be let in.
    """

    def __init__(self, agent: str, *, per_minute: int, retry_after_seconds: float) -> None:
        super().__init__(f"agent {agent!r} may make {per_minute} calls a minute")
        self.retry_after_seconds = retry_after_seconds


class BudgetExceededError(KernelError):
    """The agent's budget does not cover the call.

    Attributes:
        wanted: Units the call may need at most.
        left: Units left in the period.
    """

    def __init__(self, agent: str, *, unit: str, wanted: int, left: int) -> None:
        super().__init__(
            f"agent {agent!r} may need up to {wanted} {unit} for this call and has {left} left"
            " today; lower max_tokens or wait for the next day"
        )
        self.wanted = wanted
        self.left = left


class QuotaExceededError(KernelError):
    """The agent added too many memories.

    Attributes:
        retry_after_seconds: When the next one will be let in.
    """

    def __init__(self, agent: str, *, per_minute: int, retry_after_seconds: float) -> None:
        super().__init__(
            f"agent {agent!r} may add {per_minute} memories a minute; the next one after"
            f" {retry_after_seconds} seconds"
        )
        self.retry_after_seconds = retry_after_seconds


class NotFoundError(KernelError):
    """Nothing of that name or id within the caller's reach."""


class ConflictError(KernelError):
    """The idempotency key stands for another call, or for one that has not finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An anticipated failure as the wire shows it.

    Attributes:
        code: From the closed list.
        message: One line for the model: what happened and what to do.
        retryable: The same call may succeed later.
        retry_after_seconds: When, if that is known.
        request_id: The call that failed, whose audit record says more; None before the gate.
        usage: Tokens it had used when it failed within its answer; None without one.
    """

    code: Code
    message: str
    retryable: bool = False
    retry_after_seconds: float | None = None
    request_id: str | None = None
    usage: Usage | None = None


_TABLE: tuple[tuple[type[Exception], Code, bool], ...] = (
    (InvalidArgumentError, "invalid_argument", False),
    (NotPermittedError, "not_permitted", False),
    (RateLimitedError, "rate_limited", True),
    (BudgetExceededError, "budget_exceeded", False),
    (QuotaExceededError, "quota_exceeded", True),
    (NotFoundError, "not_found", False),
    (ConflictError, "conflict", False),
    (QueueFullError, "busy", True),
    (DeadlineMissedError, "busy", True),
    (DeadlineUnreachableError, "busy", True),
    (NestingTooDeepError, "not_permitted", False),
    (NoResourceError, "backend_unavailable", True),
    (backend.BackendRefusedError, "invalid_argument", False),
    (backend.BackendTimeoutError, "backend_timeout", True),
    (backend.BackendError, "backend_unavailable", True),
    (backend.ToolNotFoundError, "not_permitted", False),
    (backend.ToolServerTimeoutError, "downstream_timeout", True),
    (backend.OutputTooLargeError, "output_too_large", False),
    (backend.ToolServerError, "downstream_unavailable", True),
    (backend.StoreBusyError, "busy", True),
    (backend.StoreFullError, "quota_exceeded", False),
    (backend.MemoryNotFoundError, "not_found", False),
    (backend.IdempotencyConflictError, "conflict", False),
    (backend.StoreError, "backend_unavailable", True),
)
"""First match wins: subclasses stand before their parents."""


def name_request(exc: BaseException, request_id: str) -> None:
    """Let an exception of any type say which call it ended."""
    exc.__dict__["request_id"] = request_id


def tell_usage(exc: BaseException, usage: Usage) -> None:
    """Let an exception of any type say what its call had used."""
    exc.__dict__.setdefault("usage", usage)


def request_of(exc: BaseException) -> str | None:
    """Give the call an exception ended, if the gate had named it."""
    named: object = exc.__dict__.get("request_id")
    return named if isinstance(named, str) else None


def failure_of(exc: BaseException) -> Failure | None:
    """Map an anticipated failure to its wire form; None means a bug, whose text must not leave."""
    for kind, code, retryable in _TABLE:
        if isinstance(exc, kind):
            after: object = getattr(exc, "retry_after_seconds", None)
            used: object = getattr(exc, "usage", None)
            return Failure(
                code=code,
                message=str(exc),
                retryable=retryable,
                retry_after_seconds=after if isinstance(after, float) else None,
                request_id=request_of(exc),
                usage=used if isinstance(used, Usage) else None,
            )
    return None

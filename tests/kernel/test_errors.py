"""The one table of failures: every error of every tree has a wire code."""

import inspect
from types import ModuleType

import pytest

from aios_mcp import errors as kernel_errors
from aios_mcp.errors import NotPermittedError, failure_of
from backends import errors as backend_errors
from backends.messages import Usage
from scheduler import jobs as scheduler_jobs
from scheduler.jobs import DeadlineMissedError, QueueFullError


def error_types(module: ModuleType) -> list[type[Exception]]:
    return [
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, Exception) and kind.__module__ == module.__name__
    ]


ROOTS = {"KernelError", "SchedulerError"}
ALL = [
    kind
    for module in (kernel_errors, backend_errors, scheduler_jobs)
    for kind in error_types(module)
    if kind.__name__ not in ROOTS
]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: str(kind.__name__))
def test_every_anticipated_error_has_a_code(kind: type[Exception]) -> None:
    exc = kind.__new__(kind)
    found = failure_of(exc)
    if kind is backend_errors.OverdrawnError:  # the gate turns it into BudgetExceededError
        return
    assert found is not None
    assert found.code != "internal"


def test_a_bug_has_no_failure_so_that_its_text_cannot_leave() -> None:
    assert failure_of(ValueError("secret path /etc")) is None


@pytest.mark.parametrize(
    ("exc", "code", "is_retryable", "after"),
    [
        (NotPermittedError("no", rule="r"), "not_permitted", False, None),
        (
            QueueFullError("agent 'a'", limit=1, retry_after_seconds=2.5),
            "busy",
            True,
            2.5,
        ),
        (DeadlineMissedError(3.0), "busy", True, None),
        (backend_errors.StoreBusyError("locked"), "busy", True, None),
        (backend_errors.ContextOverflowError(wanted=9, limit=5), "invalid_argument", False, None),
        (
            backend_errors.IncompleteAnswerError("cut", text="", usage=Usage()),
            "backend_unavailable",
            True,
            None,
        ),
        (
            backend_errors.ToolServerUnavailableError("down", retry_after_seconds=4.0),
            "downstream_unavailable",
            True,
            4.0,
        ),
        (backend_errors.ToolServerTimeoutError("slow"), "downstream_timeout", True, None),
        (
            backend_errors.OutputTooLargeError(size_bytes=2, limit_bytes=1),
            "output_too_large",
            False,
            None,
        ),
        (backend_errors.StoreFullError("rows"), "quota_exceeded", False, None),
        (backend_errors.MemoryNotFoundError("no"), "not_found", False, None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_failures_say_whether_and_when_to_retry(
    exc: Exception, code: str, is_retryable: bool, after: float | None
) -> None:
    found = failure_of(exc)
    assert found is not None
    assert (found.code, found.retryable, found.retry_after_seconds) == (code, is_retryable, after)
    assert found.message

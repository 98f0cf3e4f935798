"""What goes into the audit trail and the ledger, and comes out of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Unit = Literal["tokens", "micro_usd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Units set aside before work starts.

    Attributes:
        account: Whose budget, such as an agent's name.
        period: Budget period, such as `2026-11-24`; a new period starts at zero.
        unit: What is counted.
        amount: Units to set aside.
        cap: Most units spent and held together in the period; None is unlimited, but counted.
    """

    account: str
    period: str
    unit: Unit
    amount: int
    cap: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOpened:
    """A syscall the gate is about to let in, or to refuse.

    Attributes:
        request_id: Unique; also the id of its audit record.
        agent: Who asks.
        op: The syscall, such as `llm_generate`.
        target: What it aims at: a tier, a tool, a namespace.
        digest: Keyed digest of the arguments; never their contents.
        at: Unix seconds.
    """

    request_id: str
    agent: str
    op: str
    target: str
    digest: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallClosed:
    """How a syscall ended.

    Attributes:
        request_id: The one it was opened with.
        at: Unix seconds.
        outcome: `ok`, or an error code.
        used: Units really used, by unit; they replace the holds.
        queue_ms: Time in line.
        run_ms: Time at work.
        place: The core or server that did the work, or "".
        answer: JSON to replay for the same idempotency key, or None.
    """

    request_id: str
    at: float
    outcome: str
    used: Mapping[Unit, int] = field(default_factory=dict[Unit, int])
    queue_ms: float = 0.0
    run_ms: float = 0.0
    place: str = ""
    answer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One syscall as the audit trail keeps it; `outcome` is "" while it runs."""

    seq: int
    request_id: str
    agent: str
    op: str
    target: str
    digest: str
    outcome: str
    opened: float
    closed: float | None
    tokens: int
    micro_usd: int
    queue_ms: float
    run_ms: float
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What an account spent and holds in one period."""

    spent: int
    held: int

"""How `aios-mcp top` looks: one line for the whole, then cores, agents and the caller's calls."""

from collections.abc import Sequence
from typing import TypeAlias

from aios_mcp.cli.ink import Ink
from aios_mcp.kernel.queue import AgentLoad, CoreLoad, LiveCall, QueueReport

Row: TypeAlias = tuple[str, ...]

_CORES: Row = ("CORE", "SLOTS", "BUSY", "WAITING", "TOKENS/S")
_AGENTS: Row = ("AGENT", "SHARE", "RUNNING", "WAITING", "TOKENS/S", "TOKENS TODAY", "USD TODAY")
_CALLS: Row = ("YOUR CALL", "OP", "TARGET", "LANE", "STATE", "IN FRONT", "WAITED", "TOKENS")
_LEFT = {"CORE", "AGENT", "YOUR CALL", "OP", "TARGET", "LANE", "STATE"}
_WIDEST_CELL = 32


def lay_out(
    source: str, report: QueueReport, ink: Ink, *, width: int, height: int | None
) -> list[str]:
    """Give the lines of one frame.

    Args:
        source: Where it was read.
        report: What was read.
        ink: Colours the headings.
        width: Longest line.
        height: Most lines; None for all.
    """
    agents = sorted(report.agents, key=_busiest_first)
    tables = (
        (_CORES, [_core_row(each) for each in report.cores]),
        (_AGENTS, [_agent_row(each) for each in agents]),
        (_CALLS, [_call_row(each) for each in report.calls]),
    )
    lines = [ink.paint(_headline(source, report)[:width], "bold")]
    for head, rows in tables:
        if rows:
            first, *rest = _table((head, *rows))
            lines += ["", ink.paint(first[:width], "dim"), *(line[:width] for line in rest)]
    return lines if height is None else lines[:height]


def _headline(source: str, report: QueueReport) -> str:
    running = sum(each.running for each in report.agents)
    waiting = sum(each.waiting for each in report.agents)
    rate = sum(each.tokens_per_second for each in report.agents)
    whose = "all agents" if report.observes else f"agent {_plain(report.agent)}"
    return f"{source}  {whose}: {running} running, {waiting} waiting, {rate:,.1f} tokens/s"


def _busiest_first(load: AgentLoad) -> tuple[float, int, str]:
    return -load.tokens_per_second, -(load.running + load.waiting), load.name


def _core_row(load: CoreLoad) -> Row:
    return (
        _plain(load.name),
        str(load.slots),
        str(load.busy),
        str(load.waiting),
        f"{load.tokens_per_second:,.1f}",
    )


def _agent_row(load: AgentLoad) -> Row:
    return (
        _plain(load.name),
        f"{load.share:g}",
        str(load.running),
        str(load.waiting),
        f"{load.tokens_per_second:,.1f}",
        f"{load.tokens_today:,}",
        f"{load.usd_today:,.4f}",
    )


def _call_row(call: LiveCall) -> Row:
    return (
        _plain(call.request_id),
        _plain(call.op),
        _plain(call.target),
        call.lane,
        call.state,
        "" if call.position is None else str(call.position),
        f"{call.waited_ms / 1000:,.1f} s",
        f"{call.tokens:,}",
    )


def _table(rows: Sequence[Row]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    left = [name in _LEFT for name in rows[0]]
    return [
        "  ".join(
            cell.ljust(width) if is_left else cell.rjust(width)
            for cell, width, is_left in zip(row, widths, left, strict=True)
        ).rstrip()
        for row in rows
    ]


def _plain(text: str) -> str:
    # What a server says must not steer the terminal.
    shown = "".join(letter if letter.isprintable() else "·" for letter in text)
    return shown if len(shown) <= _WIDEST_CELL else shown[: _WIDEST_CELL - 1] + "…"

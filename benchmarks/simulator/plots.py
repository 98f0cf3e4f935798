"""Draws a workload: how long callers waited, and what each agent was given over time."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.simulator.comparison import Result

_MOST_CURVES = 12
_SHOWN = ("fifo", "fair")


def draw(path: Path, title: str, results: Sequence[Result]) -> None:
    """Write one image.

    Raises:
        ImportError: There is no matplotlib, which is no dependency of the project.
    """
    figure: Any = import_module("matplotlib.figure").Figure(figsize=(15, 4.2), layout="constrained")
    figure.suptitle(title)
    waits, *shares = figure.subplots(1, 1 + len(_SHOWN))
    for result in results:
        ordered = sorted(max(each, 0.01) for each in result.first_seconds)
        part = [(number + 1) / len(ordered) for number in range(len(ordered))]
        waits.plot(ordered, part, label=result.policy)
    waits.set(xscale="log", xlabel="seconds to the first token", ylabel="part of the calls")
    waits.legend()
    for axis, name in zip(shares, _SHOWN, strict=True):
        [result] = (each for each in results if each.policy == name)
        for agent, served in sorted(result.record.served.items())[:_MOST_CURVES]:
            axis.plot(served.times, served.tokens, label=agent, linewidth=1)
        axis.set(xlabel="seconds", ylabel="tokens by weight", title=f"{name}: tokens by agent")
        axis.legend(fontsize="x-small", ncols=2)
    figure.savefig(path, dpi=72)

"""One measured figure, its bar and its peer, and how they are shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A measured value.

    Attributes:
        name: What was measured, with its workload.
        value: The figure, in `unit`; None where the peer is not here to be measured.
        unit: Such as `us`, `ms`, `1/s`, `x`.
        bar: The value to reach, or None where the figure is only shown.
        better: Whether lower or higher values are better.
        peer: What it is compared with, such as `sorting the queue: 1,918 us`; may be empty.
    """

    name: str
    value: float | None
    unit: str
    bar: float | None = None
    better: Literal["lower", "higher"] = "lower"
    peer: str = ""

    @property
    def is_reached(self) -> bool:
        """The bar is reached, or there is none, or nothing was measured."""
        if self.bar is None or self.value is None:
            return True
        return self.value <= self.bar if self.better == "lower" else self.value >= self.bar


def table(figures: Sequence[Figure]) -> str:
    """Lay figures out for a terminal."""
    rows = [("figure", "value", "bar", "", "peer")]
    for figure in figures:
        sign = "at most" if figure.better == "lower" else "at least"
        bar = "" if figure.bar is None else f"{sign} {_number(figure.bar)} {figure.unit}"
        mark = "ok" if figure.is_reached else "MISSED"
        if figure.bar is None or figure.value is None:
            mark = ""
        value = "-" if figure.value is None else f"{_number(figure.value)} {figure.unit}"
        rows.append((figure.name, value, bar, mark, figure.peer))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"

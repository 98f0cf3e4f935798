"""Colour on a terminal that wants it, plain text elsewhere (https://no-color.org)."""

import os
from typing import Literal, TextIO

Colour = Literal["bold", "dim", "red", "green", "yellow", "cyan"]

_CODES: dict[Colour, str] = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
}


class Ink:
    """Paints text for one stream."""

    def __init__(self, stream: TextIO) -> None:
        wants = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self.is_coloured = wants and stream.isatty()

    def paint(self, text: str, colour: Colour) -> str:
        """Give the text in a colour, or as it is where there are none."""
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if self.is_coloured else text

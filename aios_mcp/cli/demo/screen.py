"""How the tour looks: at most 88 columns, colour where a terminal wants it, text as it arrives."""

import json
import shutil
import textwrap
from collections.abc import Mapping
from typing import TextIO

from aios_mcp.cli.ink import Ink

_MARGIN = " " * 5
_ANSWER = " " * 7
_WIDEST = 88
_TAIL = 200  # where servers cut the message of a progress notification
_SURE = 20  # characters that two pieces must share to be put together


class Screen:
    """Writes the tour to a stream."""

    def __init__(self, stream: TextIO, *, width: int | None = None) -> None:
        self._stream = stream
        self._ink = Ink(stream)
        columns = shutil.get_terminal_size((_WIDEST + 1, 24)).columns - 1
        self._width = width or min(_WIDEST, max(40, columns))

    def title(self, text: str, below: str) -> None:
        """Begin the tour."""
        self._write(f"\n{self._ink.paint(text, 'bold')}\n{self._wrapped(below, indent='')}\n")

    def step(self, number: int, headline: str, why: str) -> None:
        """Begin a step."""
        self._write(f"\n {self._ink.paint(f'{number:>2}', 'cyan')}  ")
        self._write(f"{self._ink.paint(headline, 'bold')}\n")
        self._write(f"{self._ink.paint(self._wrapped(why), 'dim')}\n")

    def call(self, tool: str, arguments: Mapping[str, object], shown: str = "") -> None:
        """Show a call as an agent makes it, its arguments abridged to `shown` where that is set."""
        given = (
            f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in arguments.items()
        )
        text = self._wrapped(f"→ {tool}({shown or ', '.join(given)})", indent=_ANSWER)
        self._write(f"{self._ink.paint(text, 'cyan')}\n")

    def line(self, text: str) -> None:
        """Show a line of an answer."""
        self._write(f"{self._wrapped(text, indent=_ANSWER)}\n")

    def refusal(self, text: str) -> None:
        """Show an answer that refuses."""
        self._write(f"{self._ink.paint(self._wrapped(text, indent=_ANSWER), 'yellow')}\n")

    def live(self) -> "LiveText":
        """Begin a text that arrives bit by bit."""
        return LiveText(self._stream, self._width)

    def done(self, seconds: float) -> None:
        """End a step that worked."""
        self._write(f"{_MARGIN}{self._ink.paint(f'✓ {seconds:.2f} s', 'green')}\n")

    def failed(self, reason: str) -> None:
        """End a step that did not."""
        self._write(f"{self._ink.paint(self._wrapped(f'✗ {reason}'), 'red')}\n")

    def end(self, text: str) -> None:
        """End the tour."""
        self._write(f"\n{self._wrapped(text, indent='')}\n\n")

    def _wrapped(self, text: str, indent: str = _MARGIN) -> str:
        return "\n".join(
            textwrap.fill(
                line,
                self._width,
                initial_indent=indent,
                subsequent_indent=indent,
                break_on_hyphens=False,
            )
            for line in text.splitlines() or [""]
        )

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class LiveText:
    """A text that grows; words are shown, and wrapped, as they are complete."""

    def __init__(self, stream: TextIO, width: int) -> None:
        self._stream = stream
        self._width = width
        self._text = ""
        self._word = ""
        self._column = 0

    def tail(self, tail: str) -> None:
        """Take the end of the text so far, which is all that a progress notification carries."""
        if len(tail) < _TAIL:
            self._add(tail[len(self._text) :])
            return
        sizes = range(min(_TAIL, len(self._text)), _SURE, -1)
        size = next((each for each in sizes if self._text.endswith(tail[:each])), None)
        if size is not None:  # else a part was skipped, and `finish` makes up for it
            self._add(tail[size:])

    def finish(self, whole: str) -> None:
        """Show what is still missing of the whole text."""
        self._add(whole[len(self._text) :] + " ")
        self._stream.write("\n")

    def _add(self, text: str) -> None:
        self._text += text
        for character in text:
            if not character.isspace():
                self._word += character
            elif self._word:
                self._show(self._word)
                self._word = ""
        self._stream.flush()

    def _show(self, word: str) -> None:
        if self._column and self._column + 1 + len(word) <= self._width:
            self._stream.write(f" {word}")
            self._column += 1 + len(word)
            return
        line_end = "\n" if self._column else ""
        self._stream.write(f"{line_end}{_ANSWER}{word}")
        self._column = len(_ANSWER) + len(word)

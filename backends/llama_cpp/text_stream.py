"""Turns the bytes of tokens into text that may be shown: whole characters, no stop strings."""

import codecs
from collections.abc import Sequence


class TextStream:
    """Text of one answer on its way out.

    Invariant: what `push` and `finish` gave, joined, is the whole answer; no stop string is ever
    in it, not even in part when it came in several tokens.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False

    def push(self, piece: bytes) -> str:
        """Take the bytes of one token; give the text that is certain to belong to the answer."""
        if not self._stops:
            return self._decoder.decode(piece)
        self._held += self._decoder.decode(piece)
        found = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            text, self._held = self._held[: min(found)], ""
            return text
        keep = possible_beginning(self._held, self._stops)
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text

    def finish(self) -> str:
        """Give what was held back; the bytes of an unfinished character are dropped."""
        text, self._held = self._held, ""
        return text


def possible_beginning(text: str, marks: Sequence[str]) -> int:
    """Length of the longest tail of the text that may be the beginning of a mark."""
    longest = 0
    for mark in marks:
        for size in range(min(len(mark) - 1, len(text)), longest, -1):
            if text.endswith(mark[:size]):
                longest = size
                break
    return longest

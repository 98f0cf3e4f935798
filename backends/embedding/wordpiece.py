"""BERT's uncased WordPiece tokeniser: the same ids as the original, without its special tokens.

Source: Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers, 2018.
"""

import re
import unicodedata
from collections.abc import Sequence

_LONGEST_WORD = 100  # characters; the original gives up on longer ones
_MOST_CACHED = 50_000
_ASCII_PARTS = re.compile(r"[a-z0-9]+|[!-/:-@\[-`{-~]")
_IDEOGRAPHS = re.compile(
    "[\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f"
    "\U0002b820-\U0002ceaf\uf900-\ufaff\U0002f800-\U0002fa1f]"
)


class WordPiece:
    """Splits text into pieces of a vocabulary, the longest first."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._ids = {token: number for number, token in enumerate(vocabulary)}
        self._unknown = self._ids["[UNK]"]
        self._cache: dict[str, tuple[int, ...]] = {}

    def ids(self, text: str) -> list[int]:
        """Give the ids of a text's tokens, in order."""
        found: list[int] = []
        for word in _words(text):
            whole = self._ids.get(word)
            if whole is not None and len(word) <= _LONGEST_WORD:
                found.append(whole)
            else:
                found.extend(self._pieces(word))
        return found

    def _pieces(self, word: str) -> tuple[int, ...]:
        known = self._cache.get(word)
        if known is None:
            known = self._split(word)
            if len(self._cache) < _MOST_CACHED:
                self._cache[word] = known
        return known

    def _split(self, word: str) -> tuple[int, ...]:
        if len(word) > _LONGEST_WORD:
            return (self._unknown,)
        pieces: list[int] = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            for end in range(len(word), start, -1):
                piece = self._ids.get(prefix + word[start:end])
                if piece is not None:
                    break
            else:
                return (self._unknown,)  # one unknown piece makes the whole word unknown
            pieces.append(piece)
            start = end
        return tuple(pieces)


def _words(text: str) -> list[str]:
    if text.isascii():
        # Other control characters are dropped by the original, which joins what stood beside them.
        return _ASCII_PARTS.findall(re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", "", text.lower()))
    text = "".join(map(_cleaned, text))
    text = _IDEOGRAPHS.sub(r" \g<0> ", text)
    plain = "".join(
        c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn"
    )
    # Lowered one by one: as a whole, Python would write a final sigma in its final form.
    spaced = (f" {c} " if _is_punctuation(c) else c.lower() for c in plain)
    return "".join(spaced).split()


def _cleaned(character: str) -> str:
    if character in "\t\n\r":
        return " "
    category = unicodedata.category(character)
    if category == "Zs":
        return " "
    return "" if category[0] == "C" or character == "\ufffd" else character


def _is_punctuation(character: str) -> bool:
    if character.isascii():
        return not character.isalnum() and not character.isspace()
    return unicodedata.category(character)[0] == "P"

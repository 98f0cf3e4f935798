"""Whether a memory says nothing that another does not say already.

Vectors cannot tell: error 17 and error 18, or who pays whom, are near to them. So every word that
means something must stand in the other, in the same order.
"""

from collections.abc import Sequence

from backends.memory_store.words import NEGATIONS, content_words
from backends.messages import Hit

_LIKE = 0.8  # a part of a long text is not the same as the text


def adds_nothing(text: str, other: str) -> bool:
    """Whether a text says nearly what another says, and no more."""
    words, others = content_words(text), content_words(other)
    if not words or len(words) < _LIKE * len(others):
        return text == other
    if sum(each in NEGATIONS for each in words) != sum(each in NEGATIONS for each in others):
        return False
    rest = iter(others)
    return all(word in rest for word in words)  # each is looked for behind the one before it


def without_repeats(hits: Sequence[Hit]) -> list[Hit]:
    """Give the hits that add something to the better ones."""
    kept: list[Hit] = []
    for hit in hits:
        if not any(adds_nothing(hit.content, better.content) for better in kept):
            kept.append(hit)
    return kept

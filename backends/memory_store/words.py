"""What a query asks the full text for."""

import re
from collections.abc import Sequence

MOST_WORDS = 24

_WORD = re.compile(r"[^\W_]+")

# Words of questions and function words; they match much and mean little.
_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        a about after all also am an and any are as at be because been before being
        but by can could did do does doing done for from had has have having he her
        here hers him his how i if in into is it its just me more most my no nor not
        of off on once only or other our ours out over own please s same she should
        so some such t tell than that the their theirs them then there these they
        this those through to too under until up us very was we were what when where
        which while who whom whose why will with would you your yours
        """,
    )
)


def search_words(text: str) -> Sequence[str]:
    """Give the words to look for, lower case, each once; stop words only if there are no others."""
    words = list(dict.fromkeys(_WORD.findall(text.lower())))
    return ([word for word in words if word not in _STOP_WORDS] or words)[:MOST_WORDS]

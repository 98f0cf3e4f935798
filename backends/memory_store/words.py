"""Words as the index knows them: stems, as hashes of 32 bits.

Two words that share a hash are taken for one. Labels (kinds, tags, sessions) stand in the index
beside the words; whoever filters by them compares the label itself before it answers.
"""

import datetime
import re
import zlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, pairwise
from typing import Literal, cast

import apsw
import numpy as np
from numpy.typing import NDArray

MOST_WORDS = 24

_DAY_SECONDS = 86_400
_AGES = 50_000_000_000.0  # seconds before and after 1970 that have a date

Hashes = NDArray[np.uint32]
LabelOf = Literal["kind", "tag", "session"]

_WORD = re.compile(r"[^\W_]+")
# Written without spaces, so each character counts as a word.
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")

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


NEGATIONS = frozenset(("no", "nor", "not", "t", "never", "without", "none", "nothing", "nobody"))
_EMPTY_WORDS = _STOP_WORDS - NEGATIONS


def search_words(text: str) -> Sequence[str]:
    """Give the words to look for, lower case, each once; stop words only if there are no others."""
    words = list(dict.fromkeys(_WORD.findall(text.lower())))
    return ([word for word in words if word not in _STOP_WORDS] or words)[:MOST_WORDS]


def content_words(text: str) -> Sequence[str]:
    """Give the words that mean something, in order, without their plurals; negations are kept."""
    words = _WORD.findall(text.lower())
    return [each.rstrip("s") or each for each in words if each not in _EMPTY_WORDS]


def stems(connection: apsw.Connection, text: str) -> list[str]:
    """Split a text into stems, without case and accents."""
    if not text.isascii():
        text = _UNSPACED.sub(r" \g<0> ", text)
    tokenize = connection.fts5_tokenizer("porter", ["unicode61", "remove_diacritics", "2"])
    found = tokenize(
        text.encode(),
        apsw.FTS5_TOKENIZE_DOCUMENT,
        None,
        include_offsets=False,
        include_colocated=False,
    )
    return cast("list[str]", found)


def word_hash(stem: str) -> int:
    """Give the hash of a stem."""
    return zlib.crc32(stem.encode())


def label_term(of: LabelOf, label: str) -> str:
    """Give what stands for a label among stems, and is none of them."""
    return f"\0{of}\0{label}"


def label_hash(of: LabelOf, label: str) -> int:
    """Give the hash of a label."""
    return word_hash(label_term(of, label))


def date_words(unix_seconds: float) -> str:
    """Write a day as people search for it: by number, month and weekday."""
    return _day_words(int(unix_seconds // _DAY_SECONDS)) if abs(unix_seconds) < _AGES else ""


@lru_cache(maxsize=1024)
def _day_words(day: int) -> str:
    date = datetime.date(1970, 1, 1) + datetime.timedelta(days=day)
    return f"{date:%Y-%m-%d %B %A}"


def packed_hashes(terms: Sequence[Sequence[str]]) -> list[bytes]:
    """Give the hashes of each one's terms as they are stored: in order, each once."""
    counts = list(map(len, terms))
    each = map(zlib.crc32, map(str.encode, chain.from_iterable(terms)))
    owners = np.arange(len(terms), dtype=np.uint64) << np.uint64(32)
    hashes = np.repeat(owners, counts) | np.fromiter(each, np.uint64, sum(counts))
    hashes.sort()
    hashes = hashes[np.diff(hashes, prepend=np.uint64(2**64 - 1)) != 0]
    ends = np.searchsorted(hashes, owners + (1 << 32)).tolist()
    packed = hashes.astype("<u4").tobytes()
    return [packed[4 * start : 4 * end] for start, end in pairwise((0, *ends))]

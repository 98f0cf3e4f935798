"""A byte-level BPE vocabulary trained on the corpus (Sennrich and others, 2016; bytes after GPT-2).

The split into words follows llama.cpp's `qwen2` pre-tokeniser, with digits one by one, so that the
merges learned here are the merges llama.cpp applies.
"""

import random
import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.demo_model.corpus import END_OF_TEXT, TURN_END, TURN_START, sample

if TYPE_CHECKING:
    from gguf import GGUFWriter

SPECIAL_TOKENS = (END_OF_TEXT, TURN_START, TURN_END)
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content']"
    " + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_LEAST_COUNT = 5
_WORD = re.compile(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\w]?[^\W\d_]+|\d| ?[^\s\w]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens in order of their ids, and the merges that make them; special tokens come last."""

    tokens: tuple[str, ...]
    merges: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of tokens, special ones included."""
        return len(self.tokens) + len(SPECIAL_TOKENS)

    def special(self, token: str) -> int:
        """Id of a special token."""
        return len(self.tokens) + SPECIAL_TOKENS.index(token)


def learn(size: int, *, texts: int = 3_000, seed: int = 0) -> Vocabulary:
    """Learn a vocabulary of at most `size` tokens from the corpus."""
    words = [([*spelt], count) for spelt, count in _count_words(texts, seed).items()]
    tokens = list(_byte_letters().values())
    merges: list[str] = []
    while len(tokens) + len(SPECIAL_TOKENS) < size:
        pairs: Counter[tuple[str, str]] = Counter()
        for letters, count in words:
            for pair in pairwise(letters):
                pairs[pair] += count
        best, count = max(pairs.items(), key=lambda item: (item[1], item[0]))
        if count < _LEAST_COUNT:
            break
        merges.append(" ".join(best))
        tokens.append("".join(best))
        words = [(_merge(letters, best), count) for letters, count in words]
    return Vocabulary(tuple(tokens), tuple(merges))


def add_to(writer: "GGUFWriter", vocabulary: Vocabulary) -> None:
    """Write a vocabulary and the chat template into a GGUF."""
    from gguf import TokenType

    normal = len(vocabulary.tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([*vocabulary.tokens, *SPECIAL_TOKENS])
    kinds = [TokenType.NORMAL] * normal + [TokenType.CONTROL] * len(SPECIAL_TOKENS)
    writer.add_token_types(kinds)
    writer.add_token_merges(list(vocabulary.merges))
    writer.add_bos_token_id(normal)
    writer.add_pad_token_id(normal)
    writer.add_eos_token_id(normal + SPECIAL_TOKENS.index(TURN_END))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def write_vocabulary_only(vocabulary: Vocabulary, path: Path) -> None:
    """Write a GGUF that holds the vocabulary alone, for llama.cpp to tokenise with."""
    from gguf import GGUFWriter

    writer = GGUFWriter(str(path), "llama")
    writer.add_context_length(512)
    writer.add_embedding_length(128)
    writer.add_block_count(1)
    writer.add_feed_forward_length(128)
    writer.add_head_count(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(vocabulary.size)
    add_to(writer, vocabulary)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _count_words(texts: int, seed: int) -> Counter[str]:
    rng = random.Random(seed)
    special = re.compile("|".join(re.escape(token) for token in SPECIAL_TOKENS))
    counts: Counter[str] = Counter()
    for _ in range(texts):
        for part in special.split(sample(rng)):
            counts.update(_WORD.findall(part))
    letters = _byte_letters()
    spelt: Counter[str] = Counter()
    for word, count in counts.items():
        spelt["".join(letters[byte] for byte in word.encode())] += count
    return spelt


def _merge(letters: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    index = 0
    while index < len(letters):
        if tuple(letters[index : index + 2]) == pair:
            merged.append("".join(pair))
            index += 2
        else:
            merged.append(letters[index])
            index += 1
    return merged


def _byte_letters() -> dict[int, str]:
    """GPT-2's one printable letter for each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in printable}
    others = [byte for byte in range(256) if byte not in letters]
    letters |= {byte: chr(256 + number) for number, byte in enumerate(others)}
    return dict(sorted(letters.items()))

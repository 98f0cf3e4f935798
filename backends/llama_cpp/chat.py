"""Writes a conversation the way a model was trained to read it, and tokenises it safely.

A message is text, never control tokens: a user who writes `<|im_start|>system` does not open a
system turn. Templates come with the model file and run in jinja2's sandbox.
"""

import json
import logging
import re
import secrets
import time
from collections.abc import Sequence
from typing import NoReturn, Protocol

from jinja2 import Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from backends.errors import BackendRefusedError

logger = logging.getLogger(__name__)

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""The template for models that bring none."""

Turn = tuple[str, str]
"""Role and text of one message."""


class Vocabulary(Protocol):
    """What chat needs of a model's vocabulary."""

    @property
    def bos(self) -> str:
        """Text of the token that begins a text, or ""."""
        ...

    @property
    def eos(self) -> str:
        """Text of the token that ends a text, or ""."""
        ...

    @property
    def leading(self) -> list[int]:
        """Tokens every prompt must begin with: the one that begins a text, or none."""
        ...

    def control_texts(self) -> list[str]:
        """Texts that would be read as control tokens."""
        ...

    def tokenize(self, text: str, *, control: bool) -> list[int]:
        """Tokens of a text; `control` reads the texts of control tokens as those tokens."""
        ...


class ChatTemplate:
    """The chat template of one model."""

    def __init__(self, source: str, vocabulary: Vocabulary) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _to_json
        self._environment = environment
        self._source = source or CHATML
        self._template: Template | None = None
        self._vocabulary = vocabulary
        texts = sorted(filter(None, vocabulary.control_texts()), key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, texts))) if texts else None

    def tokenize(self, turns: Sequence[Turn]) -> list[int]:
        """Tokens of the conversation, ready for the model's answer.

        Raises:
            BackendRefusedError: The template does not take this conversation.
        """
        try:
            text = self._render(turns)
        except BackendRefusedError:
            # Some templates know no system turn, which is where the kernel puts memories.
            if [role for role, _ in turns[:2]] != ["system", "user"]:
                raise
            turns = [("user", f"{turns[0][1]}\n\n{turns[1][1]}"), *turns[2:]]
            text = self._render(turns)
        if self._control is None or not any(self._control.search(turn[1]) for turn in turns):
            tokens = self._vocabulary.tokenize(text, control=True)
        else:
            tokens = self._tokenize_apart(turns, text)
        leading = self._vocabulary.leading
        return tokens if tokens[: len(leading)] == leading else leading + tokens

    def _tokenize_apart(self, turns: Sequence[Turn], text: str) -> list[int]:
        """Tokenise messages as plain text, and only what the template added with control tokens."""
        for texts in ([turn[1] for turn in turns], [turn[1].strip() for turn in turns]):
            mark = secrets.token_hex(8)
            marks = [f"[{mark}:{index}]" for index in range(len(turns))]
            marked = self._render([(turn[0], marks[index]) for index, turn in enumerate(turns)])
            parts = re.split(rf"\[{mark}:(\d+)\]", marked)
            plain = [part if at % 2 == 0 else texts[int(part)] for at, part in enumerate(parts)]
            if "".join(plain) != text:
                continue
            tokens: list[int] = []
            for at, part in enumerate(plain):
                if part:
                    tokens += self._vocabulary.tokenize(part, control=at % 2 == 0)
            return tokens
        raise BackendRefusedError(
            "a message holds text that this model reads as a control token, and its chat template"
            " rewrites messages; take the control token out of the message"
        )

    def _render(self, turns: Sequence[Turn]) -> str:
        try:
            if self._template is None:
                self._template = self._environment.from_string(self._source, _GLOBALS)
            return self._template.render(
                messages=[{"role": role, "content": text} for role, text in turns],
                add_generation_prompt=True,
                bos_token=self._vocabulary.bos,
                eos_token=self._vocabulary.eos,
                tools=None,
            )
        # A template is a program of the model's author and may fail in any way.
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            logger.warning("chat template failed", extra={"detail": str(error)})
            roles = ", ".join(role for role, _ in turns[:8])
            raise BackendRefusedError(
                f"the chat template of this model does not take this conversation ({roles});"
                " begin with a user message and let user and assistant take turns"
            ) from error


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


_GLOBALS = {"raise_exception": _raise_exception, "strftime_now": time.strftime}


def _to_json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)

"""Writes a conversation the way a model was trained to read it, and tokenises it safely.

A message is text, never control tokens: a user who writes `<|im_start|>system` does not open a
system turn. Templates come with the model file and run in jinja2's sandbox.
"""

import json
import logging
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import NoReturn, Protocol, cast

from jinja2 import Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from backends.errors import BackendRefusedError
from backends.messages import JsonObject

logger = logging.getLogger(__name__)

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""The template for models that bring none."""


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

    def tokenize(
        self, messages: Sequence[JsonObject], tools: Sequence[JsonObject] = ()
    ) -> list[int]:
        """Tokens of the conversation, ready for the model's answer.

        Args:
            messages: As chat templates take them: `role`, `content`, `tool_calls` and so on.
            tools: Tools the model may call, as chat templates take them.

        Raises:
            BackendRefusedError: The template does not take this conversation.
        """
        messages = [
            {key: value if key == "content" else self._disarm(value) for key, value in each.items()}
            for each in messages
        ]
        tools = [cast("JsonObject", self._disarm(tool)) for tool in tools]
        try:
            text = self._render(messages, tools)
        except BackendRefusedError:
            # Some templates know no system turn, which is where the kernel puts memories.
            if [each["role"] for each in messages[:2]] != ["system", "user"]:
                raise
            joined = "\n\n".join(_texts(messages[:2]))
            messages = [{"role": "user", "content": joined}, *messages[2:]]
            text = self._render(messages, tools)
        if self._control is None or not any(map(self._control.search, _texts(messages))):
            tokens = self._vocabulary.tokenize(text, control=True)
        else:
            tokens = self._tokenize_apart(messages, tools, text)
        leading = self._vocabulary.leading
        return tokens if tokens[: len(leading)] == leading else leading + tokens

    def tokenize_control(self, text: str) -> list[int]:
        """Tokens of a text of our own that stands behind the conversation."""
        return self._vocabulary.tokenize(text, control=True)

    def _disarm(self, value: object) -> object:
        """The value, with a space inside whatever would be read as a control token.

        Descriptions of tools come from their servers, and arguments from a model. Both are here
        only for the model to read.
        """
        if isinstance(value, str):
            return self._control.sub(_spaced, value) if self._control else value
        if isinstance(value, Mapping):
            pairs = cast("JsonObject", value).items()
            return {str(self._disarm(key)): self._disarm(part) for key, part in pairs}
        if isinstance(value, list):
            return [self._disarm(part) for part in cast("list[object]", value)]
        return value

    def _tokenize_apart(
        self, messages: Sequence[JsonObject], tools: Sequence[JsonObject], text: str
    ) -> list[int]:
        """Tokenise messages as plain text, and only what the template added with control tokens."""
        whole = _texts(messages)
        for texts in (whole, [each.strip() for each in whole]):
            mark = secrets.token_hex(8)
            marks = [f"[{mark}:{index}]" if each else "" for index, each in enumerate(whole)]
            marked = self._render(
                [{**each, "content": marks[index]} for index, each in enumerate(messages)], tools
            )
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

    def _render(self, messages: Sequence[JsonObject], tools: Sequence[JsonObject]) -> str:
        try:
            if self._template is None:
                self._template = self._environment.from_string(self._source, _GLOBALS)
            return self._template.render(
                messages=messages,
                add_generation_prompt=True,
                bos_token=self._vocabulary.bos,
                eos_token=self._vocabulary.eos,
                tools=tools or None,
            )
        # A template is a program of the model's author and may fail in any way.
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            logger.warning("chat template failed", extra={"detail": str(error)})
            roles = ", ".join(str(each["role"]) for each in messages[:8])
            raise BackendRefusedError(
                f"the chat template of this model does not take this conversation ({roles});"
                " begin with a user message and let user and assistant take turns"
            ) from error


def _texts(messages: Sequence[JsonObject]) -> list[str]:
    return [str(each["content"]) for each in messages]


def _spaced(found: re.Match[str]) -> str:
    return f"{found[0][:1]} {found[0][1:]}"


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


_GLOBALS = {"raise_exception": _raise_exception, "strftime_now": time.strftime}


def _to_json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)

"""Prepares calls for the inference loop: template, tokens, limits, grammar, tools."""

from collections.abc import Collection, Sequence
from typing import cast

import numpy as np

from backends.errors import BackendRefusedError, ContextOverflowError, SchemaUnsupportedError
from backends.llama_cpp.answers import Answer
from backends.llama_cpp.binding import Library
from backends.llama_cpp.chat import ChatTemplate
from backends.llama_cpp.frames import Submit
from backends.llama_cpp.grammar import CallRule, schema_to_gbnf
from backends.llama_cpp.model import LoadedModel
from backends.llama_cpp.sampling import Chooser, Constraint, Sampling
from backends.llama_cpp.text_stream import TextStream
from backends.llama_cpp.tool_calls import CallFormat, call_format, calls_schema
from backends.messages import JsonObject


class Desk:
    """Turns what callers ask into answers to be generated; runs on the thread that reads."""

    def __init__(self, library: Library, model: LoadedModel) -> None:
        self._library = library
        self._model = model
        self._template = ChatTemplate(model.chat_template, model.vocab)
        self._form = call_format(model.chat_template)

    def prepare(self, call: Submit) -> Answer:
        """Turn a call into an answer to be generated, as far as it has come already.

        Raises:
            BackendRefusedError: It cannot be served.
        """
        form = self._form if call["tools"] else None
        shown = self._model.vocab.tokens_of(form.control) if form is not None else {}
        prompt = self._template.tokenize(call["messages"], call["tools"])
        if form is not None and call["tool_choice"] == "required":
            # The answer begins inside a call, and the grammar lets it be nothing else.
            prompt += self._template.tokenize_control(form.opening)
        wanted = len(prompt) + call["max_tokens"]
        if wanted > self._model.context_tokens:
            raise ContextOverflowError(wanted=wanted, limit=self._model.context_tokens)
        if not prompt:
            raise BackendRefusedError("the prompt is empty")
        answer = Answer(
            id=call["id"],
            prompt=np.array(prompt, np.int32),
            max_tokens=call["max_tokens"],
            chooser=Chooser(_sampling(call), self._constraint(call, form, shown)),
            text=TextStream(call["stop"]),
            shown=shown,
            logprobs=call["logprobs"],
        )
        if call["progress"] is not None:
            self._go_on(answer, call["progress"]["said"])
            answer.cached = call["progress"]["cached"]
        return answer

    def _go_on(self, answer: Answer, said: Sequence[int]) -> None:
        """Bring a new answer to where another worker left it."""
        answer.chooser.go_on_after(said)
        for token in said:
            answer.said.append(token)
            if answer.push(token, self._model.vocab.piece(token)):
                answer.unsaid = 0
            else:
                answer.unsaid += 1

    def _constraint(
        self, call: Submit, form: CallFormat | None, shown: Collection[int]
    ) -> Constraint | None:
        grammar = _grammar(call, form)
        if grammar is None:
            return None
        try:
            return Constraint(self._library, self._model.vocab, grammar, shown)
        except ValueError as error:
            raise SchemaUnsupportedError("schema: too large, or it never ends") from error


def _grammar(call: Submit, form: CallFormat | None) -> str | None:
    """What the answer is held to: a call, the schema, or either; None if nothing."""
    schema, choice = call["schema"], call["tool_choice"]
    if form is None or (schema is None and choice != "required"):
        return None if schema is None else schema_to_gbnf(schema)
    calls = calls_schema(form, [_with_grammar(tool) for tool in call["tools"]])
    if schema is None or choice == "required":
        return schema_to_gbnf(calls)
    closing = form.closing if form.opening else ""
    return schema_to_gbnf(schema, CallRule(form.opening, calls, closing))


def _sampling(call: Submit) -> Sampling:
    return Sampling(
        temperature=call["temperature"],
        top_p=call["top_p"],
        min_p=call["min_p"],
        repeat_penalty=call["repeat_penalty"],
        presence_penalty=call["presence_penalty"],
        frequency_penalty=call["frequency_penalty"],
        seed=call["seed"],
    )


def _with_grammar(tool: JsonObject) -> JsonObject:
    """The tool, with any object as arguments where a grammar cannot keep its schema.

    References point into the tool's own schema and would lead elsewhere in that of all calls.
    """
    function = cast("JsonObject", tool["function"])
    try:
        if "'$ref'" in str(function["parameters"]):
            raise SchemaUnsupportedError("a reference")
        schema_to_gbnf(cast("JsonObject", function["parameters"]))
    except SchemaUnsupportedError:
        return {**tool, "function": {**function, "parameters": {"type": "object"}}}
    return tool

"""Turns a request into the command for the worker, in the words of chat templates."""

import hashlib
from collections.abc import Sequence

from backends.errors import BackendRefusedError
from backends.llama_cpp.frames import Progress, Submit
from backends.llama_cpp.settings import LlamaSettings
from backends.messages import GenerateRequest, JsonObject, Message, ToolSpec

_LIMITS = {
    "temperature": (0.0, 10.0),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "repeat_penalty": (0.1, 10.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
    "logprobs": (0, 20),
}


def check_limits(request: GenerateRequest) -> None:
    """Check what a sampler can be asked for.

    Raises:
        BackendRefusedError: A number is out of its range; names it.
    """
    for key, (low, high) in _LIMITS.items():
        value = getattr(request, key)
        # Written so that a number that is none is out of range too.
        if value is not None and not low <= value <= high:
            raise BackendRefusedError(f"{key} = {value}: must be {low:g} to {high:g}")


def submit_command(
    call_id: int, request: GenerateRequest, settings: LlamaSettings, progress: Progress | None
) -> Submit:
    """The command that generates the answer, or goes on with it."""
    temperature = request.temperature
    tools = () if request.tool_choice == "none" else request.tools
    return Submit(
        op="submit",
        id=call_id,
        messages=_messages(request.messages),
        tools=[_tool(tool) for tool in tools],
        tool_choice=request.tool_choice,
        max_tokens=max(1, request.max_tokens),
        temperature=settings.temperature if temperature is None else temperature,
        top_p=_or(request.top_p, 1.0),
        min_p=_or(request.min_p, 0.0),
        repeat_penalty=_or(request.repeat_penalty, 1.0),
        presence_penalty=_or(request.presence_penalty, 0.0),
        frequency_penalty=_or(request.frequency_penalty, 0.0),
        seed=settings.seed if request.seed is None else request.seed,
        stop=list(request.stop),
        schema=request.schema,
        logprobs=request.logprobs,
        progress=progress,
    )


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _messages(messages: Sequence[Message]) -> list[JsonObject]:
    names = {call.id: call.name for message in messages for call in message.calls}
    return [_message(message, names.get(message.call_id, "")) for message in messages]


def _message(message: Message, tool: str) -> JsonObject:
    written: dict[str, object] = {"role": message.role, "content": message.text}
    if message.calls:
        written["tool_calls"] = [
            {
                "id": _short_id(call.id),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.calls
        ]
    if message.call_id:
        written |= {"tool_call_id": _short_id(message.call_id), "name": tool}
    return written


def _tool(tool: ToolSpec) -> JsonObject:
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.input_schema,
        },
    }


def _short_id(call_id: str) -> str:
    """The id as nine letters and digits: the templates of Mistral take no other."""
    if len(call_id) == 9 and call_id.isalnum():
        return call_id
    return hashlib.sha256(call_id.encode("utf-8", "replace")).hexdigest()[:9]

"""The tool `llm_generate`."""

import json
from dataclasses import asdict
from typing import Any

from mcp_types import CallToolResult, ToolAnnotations

from aios_mcp.kernel import Agent, Kernel
from aios_mcp.kernel.calls import GenerateCall, Generation, MemoryInjection
from aios_mcp.server.answers import GENERATED
from aios_mcp.server.progress import Report
from aios_mcp.server.schemas import ChatMessage, GenerateArguments
from aios_mcp.server.syscalls import LANES, Syscall, result, seconds, syscall
from backends.messages import GenerateRequest, Message, RequestedCall, ToolSpec


def llm_generate() -> Syscall:
    """Give the tool."""
    return syscall(
        GenerateArguments,
        _generate,
        name="llm_generate",
        title="Generate text",
        description=(
            "Generate text with a language model of this kernel: give `prompt`, or `messages` for a"
            " conversation. With `schema` the answer is JSON that satisfies it, parsed in `data`;"
            " with `memory` what you stored and fits is put in front of the prompt. The text"
            " streams as progress. With `tools` the model may ask for some, in `calls`: run them"
            " and tell the results in `messages`. Examples:"
            ' {"prompt": "Name three birds.", "max_tokens": 60};'
            ' {"prompt": "What did we decide about backups?", "memory": {"k": 3}};'
            ' {"prompt": "Rate: great stuff!", "schema": {"type": "object", "properties":'
            ' {"stars": {"type": "integer"}}, "required": ["stars"]}};'
            ' {"prompt": "Read a.txt", "tools": [{"name": "fs.read", "input_schema": {"type":'
            ' "object", "properties": {"path": {"type": "string"}}}}]}.'
        ),
        annotations=ToolAnnotations(
            read_only_hint=True, idempotent_hint=False, open_world_hint=True
        ),
        answer=GENERATED,
        waiting=_waiting,
    )


async def _generate(
    kernel: Kernel, agent: Agent, arguments: GenerateArguments, report: Report
) -> CallToolResult:
    generation = await kernel.llm_generate(agent, _call(arguments), report.piece, report.in_line)
    notes = [generation.note] if generation.note else []
    notes += [f"The model asks for {_shown(call)}." for call in generation.calls]
    if generation.finish_reason == "length":
        notes.append(f"The answer was cut off at max_tokens = {arguments.max_tokens}.")
    return result(generation.text, _structured(generation), notes=notes)


def _call(arguments: GenerateArguments) -> GenerateCall:
    messages = [_message(each) for each in arguments.messages or ()]
    if arguments.prompt is not None:
        messages = [Message("user", arguments.prompt)]
    if arguments.system is not None:
        messages = [Message("system", arguments.system), *messages]
    memory = arguments.memory
    return GenerateCall(
        request=GenerateRequest(
            messages=tuple(messages),
            max_tokens=arguments.max_tokens,
            temperature=arguments.temperature,
            top_p=arguments.top_p,
            min_p=arguments.min_p,
            repeat_penalty=arguments.repeat_penalty,
            presence_penalty=arguments.presence_penalty,
            frequency_penalty=arguments.frequency_penalty,
            seed=arguments.seed,
            stop=tuple(arguments.stop),
            schema=arguments.schema_,
            tools=tuple(ToolSpec(**tool.model_dump()) for tool in arguments.tools),
            tool_choice=arguments.tool_choice,
            logprobs=arguments.logprobs,
        ),
        model=arguments.model,
        memory=None if memory is None else MemoryInjection(**memory.model_dump()),
        lane=LANES[arguments.priority],
        session=arguments.session or "",
        deadline_seconds=seconds(arguments.deadline_ms),
        idempotency_key=arguments.idempotency_key,
    )


def _message(message: ChatMessage) -> Message:
    calls = tuple(RequestedCall(**call.model_dump()) for call in message.calls)
    return Message(message.role, message.content, calls, message.call_id or "")


def _shown(call: RequestedCall) -> str:
    return f"{call.name} with {json.dumps(call.arguments, ensure_ascii=False)}"


def _structured(generation: Generation) -> dict[str, Any]:
    micro_usd = generation.cost_micro_usd
    answer: dict[str, Any] = {
        "text": generation.text,
        "finish_reason": generation.finish_reason,
        "core": generation.core,
        "usage": {
            "input_tokens": generation.usage.input_tokens,
            "cached_tokens": generation.usage.cached_tokens,
            "output_tokens": generation.usage.output_tokens,
            "cost_usd": None if micro_usd is None else micro_usd / 1e6,
        },
        "attempts": [asdict(attempt) for attempt in generation.attempts],
        "queue_ms": generation.queue_ms,
        "run_ms": generation.run_ms,
        "request_id": generation.request_id,
    }
    if generation.calls:
        answer["calls"] = [asdict(call) for call in generation.calls]
    if generation.logprobs:
        answer["logprobs"] = [
            {
                **_token(each.text, each.logprob),
                "likeliest": [_token(*one) for one in each.likeliest],
            }
            for each in generation.logprobs
        ]
    if generation.data is not None:
        answer["data"] = generation.data
    if generation.note:
        answer["note"] = generation.note
    if generation.memories:
        answer["memories"] = list(generation.memories)
    if generation.turns:
        answer["turns"] = list(generation.turns)
    return answer


def _token(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob}


def _waiting(kernel: Kernel, agent: Agent) -> str:
    in_line = max((core.waiting for core in kernel.cores(agent)), default=0)
    return "waiting for the first text" + (f"; in line: {in_line}" if in_line else "")

"""Tools and a prompt that need input before they can answer: the way of 2026-07-28.

They answer what they need and are called again with it; the SDK seals the state in between.
"""

from collections.abc import Mapping
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.prompts import Prompt
from mcp_types import (
    CallToolResult,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    SamplingMessage,
    TextContent,
)

_Answer = CallToolResult | InputRequiredResult


def add_inputs(server: MCPServer[Any]) -> None:
    """Register them."""
    for tool in (
        test_input_required_result_elicitation,
        test_input_required_result_sampling,
        test_input_required_result_list_roots,
        test_input_required_result_request_state,
        test_input_required_result_multiple_inputs,
        test_input_required_result_multi_round,
        test_input_required_result_tampered_state,
        test_input_required_result_capabilities,
        test_streaming_elicitation,
    ):
        server.add_tool(tool)
    server.add_prompt(Prompt.from_function(test_input_required_result_prompt))


async def test_input_required_result_elicitation(ctx: Context[Any, Any]) -> _Answer:
    """Ask for a name, and greet."""
    name = _field(ctx, "user_name", "name")
    if name is None:
        return _need({"user_name": _ask("What is your name?", "name")})
    return _text(f"Hello, {name}!")


async def test_input_required_result_sampling(ctx: Context[Any, Any]) -> _Answer:
    """Let the client's model name a capital."""
    text = _sampled(ctx, "capital_question")
    if text is None:
        return _need({"capital_question": _sample("What is the capital of France?", 100)})
    return _text(text)


async def test_input_required_result_list_roots(ctx: Context[Any, Any]) -> _Answer:
    """Ask for the client's roots, and list them."""
    roots = (ctx.input_responses or {}).get("client_roots")
    if not isinstance(roots, ListRootsResult):
        return _need({"client_roots": ListRootsRequest()})
    return _text("Roots: " + ", ".join(str(root.uri) for root in roots.roots))


async def test_input_required_result_request_state(ctx: Context[Any, Any]) -> _Answer:
    """Ask for a confirmation, and get the state back with it."""
    ok = _field(ctx, "confirm", "ok")
    if ok is None or ctx.request_state != "confirming":
        asked = _ask("Please confirm", "ok", kind="boolean")
        return _need({"confirm": asked}, state="confirming")
    return _text(f"state-ok: {ok}")


async def test_input_required_result_multiple_inputs(ctx: Context[Any, Any]) -> _Answer:
    """Ask for three things at once."""
    name = _field(ctx, "user_name", "name")
    greeting = _sampled(ctx, "greeting")
    roots = (ctx.input_responses or {}).get("client_roots")
    if name is None or greeting is None or not isinstance(roots, ListRootsResult):
        return _need(
            {
                "user_name": _ask("What is your name?", "name"),
                "greeting": _sample("Generate a greeting", 50),
                "client_roots": ListRootsRequest(),
            },
            state="gathering",
        )
    return _text(f"{greeting}, {name} of {len(roots.roots)} roots")


async def test_input_required_result_multi_round(ctx: Context[Any, Any]) -> _Answer:
    """Ask twice; the state carries the first answer."""
    name = _field(ctx, "step1", "name")
    if name is not None:
        asked = _ask("Step 2: What is your favorite color?", "color")
        return _need({"step2": asked}, state=f"name={name}")
    color = _field(ctx, "step2", "color")
    if color is None or ctx.request_state is None:
        asked = _ask("Step 1: What is your name?", "name")
        return _need({"step1": asked}, state="asked")
    return _text(f"{ctx.request_state.removeprefix('name=')} likes {color}")


async def test_input_required_result_tampered_state(ctx: Context[Any, Any]) -> _Answer:
    """Ask with a state that must come back unchanged."""
    return await test_input_required_result_request_state(ctx)


async def test_input_required_result_capabilities(ctx: Context[Any, Any]) -> _Answer:
    """Ask only for what the client can give."""
    able = ctx.client_capabilities
    requests: dict[str, InputRequest] = {}
    if able is not None and able.elicitation is not None:
        requests["user_name"] = _ask("What is your name?", "name")
    if able is not None and able.sampling is not None:
        requests["greeting"] = _sample("Generate a greeting", 50)
    if not requests or ctx.input_responses:
        return _text("nothing more to ask")
    return _need(requests)


async def test_streaming_elicitation(ctx: Context[Any, Any]) -> _Answer:
    """Report progress, then ask."""
    await ctx.report_progress(1, 2)
    return await test_input_required_result_elicitation(ctx)


async def test_input_required_result_prompt(
    ctx: Context[Any, Any],
) -> str | InputRequiredResult:
    """Ask for a context, and quote it."""
    context = _field(ctx, "user_context", "context")
    if context is None:
        asked = _ask("What context should the prompt use?", "context")
        return _need({"user_context": asked})
    return f"Context: {context}"


def _need(requests: Mapping[str, InputRequest], state: str | None = None) -> InputRequiredResult:
    return InputRequiredResult(input_requests=dict(requests), request_state=state)


def _ask(message: str, name: str, kind: str = "string") -> ElicitRequest:
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def _sample(text: str, max_tokens: int) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(text=text))
    params = CreateMessageRequestParams(messages=[message], max_tokens=max_tokens)
    return CreateMessageRequest(params=params)


def _field(ctx: Context[Any, Any], key: str, name: str) -> object:
    answer = (ctx.input_responses or {}).get(key)
    if not isinstance(answer, ElicitResult) or answer.action != "accept":
        return None
    return (answer.content or {}).get(name)


def _sampled(ctx: Context[Any, Any], key: str) -> str | None:
    answer = (ctx.input_responses or {}).get(key)
    if isinstance(answer, CreateMessageResult) and isinstance(answer.content, TextContent):
        return answer.content.text
    return None


def _text(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=text)])

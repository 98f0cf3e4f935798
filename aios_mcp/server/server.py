"""The MCP server: one object for every transport and both protocol eras.

It stands on the SDK's `MCPServer` and replaces how that lists, calls and reads, because the SDK
would take unknown arguments, answer misuse with a tool error, and name everything to everyone.
Tools, resources and prompts that are registered with the SDK's decorators still work beside ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mcp.server import MCPServer
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import ListenHandler
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    GetPromptRequestParams,
    GetPromptResult,
    InputRequiredResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from aios_mcp.kernel import Agent, Agents, Kernel
from aios_mcp.server import prompts, resources
from aios_mcp.server.errors import misuse, protocol_error, unknown
from aios_mcp.server.identity import agent_of
from aios_mcp.server.pages import page
from aios_mcp.server.passthrough import Passthrough
from aios_mcp.server.syscalls import Start, Waiting
from aios_mcp.server.tools import run_call, syscalls
from aios_mcp.server.wire import guard
from aios_mcp.version import __version__

_INSTRUCTIONS = """\
An AI-OS kernel: models, tools and memory that agents share, behind one gate.
- Remember: add_memory stores what will matter later; search_memory finds it by meaning and words. \
Search before you ask the user something they may have told you before.
- Act: find_tools lists the downstream tools you may call, with their schemas; execute_tool runs \
one by its full name, server.tool.
- Generate: llm_generate runs a model here, for side work, drafts and JSON that satisfies a schema.
Errors carry a code, whether to retry, and when. `not_permitted` will not change by asking again. \
What you may do stands in aios://policy/me, what you used in aios://usage/me."""

_FRESH_MS = 60_000

# Lists differ by agent, and the state of the kernel from moment to moment.
_CACHE_HINTS: Mapping[CacheableMethod, CacheHint] = {
    "server/discover": CacheHint(_FRESH_MS),
    "tools/list": CacheHint(_FRESH_MS),
    "prompts/list": CacheHint(_FRESH_MS),
    "resources/list": CacheHint(_FRESH_MS),
    "resources/templates/list": CacheHint(_FRESH_MS),
    "resources/read": CacheHint(0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """What the server publishes, and for whom.

    Attributes:
        kernel: Where calls run.
        agents: Who may call.
        default_agent: Whom stdio and in-memory connections speak for.
        expose: `passthrough` also publishes downstream tools under their own names.
        exposed: Patterns of the tools that passthrough publishes, by server.
    """

    kernel: Kernel
    agents: Agents
    default_agent: str
    expose: Literal["gateway", "passthrough"] = "gateway"
    exposed: Mapping[str, Sequence[str]]


def build_server(surface: Surface) -> "AiosServer":
    """Give the server of a kernel, to be served over any transport."""
    return AiosServer(surface)


class AiosServer(MCPServer[dict[str, Any]]):
    """The SDK's server with the kernel's tools, resources and prompts."""

    # The SDK's constructor takes these methods as its handlers, so that overriding them here
    # holds on every transport. They are private to it: `mcp` is pinned, and tests/interaction
    # goes through each of them.

    def __init__(self, surface: Surface) -> None:
        self._surface = surface
        self._syscalls = syscalls()
        self._passthrough = Passthrough(
            surface.exposed if surface.expose == "passthrough" else dict[str, Sequence[str]]()
        )
        super().__init__(
            "aios-mcp",
            title="AI-OS kernel",
            instructions=_INSTRUCTIONS,
            version=__version__,
            log_level="WARNING",
            cache_hints=_CACHE_HINTS,
            middleware=[guard],
        )

    async def serve_streams(self, read: Any, write: Any) -> None:
        """Serve one connection over a pair of message streams until its end."""
        options = self._lowlevel_server.create_initialization_options()
        await self._lowlevel_server.run(read, write, options)

    def close_subscriptions(self) -> None:
        """End the open `subscriptions/listen` streams with their closing answer."""
        entry = self._lowlevel_server.get_request_handler("subscriptions/listen")
        if entry is not None and isinstance(entry.handler, ListenHandler):
            entry.handler.close()

    def _agent(self, ctx: ServerRequestContext[Any, Any]) -> Agent:
        return agent_of(ctx, self._surface.agents, self._surface.default_agent)

    async def _handle_list_tools(
        self, ctx: ServerRequestContext[Any, Any], params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        try:
            forwarded = await self._passthrough.tools(self._surface.kernel, self._agent(ctx))
        except Exception as exc:
            raise protocol_error(exc) from exc
        own = [each.tool for each in self._syscalls.values()]
        tools = sorted([*own, *await self.list_tools(), *forwarded], key=lambda tool: tool.name)
        shown = page(tools, params)
        return ListToolsResult(tools=shown.entries, next_cursor=shown.next_cursor)

    async def _handle_call_tool(
        self, ctx: ServerRequestContext[Any, Any], params: CallToolRequestParams
    ) -> CallToolResult | InputRequiredResult:
        name = params.name
        syscall = self._syscalls.get(name)
        if syscall is not None:
            return await self._run(ctx, params, syscall.start, syscall.waiting)
        if self._tool_manager.get_tool(name) is not None:
            return await super()._handle_call_tool(ctx, params)
        start = self._passthrough.start(name)
        if start is None:
            raise unknown("tool", name)
        return await self._run(ctx, params, start, lambda kernel, agent: "waiting for the tool")

    async def _run(
        self,
        ctx: ServerRequestContext[Any, Any],
        params: CallToolRequestParams,
        start: Start,
        waiting: Waiting,
    ) -> CallToolResult:
        kernel = self._surface.kernel
        result = await run_call(
            lambda agent, report: start(kernel, agent, params.arguments or {}, report),
            agent_of=lambda: self._agent(ctx),
            waiting=lambda agent: waiting(kernel, agent),
            tell=ctx.session.report_progress,
        )
        structured: object = result.structured_content
        if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS or isinstance(structured, dict | None):
            return result
        # Older revisions know objects only, and the text says it too.
        return result.model_copy(update={"structured_content": None})

    async def _handle_list_resources(
        self, ctx: ServerRequestContext[Any, Any], params: PaginatedRequestParams | None
    ) -> ListResourcesResult:
        del ctx
        everything = [*resources.resources(), *await self.list_resources()]
        shown = page(sorted(everything, key=lambda each: str(each.uri)), params)
        return ListResourcesResult(resources=shown.entries, next_cursor=shown.next_cursor)

    async def _handle_list_resource_templates(
        self, ctx: ServerRequestContext[Any, Any], params: PaginatedRequestParams | None
    ) -> ListResourceTemplatesResult:
        del ctx
        everything = [*resources.templates(), *await self.list_resource_templates()]
        shown = page(sorted(everything, key=lambda each: each.uri_template), params)
        return ListResourceTemplatesResult(
            resource_templates=shown.entries, next_cursor=shown.next_cursor
        )

    async def _handle_read_resource(
        self, ctx: ServerRequestContext[Any, Any], params: ReadResourceRequestParams
    ) -> ReadResourceResult | InputRequiredResult:
        uri = str(params.uri)
        if not uri.startswith(resources.SCHEME):
            return await super()._handle_read_resource(ctx, params)
        try:
            return await resources.read(self._surface.kernel, self._agent(ctx), uri)
        except Exception as exc:
            raise protocol_error(exc, uri=uri) from exc

    async def _handle_list_prompts(
        self, ctx: ServerRequestContext[Any, Any], params: PaginatedRequestParams | None
    ) -> ListPromptsResult:
        del ctx
        everything = [*prompts.prompts(), *await self.list_prompts()]
        shown = page(sorted(everything, key=lambda each: each.name), params)
        return ListPromptsResult(prompts=shown.entries, next_cursor=shown.next_cursor)

    async def _handle_get_prompt(
        self, ctx: ServerRequestContext[Any, Any], params: GetPromptRequestParams
    ) -> GetPromptResult | InputRequiredResult:
        own = {each.name: each for each in prompts.prompts()}
        known = own | {each.name: each for each in await self.list_prompts()}
        prompt = known.get(params.name)
        if prompt is None:
            raise unknown("prompt", params.name)
        given = params.arguments or {}
        arguments = prompt.arguments or []
        missing = [each.name for each in arguments if each.required and each.name not in given]
        if missing:
            raise misuse(f"prompt {params.name!r} needs the argument {missing[0]!r}")
        strange = sorted(given.keys() - {each.name for each in arguments})
        if strange:
            raise misuse(f"prompt {params.name!r} knows no argument {strange[0]!r}")
        if params.name not in own:
            return await super()._handle_get_prompt(ctx, params)
        try:
            return await prompts.get(self._surface.kernel, self._agent(ctx), params.name, given)
        except MCPError:
            raise
        except Exception as exc:
            raise protocol_error(exc) from exc

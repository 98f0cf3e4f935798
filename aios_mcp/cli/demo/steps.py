"""The steps of the tour. Each makes real calls, checks the answers and shows them."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from mcp import Client
from mcp_types import CallToolResult, TextContent, TextResourceContents

from aios_mcp.cli.demo.screen import Screen

_FACTS = (
    "Ada keeps the backup key in the blue drawer.",
    "The launch was moved to Friday.",
    "Omar likes green tea.",
)
_SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "city": {"type": "string"},
        "age": {"type": "integer", "minimum": 0},
    },
    "required": ["name", "city", "age"],
    "additionalProperties": False,
}


class StepError(Exception):
    """An answer was not what the tour promises."""


@dataclass(slots=True, kw_only=True)
class Tour:
    """Who takes part.

    Attributes:
        ada: A connection for the agent `ada`.
        meet_guest: Connects the agent `guest`, through a server process of its own.
        screen: Where it is shown.
        records: Ids of the audit records that ada's calls left.
    """

    ada: Client
    meet_guest: Callable[[], Awaitable[Client]]
    screen: Screen
    records: list[str] = field(default_factory=list[str])

    async def ask(
        self, client: Client, tool: str, arguments: Mapping[str, object], *, shown: str = ""
    ) -> dict[str, Any]:
        """Make a call that must succeed, show it, and give its structured answer."""
        result = await self._call(client, tool, arguments, shown)
        if result.is_error:
            raise StepError(f"{tool} failed: {_text(result)}")
        return _structured(result)

    async def ask_refused(
        self, client: Client, tool: str, arguments: Mapping[str, object], code: str
    ) -> None:
        """Make a call that must be refused with a code, and show the refusal."""
        result = await self._call(client, tool, arguments)
        error = _structured(result).get("error", {})
        if not result.is_error or error.get("code") != code:
            raise StepError(f"{tool} was not refused with {code}")
        self.screen.refusal(f"✋ {code}: {error['message']}")

    async def _call(
        self, client: Client, tool: str, arguments: Mapping[str, object], shown: str = ""
    ) -> CallToolResult:
        self.screen.call(tool, arguments, shown)
        result = await client.call_tool(tool, dict(arguments))
        self.note_record(client, result)
        return result

    def note_record(self, client: Client, result: CallToolResult) -> None:
        """Remember the audit record of one of ada's calls, where the answer names it."""
        structured = _structured(result)
        places = (structured, structured.get("error", {}), result.meta or {})
        ids = [place.get("request_id") or place.get("audit_id") for place in places]
        if client is self.ada:
            self.records += [each for each in ids if each]


@dataclass(frozen=True, slots=True)
class Step:
    """One stop of the tour: what happens, why it matters, and what does it."""

    headline: str
    why: str
    run: Callable[[Tour], Awaitable[None]]


async def list_tools(tour: Tour) -> None:
    """Show what a host sees."""
    names = [tool.name for tool in (await tour.ada.list_tools()).tools]
    if len(names) != 6:
        raise StepError(f"six tools were promised, not {names}")
    tour.screen.line(", ".join(names))


async def generate(tour: Tour) -> None:
    """Let the bundled model speak, word by word."""
    arguments = {"prompt": "What is an AI-OS kernel?", "max_tokens": 120}
    tour.screen.call("llm_generate", arguments)
    live = tour.screen.live()

    async def show(progress: float, total: float | None, message: str | None) -> None:
        del progress, total
        if message and not message.startswith("waiting for "):
            live.tail(message)

    result = await tour.ada.call_tool("llm_generate", arguments, progress_callback=show)
    if result.is_error or not _text(result):
        raise StepError(f"llm_generate failed: {_text(result)}")
    tour.note_record(tour.ada, result)
    answer = _structured(result)
    live.finish(answer["text"])
    usage = answer["usage"]
    tour.screen.line(
        f"[{answer['note']}: {usage['input_tokens']} tokens in, {usage['output_tokens']} out,"
        f" waited {answer['queue_ms']:.0f} ms, ran {answer['run_ms']:.0f} ms]"
    )


async def generate_json(tour: Tour) -> None:
    """Let the model fill in a form."""
    prompt = "Extract as JSON: Ada lives in Paris and is 36 years old."
    answer = await tour.ask(
        tour.ada,
        "llm_generate",
        {"prompt": prompt, "schema": _SCHEMA},
        shown=f"prompt={json.dumps(prompt)}, schema={{name: string, city: string, age: integer}}",
    )
    if set(answer["data"]) != {"name", "city", "age"} or not isinstance(answer["data"]["age"], int):
        raise StepError(f"the answer does not satisfy the schema: {answer['text']}")
    tour.screen.line(json.dumps(answer["data"], ensure_ascii=False))


async def use_tool(tour: Tour) -> None:
    """Find a tool of another server, and run it."""
    found = await tour.ask(tour.ada, "find_tools", {"query": "read a note"})
    names = [tool["name"] for tool in found["tools"]]
    tour.screen.line(", ".join(names))
    if "notebook.read_note" not in names or "notebook.delete_note" in names:
        raise StepError("find_tools must show what ada may call, and nothing else")
    answer = await tour.ask(
        tour.ada, "execute_tool", {"tool": "notebook.read_note", "arguments": {"title": "meeting"}}
    )
    tour.screen.line(str(answer.get("result")))


async def remember(tour: Tour) -> None:
    """Store memories and find one by its meaning."""
    for fact in _FACTS:
        await tour.ask(tour.ada, "add_memory", {"content": fact})
    found = await tour.ask(tour.ada, "search_memory", {"query": "I am locked out", "k": 3})
    if not found["hits"] or found["hits"][0]["content"] != _FACTS[0]:
        raise StepError("search_memory did not find what fits best")
    for hit in found["hits"]:
        tour.screen.line(f"{hit['score']:.2f}  {hit['content']}")


async def generate_with_memory(tour: Tour) -> None:
    """Answer from memory."""
    answer = await tour.ask(
        tour.ada,
        "llm_generate",
        {"prompt": "Where does Ada keep the backup key?", "memory": {"k": 2}, "max_tokens": 60},
    )
    if not answer.get("memories"):
        raise StepError("no memory was put in front of the prompt")
    if "blue drawer" not in answer["text"]:
        raise StepError(f"the answer is not the one in memory: {answer['text']}")
    tour.screen.line(answer["text"])


async def be_denied(tour: Tour) -> None:
    """Try what is not granted."""
    await tour.ask_refused(
        tour.ada,
        "execute_tool",
        {"tool": "notebook.delete_note", "arguments": {"title": "meeting"}},
        "not_permitted",
    )


async def be_apart(tour: Tour) -> None:
    """Look for another agent's memory."""
    guest = await tour.meet_guest()
    found = await tour.ask(guest, "search_memory", {"query": "backup key"})
    if found["hits"]:
        raise StepError("the guest found a memory of ada's")
    tour.screen.line("(nothing)")


async def run_out(tour: Tour) -> None:
    """Ask for more than the budget covers, and look at what is left."""
    guest = await tour.meet_guest()
    await tour.ask_refused(
        guest,
        "llm_generate",
        {"prompt": "Tell me a long story.", "max_tokens": 500},
        "budget_exceeded",
    )
    for name, client in (("ada", tour.ada), ("guest", guest)):
        usage = await _read(client, "aios://usage/me")
        tour.screen.line(f"{name}: {usage['tokens']} of {usage['tokens_limit']} tokens used today")


async def look_back(tour: Tour) -> None:
    """Read the audit records of what happened."""
    for record_id in dict.fromkeys(tour.records):
        record = await _read(tour.ada, f"aios://audit/{record_id}")
        if not record["outcome"]:
            raise StepError(f"record {record_id} says no outcome")
        tour.screen.line(
            f"{record['seq']:>3}  {record['op']:<13} {record['target']:<21}"
            f" {record['outcome']:<14} {record['tokens']:>4} tokens"
        )


STEPS = (
    Step(
        "A host connects, and sees six tools",
        "However many servers and models stand behind it, a host's context holds six schemas.",
        list_tools,
    ),
    Step(
        "It generates text",
        "llama.cpp runs in a process of its own; many agents share its slots, and text streams.",
        generate,
    ),
    Step(
        "Or JSON, by a schema",
        "The model cannot leave the schema: each next token is held to its grammar.",
        generate_json,
    ),
    Step(
        "Tools of other servers come through one door",
        "Found by words, so that no host carries all schemas; only permitted ones show up.",
        use_tool,
    ),
    Step(
        "It remembers",
        "A memory is on disk before the answer; it is found by meaning and by words.",
        remember,
    ),
    Step(
        "A model answers from memory",
        "The kernel puts the memories that fit in front of the prompt.",
        generate_with_memory,
    ),
    Step(
        "What is not granted is denied",
        "ada may use the notebook, but delete nothing. A forbidden tool reads like an absent one.",
        be_denied,
    ),
    Step(
        "Agents are kept apart",
        "guest, another host with a server process of its own, looks for ada's key.",
        be_apart,
    ),
    Step(
        "Nobody overspends",
        "A call's worst case is set aside before it starts; guest has 300 tokens a day.",
        run_out,
    ),
    Step(
        "Everything is on record",
        "Who, what, how it ended and what it used; hash-chained, digests instead of contents.",
        look_back,
    ),
)


async def _read(client: Client, uri: str) -> dict[str, Any]:
    contents = (await client.read_resource(uri)).contents[0]
    assert isinstance(contents, TextResourceContents)
    value: dict[str, Any] = json.loads(contents.text)
    return value


def _structured(result: CallToolResult) -> dict[str, Any]:
    structured: object = result.structured_content
    return cast("dict[str, Any]", structured) if isinstance(structured, dict) else {}


def _text(result: CallToolResult) -> str:
    return " ".join(block.text for block in result.content if isinstance(block, TextContent))

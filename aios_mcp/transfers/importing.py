"""Brings memories into a kernel, in the order and with the times, versions and links they had."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from aios_mcp.kernel import Agent, Kernel
from aios_mcp.kernel.calls import DEFAULT_NAMESPACE, AddCall
from aios_mcp.transfers.calls import patiently, read_memories
from aios_mcp.transfers.foreign import Entry, read_mem0, read_memory_server
from aios_mcp.transfers.lines import BadLineError, Incoming, object_of, read_header, read_record
from backends.errors import MemoryNotFoundError
from backends.messages import MemoryDraft

Format = Literal["auto", "aios", "mem0", "mcp-memory"]
OnProgress = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Imported:
    """What became of a file.

    Attributes:
        added: Memories that are new.
        present: Those that stood there already.
        problems: What could not be imported, by number of its line or entry in the file.
    """

    added: int = 0
    present: int = 0
    problems: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])


def read_file(text: str, form: Format) -> Iterator[Entry]:
    """Give the memories of a file, oldest first, and what of it is none.

    Raises:
        BadLineError: The file is of a format that is not known.
    """
    first = next((line for line in text.split("\n") if line.strip()), "")
    if form == "auto":
        form = _guess(first)
    match form:
        case "aios":
            if not read_header(first):
                raise BadLineError("the first line is not the header of an export of aios-mcp")
            yield from _read_own(text)
        case "mem0":
            yield from read_mem0(text)
        case "mcp-memory":
            yield from read_memory_server(text)
        case "auto":
            raise AssertionError("unreachable")


class _Awaiting(NamedTuple):
    """A link whose end comes later in the file."""

    line: int
    id: str
    relation: str


class Importer:
    """Adds memories for an agent; what stands there already is found again, not added twice.

    A memory stands there already if one of the same text, kind, data, session, namespace and time
    does, an older version too; one without a time, if the same is current.
    """

    def __init__(self, kernel: Kernel, agent: Agent, namespace: str | None) -> None:
        """Keep where to import to; no namespace means the one that each memory names."""
        self._kernel = kernel
        self._agent = agent
        self._namespace = namespace
        self._present: dict[str, list[str]] = {}
        self._drafts: dict[str, tuple[str, MemoryDraft]] = {}
        self._ids: dict[str, str] = {}
        self._awaited: dict[str, list[_Awaiting]] = {}

    async def run(self, entries: Iterable[Entry], on_progress: OnProgress) -> Imported:
        """Import memories; a bad one is noted and the rest goes on.

        Raises:
            KernelError, SchedulerError, StoreError: See `aios_mcp.errors`; what was imported stays.
        """
        await self._look()
        done = Imported()
        for number, entry in entries:
            on_progress(f"line {number}")
            if isinstance(entry, BadLineError):
                done.problems.append((number, str(entry)))
            else:
                try:
                    is_new = await self._bring(entry)
                    done.added += is_new
                    done.present += not is_new
                except MemoryNotFoundError:
                    done.problems.append((number, "what it replaces or links to is not current"))
        done.problems += [
            (each.line, f"link to {target!r} left out: the file has no such memory")
            for target, waiting in self._awaited.items()
            for each in waiting
        ]
        return done

    async def _bring(self, incoming: Incoming) -> bool:
        namespace = self._namespace or incoming.namespace or DEFAULT_NAMESPACE
        draft = incoming.draft
        here = tuple((name, self._ids[to]) for name, to in draft.links if to in self._ids)
        for relation, target in draft.links:
            if target not in self._ids:
                waiting = _Awaiting(incoming.line, incoming.id, relation)
                self._awaited.setdefault(target, []).append(waiting)
        ready = replace(
            draft, links=here, replaces=self._ids.get(draft.replaces) if draft.replaces else None
        )
        known = self._present.get(_key(namespace, ready), [])
        if known:
            memory, is_new = known.pop(0), False
        else:
            memory, is_new = await self._add(namespace, ready)
        self._ids[incoming.id] = memory
        self._drafts[incoming.id] = namespace, replace(ready, replaces=None, links=())
        awaiting = self._awaited.pop(incoming.id, [])
        if is_new:  # else they were made when it was imported before
            await self._link(awaiting, memory)
        return is_new

    async def _link(self, awaiting: Iterable[_Awaiting], target: str) -> None:
        """Make the links that waited for a memory, by adding again where they begin."""
        for each in awaiting:
            namespace, draft = self._drafts[each.id]
            await self._add(namespace, replace(draft, links=((each.relation, target),)))

    async def _add(self, namespace: str, draft: MemoryDraft) -> tuple[str, bool]:
        call = AddCall(draft=draft, namespace=namespace)
        added = await patiently(lambda: self._kernel.add_memory(self._agent, call))
        return added.id, not added.deduplicated

    async def _look(self) -> None:
        async for record in read_memories(self._kernel, self._agent, self._namespace):
            key = _key(record.namespace, record.draft)
            self._present.setdefault(key, []).append(record.id)


def _guess(first: str) -> Format:
    if read_header(first):
        return "aios"
    # What is no object may be the beginning of a JSON text over many lines, as mem0 writes them.
    is_graph = object_of(first).get("type") in ("entity", "relation")
    return "mcp-memory" if is_graph else "mem0"


def _read_own(text: str) -> Iterator[Entry]:
    is_first = True
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        if is_first:
            is_first = False
            continue
        try:
            yield number, read_record(number, line)
        except BadLineError as exc:
            yield number, exc


def _key(namespace: str, draft: MemoryDraft) -> str:
    return json.dumps(
        [namespace, draft.session, draft.content, draft.kind, draft.data, draft.created],
        sort_keys=True,
    )

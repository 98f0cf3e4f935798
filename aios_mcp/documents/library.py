"""Keeps memories in step with files: adds what is new, replaces what changed, leaves the rest."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import anyio.to_thread

from aios_mcp.documents.chunks import Chunk, cut
from aios_mcp.documents.files import DocumentFile, read_text
from aios_mcp.documents.headings import SEPARATOR
from aios_mcp.kernel import Agent, Kernel
from aios_mcp.kernel.calls import AddCall, ForgetCall
from aios_mcp.transfers.calls import patiently, read_memories
from backends.messages import JsonObject, MemoryDraft, Selection

_FORGOTTEN_AT_ONCE = 500
_REASON = "the document changed"


class Change(NamedTuple):
    """What became of a document, in chunks."""

    added: int
    kept: int
    forgotten: int


class _Mark(NamedTuple):
    """By which a stored chunk is known to be one of a file, and unchanged."""

    name: str
    sha256: str
    first_line: int
    last_line: int
    kind: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """The documents of one namespace, as one agent keeps them. Call `look` once before the rest.

    A document's chunks stand in the order they were added, so that each finds its neighbours in the
    session that is its document; one that changed is replaced from its first changed chunk on.

    Attributes:
        kind: Of the memories.
        tags: Of the memories.
        max_tokens: Largest chunk.
    """

    kernel: Kernel
    agent: Agent
    namespace: str
    kind: str
    tags: tuple[str, ...]
    max_tokens: int
    _stored: dict[str, list[tuple[_Mark, str]]] = field(
        default_factory=dict[str, list[tuple[_Mark, str]]]
    )

    async def look(self) -> None:
        """Read which documents are stored.

        Raises:
            KernelError, SchedulerError, StoreError: See `aios_mcp.errors`.
        """
        async for record in read_memories(self.kernel, self.agent, self.namespace):
            mark = _mark(record.draft)
            if record.is_current and mark is not None:
                self._stored.setdefault(mark.name, []).append((mark, record.id))

    async def put(self, file: DocumentFile) -> Change:
        """Store a document as it is now.

        Raises:
            UnreadableError: It is no text, or too large; what is stored of it stays.
            OSError: It cannot be read.
            KernelError, SchedulerError, StoreError: See `aios_mcp.errors`.
        """
        text = await anyio.to_thread.run_sync(read_text, file.path)
        chunks = cut(text, suffix=file.path.suffix, max_tokens=self.max_tokens)
        wanted = {_content(file.name, chunk): chunk for chunk in reversed(chunks)}
        drafts = [self._draft(file.name, *each) for each in reversed(wanted.items())]
        marks = [mark for draft in drafts if (mark := _mark(draft))]
        stored = self._stored.get(file.name, [])
        kept = 0
        while kept < min(len(stored), len(marks)) and stored[kept][0] == marks[kept]:
            kept += 1
        await self._forget(memory for _, memory in stored[kept:])
        self._stored[file.name] = stored[:kept]
        for mark, draft in zip(marks[kept:], drafts[kept:], strict=True):
            added = await self._add(draft)
            self._stored[file.name].append((mark, added))
        return Change(added=len(marks) - kept, kept=kept, forgotten=len(stored) - kept)

    async def prune(self, roots: Iterable[str], present: Iterable[str]) -> int:
        """Forget the documents below these roots that are not present; gives how many.

        Raises:
            KernelError, SchedulerError, StoreError: See `aios_mcp.errors`.
        """
        below = tuple(roots)
        gone = [
            name
            for name in self._stored.keys() - set(present)
            if any(name == root or name.startswith(f"{root}/") for root in below)
        ]
        for name in gone:
            await self._forget(memory for _, memory in self._stored.pop(name))
        return len(gone)

    def _draft(self, name: str, content: str, chunk: Chunk) -> MemoryDraft:
        return MemoryDraft(
            content=content,
            kind=self.kind,
            tags=self.tags,
            session=f"document:{name}",
            source={
                "path": name,
                "lines": [chunk.first_line, chunk.last_line],
                "sha256": hashlib.sha256(content.encode()).hexdigest(),
            },
        )

    async def _add(self, draft: MemoryDraft) -> str:
        call = AddCall(draft=draft, namespace=self.namespace)
        return (await patiently(lambda: self.kernel.add_memory(self.agent, call))).id

    async def _forget(self, memories: Iterable[str]) -> None:
        for ids in _some(memories):
            call = ForgetCall(
                selection=Selection(ids=ids), namespace=self.namespace, reason=_REASON
            )
            await patiently(partial(self.kernel.forget_memory, self.agent, call))


def _content(name: str, chunk: Chunk) -> str:
    head = f"{name}{SEPARATOR}{chunk.title}" if chunk.title else name
    return f"{head}\n\n{chunk.text}"


def _mark(draft: MemoryDraft) -> _Mark | None:
    """Give what a stored chunk is known by; None for memories that are none."""
    source: JsonObject = draft.source
    match source.get("path"), source.get("sha256"), source.get("lines"):
        case str(name), str(sha256), [int(first), int(last)]:
            return _Mark(name, sha256, first, last, draft.kind, tuple(sorted(set(draft.tags))))
        case _:
            return None


def _some(ids: Iterable[str]) -> Iterator[tuple[str, ...]]:
    rest = tuple(ids)
    for begin in range(0, len(rest), _FORGOTTEN_AT_ONCE):
        yield rest[begin : begin + _FORGOTTEN_AT_ONCE]

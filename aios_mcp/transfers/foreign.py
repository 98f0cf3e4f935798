"""Memories as other programs write them down: mem0, and the official memory server of MCP.

mem0 writes JSON, either a list or an object that holds one under `results` or `memories`; its
exports of one memory a line are read too. The memory server keeps one entity or relation a line:
each entity becomes a memory, each relation a link between two.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

from aios_mcp.transfers.lines import BadLineError, Incoming
from backends.messages import FIRST_MOMENT, LAST_MOMENT, MemoryDraft

_TEXT_KEYS = ("memory", "content", "text", "data")
_OWNERS = ("user_id", "agent_id", "app_id", "run_id", "actor_id")

Entry = tuple[int, Incoming | BadLineError]
"""A line or entry of a file by its number, from 1, and what it is."""


def read_mem0(text: str) -> Iterator[Entry]:
    """Give the memories of a mem0 export, oldest first as far as it says when they were made."""
    read: list[Entry] = []
    for number, value in _mem0_values(text):
        try:
            read.append((number, _from_mem0(number, value)))
        except BadLineError as exc:
            read.append((number, exc))
    yield from sorted(read, key=_made)


def read_memory_server(text: str) -> Iterator[Entry]:
    """Give the entities of the memory server's file as memories, their relations as links."""
    read: list[Entry] = []
    entities: dict[str, int] = {}
    relations: list[tuple[int, Mapping[str, object]]] = []
    for number, value in _json_lines(text):
        try:
            if isinstance(value, BadLineError):
                raise value
            item = _object(value)
            if item.get("type") == "relation":
                relations.append((number, item))
                continue
            entity = _from_entity(number, item)
            entities[entity.id] = len(read)
            read.append((number, entity))
        except BadLineError as exc:
            read.append((number, exc))
    for number, relation in relations:
        problem = _link(relation, entities, read)
        if problem:
            read.append((number, BadLineError(problem)))
    yield from read


def _link(relation: Mapping[str, object], entities: Mapping[str, int], read: list[Entry]) -> str:
    """Give the entity a relation begins at its link; what is wrong with it, or ""."""
    begin, end, name = relation.get("from"), relation.get("to"), relation.get("relationType")
    if not (isinstance(begin, str) and isinstance(end, str) and isinstance(name, str) and name):
        return "a relation needs from, to and relationType"
    for each in (begin, end):
        if each not in entities:
            return f"the relation names entity {each!r}, which is not in the file"
    number, entity = read[entities[begin]]
    assert isinstance(entity, Incoming)
    draft = replace(entity.draft, links=(*entity.draft.links, (name, end)))
    read[entities[begin]] = number, entity.model_copy(update={"draft": draft})
    return ""


def _from_entity(number: int, item: Mapping[str, object]) -> Incoming:
    name, kind = item.get("name"), item.get("entityType")
    observations = item.get("observations", [])
    if item.get("type") != "entity" or not isinstance(name, str) or not name:
        raise BadLineError("neither an entity with a name nor a relation")
    if not isinstance(observations, list) or not all(
        isinstance(each, str) for each in cast("list[object]", observations)
    ):
        raise BadLineError("observations: a list of texts is expected")
    kind = kind if isinstance(kind, str) and kind else "entity"
    listed = [f"- {each}" for each in cast("list[str]", observations)]
    draft = MemoryDraft(
        content="\n".join((f"{name} ({kind})", *listed)),
        kind=kind,
        data={"entity": name},
        source={"imported": "mcp-memory"},
    )
    return Incoming(line=number, id=name, namespace=None, draft=draft)


def _from_mem0(number: int, value: object) -> Incoming:
    if isinstance(value, BadLineError):
        raise value
    item = _object(value)
    content = next((text for key in _TEXT_KEYS if isinstance(text := item.get(key), str)), "")
    if not content.strip():
        raise BadLineError(f"no text; it is expected under one of: {', '.join(_TEXT_KEYS)}")
    owners = {key: item[key] for key in _OWNERS if isinstance(item.get(key), str)}
    categories = item.get("categories")
    tags = cast("list[object]", categories) if isinstance(categories, list) else []
    metadata = item.get("metadata") or item.get("metadata_")
    memory = str(item.get("id", number))
    draft = MemoryDraft(
        content=content,
        tags=tuple(each for each in tags if isinstance(each, str) and each),
        data=cast("dict[str, object]", metadata) if isinstance(metadata, dict) else None,
        session=str(owners.get("run_id", "")),
        created=_moment(item.get("created_at")),
        expires=_moment(item.get("expiration_date")),
        source={"imported": "mem0", "id": memory, **owners},
    )
    return Incoming(line=number, id=memory, namespace=None, draft=draft)


def _mem0_values(text: str) -> Iterator[tuple[int, object]]:
    try:
        whole: object = json.loads(text)
    except (ValueError, RecursionError):
        yield from _json_lines(text)
        return
    for key in ("results", "memories"):
        if isinstance(whole, dict) and key in whole:
            whole = cast("dict[str, object]", whole)[key]
    if isinstance(whole, list):
        yield from enumerate(cast("list[object]", whole), 1)
    else:
        yield 1, whole


def _json_lines(text: str) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError):
            yield number, BadLineError("not JSON")


def _object(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise BadLineError("a JSON object is expected")
    return cast("Mapping[str, object]", value)


def _moment(value: object) -> float | None:
    """Read a time as mem0 writes it: ISO 8601, or Unix seconds; None where it is neither."""
    seconds: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value
    elif isinstance(value, str):
        with suppress(ValueError):
            moment = datetime.fromisoformat(value)
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if seconds is None or not FIRST_MOMENT <= seconds <= LAST_MOMENT:
        return None
    return float(seconds)


def _made(entry: Entry) -> float:
    _, value = entry
    created = None if isinstance(value, BadLineError) else value.draft.created
    return created or 0.0

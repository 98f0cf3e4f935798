"""The tables of the configuration file that are about memories."""

import json
from collections.abc import Iterator
from typing import Any, Self, cast

import jsonschema
from pydantic import Field, model_validator
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from aios_mcp.config.part import POSTGRES, Name, Namespace, Part, Rate, SecretRef


class KindPart(Part):
    """`[memory.kinds.NAME]`: what memories of this kind must look like."""

    data_schema: dict[str, object] = Field(
        description="JSON Schema of the data beside the text, as a table"
    )

    @model_validator(mode="after")
    def _is_a_schema(self) -> Self:
        try:
            jsonschema.Draft202012Validator.check_schema(self.json_schema())
        except jsonschema.SchemaError as exc:
            raise ValueError(f"data_schema is not a JSON Schema: {exc.message}") from exc
        schema: Resource[Any] = DRAFT202012.create_resource(self.json_schema())
        resolver = cast("Any", Registry)().with_resource("", schema).resolver()
        for ref in _references(schema.contents):
            try:
                resolver.lookup(ref)
            except Unresolvable as exc:
                raise ValueError(
                    f"data_schema refers to {ref!r}, which it does not hold; put it under $defs,"
                    " and refer to it as #/$defs/NAME"
                ) from exc
        return self

    def json_schema(self) -> dict[str, object]:
        """Give the schema with its arrays as lists; the file's are tuples here."""
        schema: dict[str, object] = json.loads(json.dumps(self.data_schema))
        return schema


def _references(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        for name, value in cast("dict[str, object]", part).items():
            if name == "$ref" and isinstance(value, str):
                yield value
            yield from _references(value)
    elif isinstance(part, list):
        for value in cast("list[object]", part):
            yield from _references(value)


class SessionsPart(Part):
    """`[memory.sessions]`: what was said last, for calls that ask for it with `memory.turns`."""

    max_turns: int = Field(default=32, ge=1, le=1000, description="Most exchanges of one session")
    max_in_all: int = Field(
        default=500, ge=1, le=100_000, description="Most exchanges of all sessions of an agent"
    )
    hours: float = Field(
        default=24.0, gt=0, le=8760, description="An exchange is forgotten after so long"
    )


class ExtractPart(Part):
    """`[memory.extract]`: memories made of conversations in the background."""

    agents: tuple[Name, ...] = Field(
        default=(),
        description="Agents from whose sessions memories are extracted, on their budget, into self",
    )
    model: Name = Field(default="balanced", description="A tier, or the name of a core")
    kinds: tuple[str, ...] = Field(
        default=("fact", "preference", "decision", "procedure", "episode"),
        min_length=1,
        description="Kinds that these memories may be of",
    )
    max_memories: int = Field(default=8, ge=1, le=64, description="Most memories of one call")
    after_turns: int = Field(
        default=6, ge=1, le=1000, description="When so many exchanges of a session wait"
    )
    idle_seconds: float = Field(
        default=300.0, gt=0, le=86_400, description="Or when none has come for so long"
    )
    max_tokens: int = Field(default=1024, ge=16, le=100_000, description="Most tokens of an answer")
    prompt_tokens: int = Field(
        default=4096, ge=64, le=1_000_000, description="Most of a conversation for one call"
    )


class MemoryPart(Part):
    """`[memory]`."""

    kinds: dict[str, KindPart] = Field(
        default_factory=dict[str, KindPart], description="Kinds whose data must fit a schema"
    )

    embedder: str = Field(
        default="auto",
        description="auto, minilm, static, the path of an embedding GGUF, or a name of [embedders]",
    )
    embeddings_may_leave: bool = Field(
        default=False, description="Memories may be sent to an endpoint of [embedders]"
    )
    url: str | None = Field(
        default=None,
        pattern=POSTGRES,
        description="A PostgreSQL database with pgvector, for kernels that share memories:"
        " postgresql://USER@HOST:PORT/DATABASE; without it they stand in the data directory",
    )
    password: SecretRef | None = Field(
        default=None, description="For url, as env:VARIABLE or file:PATH"
    )
    connections: int = Field(default=8, ge=1, le=64, description="For url: open at once")
    cache_mb: int = Field(
        default=128,
        ge=0,
        le=1_000_000,
        description="Without url: most of the index that searches keep in memory",
    )
    sessions: SessionsPart = Field(default_factory=SessionsPart)
    extract: ExtractPart = Field(default_factory=ExtractPart)

    @model_validator(mode="after")
    def _extracted_kinds_are_free(self) -> Self:
        if bound := [kind for kind in self.extract.kinds if kind in self.kinds]:
            raise ValueError(
                f"memory.extract.kinds names {bound[0]!r}, whose data must fit a schema; extracted"
                " memories are texts alone, so leave it out"
            )
        return self


class AgentMemoryPart(Part):
    """`memory` of an agent: namespaces such as self/*, shared, team/alpha."""

    read: tuple[Namespace, ...] = Field(default=(), description="Namespaces it may search")
    write: tuple[Namespace, ...] = Field(
        default=(), description="Namespaces it may add to and forget from"
    )
    max_rows: int = Field(
        default=100_000, ge=1, le=10_000_000, description="Most memories of its own"
    )
    max_mb: float = Field(
        default=500.0, gt=0, le=1_000_000, description="Most megabytes of its own"
    )
    add_rate: Rate | None = Field(
        default=None, description="Memories it may add a minute, wherever to, such as 600/min"
    )

"""What the configuration asks of memories of some kinds: JSON that fits a schema."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import jsonschema
from referencing import Registry

from aios_mcp.errors import InvalidArgumentError
from backends.messages import JsonObject, MemoryDraft

_MOST_PROBLEMS = 5
_NO_OTHERS: Registry[Any] = Registry()


class Kinds:
    """Schemas by kind; a kind without one is free."""

    def __init__(self, schemas: Mapping[str, JsonObject] | None = None) -> None:
        self._validators = {
            # A registry of its own holds nothing: what a schema names elsewhere is not fetched.
            kind: jsonschema.Draft202012Validator(schema, registry=_NO_OTHERS)
            for kind, schema in (schemas or {}).items()
        }

    def check(self, draft: MemoryDraft) -> None:
        """Check a draft's JSON against the schema of its kind.

        Raises:
            InvalidArgumentError: It does not fit; the text names each place and what is wrong.
        """
        validator = self._validators.get(draft.kind)
        if validator is None:
            return
        if draft.data is None:
            raise InvalidArgumentError(
                f"a memory of kind {draft.kind!r} needs 'data' that fits this schema:"
                f" {validator.schema}"
            )
        found: Iterable[jsonschema.ValidationError] = cast("Any", validator).iter_errors(draft.data)
        errors = sorted(found, key=lambda each: [str(step) for step in each.path])
        problems = [
            f"'{'.'.join(['data', *map(str, error.path)])}': {error.message}" for error in errors
        ]
        if problems:
            told = "; ".join(problems[:_MOST_PROBLEMS])
            raise InvalidArgumentError(f"a memory of kind {draft.kind!r} does not fit: {told}")

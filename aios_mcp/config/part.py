"""What the tables of the configuration have in common: their kind, and the texts they hold."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
Name = Annotated[str, Field(pattern=f"^{NAME}$")]
SECRET_REF = r"^(env|file):.+$"
NAMESPACE = r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*(/\*)?$"
RATE = r"^[1-9][0-9]{0,5}/min$"
ADDRESS = r"^https?://[^\s/]+"
POSTGRES = r"^postgres(ql)?://([^\s:/@?]*@)?[^\s@]*$"

SecretRef = Annotated[str, Field(pattern=SECRET_REF)]
"""Where a secret is found: `env:VARIABLE` or `file:PATH`; never the secret itself."""

Namespace = Annotated[str, Field(pattern=NAMESPACE)]
"""A memory namespace, or all below one: self, self/*, shared, team/alpha."""

Rate = Annotated[str, Field(pattern=RATE)]


class Part(BaseModel):
    """A table of the file: frozen, and closed against unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def per_minute(rate: str | None) -> int | None:
    """Give the number of a rate."""
    return None if rate is None else int(rate.partition("/")[0])

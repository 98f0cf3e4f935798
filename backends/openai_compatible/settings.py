"""What a core behind an OpenAI-compatible endpoint is configured with."""

import ipaddress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

MaxTokensField = Literal["max_tokens", "max_completion_tokens"]
RepeatPenaltyField = Literal["repeat_penalty", "repetition_penalty"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAISettings:
    """One model of one endpoint.

    Attributes:
        name: The core's name, as people know it; errors name it.
        base_url: Where `chat/completions` is found, such as `http://127.0.0.1:11434/v1`.
        model: The model, as the endpoint knows it.
        api_key: Sent as bearer token to `base_url` and nowhere else; None sends none.
        context_tokens: Largest prompt and answer together; 0 is unknown.
        total_deadline_seconds: Longest generation, from request to last token.
        idle_deadline_seconds: Longest time without a byte from the endpoint, before the first
            one and between any two.
        connect_deadline_seconds: Longest time to a connection, TLS included.
        first_token_deadline_seconds: Longest time until an answer begins, if with thoughts.
        lacks: Fields of `GenerateRequest` that the endpoint does not know, such as `schema`.
        max_tokens_field: What the endpoint calls the limit of an answer.
        repeat_penalty_field: What it calls the repeat penalty.
        max_connections: Requests in flight at once.
    """

    name: str
    base_url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    context_tokens: int = 0
    total_deadline_seconds: float = 300.0
    idle_deadline_seconds: float = 60.0
    connect_deadline_seconds: float = 10.0
    first_token_deadline_seconds: float = 60.0
    lacks: frozenset[str] = frozenset()
    max_tokens_field: MaxTokensField = "max_tokens"
    repeat_penalty_field: RepeatPenaltyField = "repeat_penalty"
    max_connections: int = 32

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("base_url must look like https://HOST[:PORT]/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "base_url must hold no credentials, query or fragment; give the key as api_key"
            )
        if not self.model:
            raise ValueError("model must not be empty")
        # Checked here, since a library that refuses it as a header might show it.
        key = self.api_key
        if key is not None and not (key and key.isascii() and key.isprintable() and " " not in key):
            raise ValueError("api_key must be printable ASCII without spaces, and not empty")
        for name in ("total_deadline", "idle_deadline", "connect_deadline", "first_token_deadline"):
            if not getattr(self, f"{name}_seconds") > 0:
                raise ValueError(f"{name}_seconds must be above 0")
        if self.context_tokens < 0 or self.max_connections < 1:
            raise ValueError("context_tokens must be at least 0, max_connections at least 1")

    @property
    def is_loopback(self) -> bool:
        """Whether the endpoint is on this machine, by its address."""
        host = urlsplit(self.base_url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")

"""What is known of well-known OpenAI-compatible endpoints: addresses, field names, what they lack.

Taken from what their makers document; what they do not mention is held to be missing, so that a
call that asks for it goes elsewhere or is refused rather than half ignored. A configuration may
override addresses, schemas and tools. Prices change too often to stand here: they are the user's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

PresetName = Literal[
    "openai",
    "ollama",
    "vllm",
    "llama-server",
    "deepseek",
    "qwen",
    "kimi",
    "minimax",
    "groq",
    "openrouter",
    "gemini",
    "anthropic",
]
MaxTokensField = Literal["max_tokens", "max_completion_tokens"]
RepeatPenaltyField = Literal["repeat_penalty", "repetition_penalty"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One kind of endpoint.

    Attributes:
        base_url: Where it is found unless the configuration says otherwise.
        lacks: Fields of a request that it refuses or silently ignores.
        max_tokens_field: What it calls the limit of an answer.
        repeat_penalty_field: What it calls the repeat penalty.
    """

    base_url: str
    lacks: frozenset[str] = frozenset()
    max_tokens_field: MaxTokensField = "max_tokens"
    repeat_penalty_field: RepeatPenaltyField = "repeat_penalty"

    def lacks_with(self, *, schema: bool | None, tools: bool | None) -> frozenset[str]:
        """Give what it lacks, where someone knows better of schemas and tools; None does not."""
        better = {"schema": schema, "tools": tools}
        kept = {name for name in self.lacks if better.get(name) is None}
        return frozenset(kept | {name for name, has in better.items() if has is False})


# `min_p` and the repeat penalty are no part of OpenAI's API: only some servers took them up.
_SAMPLING = frozenset({"min_p", "repeat_penalty"})
_PENALTIES = frozenset({"presence_penalty", "frequency_penalty"})

PRESETS: Mapping[PresetName, Preset] = {
    "openai": Preset(
        base_url="https://api.openai.com/v1",
        lacks=_SAMPLING,
        max_tokens_field="max_completion_tokens",
    ),
    "ollama": Preset(base_url="http://127.0.0.1:11434/v1", lacks=_SAMPLING | {"logprobs"}),
    "vllm": Preset(base_url="http://127.0.0.1:8000/v1", repeat_penalty_field="repetition_penalty"),
    "llama-server": Preset(base_url="http://127.0.0.1:8080/v1"),
    # It takes penalties without an error, and says that they do nothing.
    "deepseek": Preset(
        base_url="https://api.deepseek.com", lacks=_SAMPLING | _PENALTIES | {"schema", "seed"}
    ),
    "qwen": Preset(
        base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        lacks=frozenset({"min_p"}),
        repeat_penalty_field="repetition_penalty",
    ),
    # Penalties are for its older models only.
    "kimi": Preset(
        base_url="https://api.moonshot.ai/v1",
        lacks=_SAMPLING | _PENALTIES | {"logprobs", "seed"},
        max_tokens_field="max_completion_tokens",
    ),
    "minimax": Preset(
        base_url="https://api.minimax.io/v1",
        lacks=_SAMPLING | _PENALTIES | {"schema", "logprobs", "seed"},
    ),
    # It takes no schema for an answer that is streamed, and here all are.
    "groq": Preset(
        base_url="https://api.groq.com/openai/v1",
        lacks=_SAMPLING | _PENALTIES | {"schema", "logprobs"},
        max_tokens_field="max_completion_tokens",
    ),
    "openrouter": Preset(
        base_url="https://openrouter.ai/api/v1", repeat_penalty_field="repetition_penalty"
    ),
    "gemini": Preset(
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        lacks=_SAMPLING | _PENALTIES | {"logprobs", "seed"},
    ),
    "anthropic": Preset(
        base_url="https://api.anthropic.com/v1",
        lacks=_SAMPLING | _PENALTIES | {"schema", "logprobs", "seed"},
    ),
}
CUSTOM = Preset(base_url="")
"""What is assumed of an endpoint without a preset: that it takes everything, and says so if not."""

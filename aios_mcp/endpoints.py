"""The endpoints that cores and embedders are at: what the file and the presets say of each.

Imported only where there is one: the OpenAI client takes a second to load.
"""

from aios_mcp.config.core_parts import EmbedderPart, OpenAICorePart
from aios_mcp.config.model import LimitsPart
from aios_mcp.config.presets import CUSTOM, PRESETS, Preset, PresetName
from backends.openai_compatible import OpenAISettings


def core_settings(
    name: str, part: OpenAICorePart, limits: LimitsPart, api_key: str | None
) -> OpenAISettings:
    """Give what the configuration says of a core at an endpoint."""
    preset = _preset(part.preset)
    return OpenAISettings(
        name=name,
        base_url=part.base_url or preset.base_url,
        model=part.model,
        api_key=api_key,
        context_tokens=part.context_tokens,
        total_deadline_seconds=limits.generate_seconds,
        idle_deadline_seconds=part.idle_seconds,
        first_token_deadline_seconds=part.first_token_seconds,
        connect_deadline_seconds=part.connect_seconds,
        lacks=preset.lacks_with(schema=part.schema_output, tools=part.tool_calls),
        max_tokens_field=part.max_tokens_field or preset.max_tokens_field,
        repeat_penalty_field=preset.repeat_penalty_field,
        max_connections=part.slots,
    )


def embedder_settings(name: str, part: EmbedderPart, api_key: str | None) -> OpenAISettings:
    """Give what the configuration says of an embedder at an endpoint."""
    return OpenAISettings(
        name=name,
        base_url=part.base_url or _preset(part.preset).base_url,
        model=part.model,
        api_key=api_key,
        total_deadline_seconds=part.seconds,
        idle_deadline_seconds=part.seconds,
    )


def _preset(name: PresetName | None) -> Preset:
    return CUSTOM if name is None else PRESETS[name]

"""The tables of the configuration that are about cores, how they are chosen, and embedders."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from aios_mcp.config.part import ADDRESS, Name, Part, SecretRef
from aios_mcp.config.presets import PRESETS, MaxTokensField, PresetName

_NO_ADDRESS = (
    "needs base_url, such as http://127.0.0.1:11434/v1, or the preset of a known endpoint:"
    f" {', '.join(PRESETS)}"
)


class PricePart(Part):
    """`price` of a core, in USD per million tokens."""

    input: float = Field(ge=0, le=1e6)
    output: float = Field(ge=0, le=1e6)
    cached_input: float | None = Field(
        default=None, ge=0, le=1e6, description="Defaults to the price of input"
    )


class LlamaCorePart(Part):
    """`[cores.NAME]` with `backend = "llama_cpp"`."""

    backend: Literal["llama_cpp"]
    model: str = Field(
        default="bundled",
        description="Path of a GGUF file, hf:ORG/REPO[:FILE or QUANT], or bundled",
    )
    tiers: tuple[Name, ...] = Field(default=("fast", "balanced", "capable"))
    slots: int = Field(default=8, ge=1, le=64, description="Sequences decoded together")
    context_tokens: int = Field(
        default=0,
        ge=0,
        le=10**8,
        description="Tokens of one sequence; 0 takes the model's, at most 8192",
    )
    threads: int = Field(
        default=0, ge=0, le=1024, description="0 is one less than the physical cores"
    )
    gpu_layers: int = Field(default=0, ge=-1, le=10_000, description="Layers on the GPU; -1 is all")
    main_gpu: int = Field(default=0, ge=0, le=1024)
    split_mode: Literal["none", "layer", "row"] = "layer"
    flash_attention: Literal["auto", "on", "off"] = "auto"
    kv_type: Literal["f16", "q8_0"] = "f16"
    temperature: float = Field(
        default=0.0, ge=0, le=2, description="Where a call names none; 0 is deterministic"
    )
    start_seconds: float = Field(
        default=120.0, gt=0, le=3600, description="Longest time a model may take to load"
    )
    unload_after_seconds: float = Field(
        default=0.0,
        ge=0,
        le=10**7,
        description="Give its memory back after so long without a call; 0 keeps the model loaded",
    )
    paused_memory_mb: int = Field(
        default=256,
        ge=0,
        le=10**6,
        description="Memory for paused answers that others took the slots of",
    )
    paused_disk_mb: int = Field(
        default=2048,
        ge=0,
        le=10**7,
        description="Disk for those that memory does not hold; the rest is computed again",
    )

    @model_validator(mode="after")
    def _quantised_cache_needs_flash_attention(self) -> Self:
        if self.kv_type == "q8_0" and self.flash_attention == "off":
            raise ValueError('kv_type = "q8_0" needs flash attention; set flash_attention = "auto"')
        return self


class OpenAICorePart(Part):
    """`[cores.NAME]` with `backend = "openai"`: any OpenAI-compatible endpoint."""

    backend: Literal["openai"]
    preset: PresetName | None = Field(
        default=None, description="A known kind of endpoint: its address, field names and gaps"
    )
    base_url: str | None = Field(
        default=None,
        pattern=ADDRESS,
        description="Such as http://127.0.0.1:11434/v1; by default the preset's",
    )
    model: str = Field(min_length=1)
    api_key: SecretRef | None = Field(default=None, description="env:VARIABLE or file:PATH")
    tiers: tuple[Name, ...] = Field(default=("capable",))
    slots: int = Field(default=32, ge=1, le=4096, description="Requests in flight at once")
    context_tokens: int = Field(default=0, ge=0, le=10**8, description="0 is unknown")
    price: PricePart | None = Field(
        default=None, description="USD per million tokens; without it the cost is unknown"
    )
    idle_seconds: float = Field(
        default=60.0, gt=0, le=3600, description="Longest silence of a stream"
    )
    first_token_seconds: float = Field(
        default=60.0,
        gt=0,
        le=3600,
        description="Longest wait for an answer to begin; then the next core is tried",
    )
    connect_seconds: float = Field(default=10.0, gt=0, le=600)
    schema_output: bool | None = Field(
        default=None,
        description="The endpoint takes response_format json_schema; by default as the preset says",
    )
    tool_calls: bool | None = Field(
        default=None, description="The endpoint takes tools; by default as the preset says"
    )
    max_tokens_field: MaxTokensField | None = Field(
        default=None, description="Its name for the limit of an answer; by default the preset's"
    )

    @model_validator(mode="after")
    def _address_or_preset(self) -> Self:
        if self.base_url is None and self.preset is None:
            raise ValueError(_NO_ADDRESS)
        return self


CorePart = Annotated[LlamaCorePart | OpenAICorePart, Field(discriminator="backend")]


class EmbedderPart(Part):
    """`[embedders.NAME]`: an OpenAI-compatible endpoint that turns texts into vectors."""

    preset: PresetName | None = Field(default=None, description="A known kind of endpoint")
    base_url: str | None = Field(
        default=None, pattern=ADDRESS, description="By default the preset's"
    )
    model: str = Field(min_length=1)
    api_key: SecretRef | None = Field(default=None, description="env:VARIABLE or file:PATH")
    seconds: float = Field(default=20.0, gt=0, le=600, description="Longest time for one request")

    @model_validator(mode="after")
    def _address_or_preset(self) -> Self:
        if self.base_url is None and self.preset is None:
            raise ValueError(_NO_ADDRESS)
        return self


class RouterPart(Part):
    """`[router]`: which core of a tier takes a call."""

    prefer: Literal["local", "listed", "cheapest", "fastest"] = Field(
        default="local",
        description="local cores first, the order of this file, the expected price, or the"
        " measured speed",
    )
    spill_seconds: float = Field(
        default=2.0,
        ge=0,
        le=3600,
        description="How much longer a call waits for a core that is preferred",
    )

"""What goes to LLM cores and comes back."""

from dataclasses import dataclass
from typing import Literal

from backends.messages.json_values import JsonObject
from backends.messages.tools import ToolSpec

Role = Literal["system", "user", "assistant", "tool"]
ToolChoice = Literal["auto", "none", "required"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
CoreState = Literal["idle", "starting", "ready", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedCall:
    """A tool call that a model asks for; `arguments` is the JSON object it wrote."""

    id: str
    name: str
    arguments: JsonObject


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: Who speaks.
        text: What is said; "" where an assistant only calls tools.
        calls: Tools that this turn of the assistant calls.
        call_id: For the role `tool`: the call that this text answers.
    """

    role: Role
    text: str
    calls: tuple[RequestedCall, ...] = ()
    call_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest:
    """A prompt and its limits.

    Attributes:
        messages: Conversation so far, oldest first; never empty.
        max_tokens: Upper bound on generated tokens, at least 1.
        temperature: 0.0 is greedy; None leaves it to the core.
        top_p: Nucleus sampling mass in (0, 1]; None leaves it to the core.
        min_p: Least probability, as a share of the likeliest token's, in [0, 1]; None is 0.
        repeat_penalty: Divides the logits of tokens already in the answer; None is 1, no penalty.
        presence_penalty: Taken off logits of tokens already in the answer; None is 0.
        frequency_penalty: The same, for each time they are in it; None is 0.
        seed: Seed of the sampler; None leaves it to the core.
        stop: Strings that end the answer; they are not part of it.
        schema: JSON Schema the answer must satisfy, or None for free text.
        tools: Tools that the model may ask for.
        tool_choice: Whether it may, must not, or must ask for one.
        logprobs: Log probabilities of the chosen tokens, each with so many likeliest ones beside
            it; None is none at all.
    """

    messages: tuple[Message, ...]
    max_tokens: int = 256
    temperature: float | None = None
    top_p: float | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    schema: JsonObject | None = None
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolChoice = "auto"
    logprobs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one generation.

    Attributes:
        input_tokens: All tokens of the prompt, cached ones included.
        cached_tokens: Those of the prompt that were not computed again.
        output_tokens: Generated tokens.
    """

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0

    @property
    def total(self) -> int:
        """Input and output tokens together."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Piece:
    """Newly generated text and the tokens it took (0 where the core does not say)."""

    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A chosen token, its natural log probability, and those of the likeliest ones beside it."""

    text: str
    logprob: float
    likeliest: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """A finished generation. `text` is exactly the emitted pieces joined.

    Attributes:
        calls: Tools that the model asks for; then `reason` is `tool_calls`.
        logprobs: One for each output token, where they were asked for.
    """

    text: str
    reason: FinishReason
    usage: Usage
    calls: tuple[RequestedCall, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreStatus:
    """What a core says of itself.

    Attributes:
        model: Name of the model, as people know it.
        state: `idle` is a core that starts at its first request.
        context_tokens: Largest prompt and answer together; 0 while unknown.
        note: One line for people: why it failed, or that it is the bundled demonstration model.
        takes_schema: It can be held to a JSON Schema.
        takes_tools: It can ask for tools.
        resting_seconds: How long it is not to be asked, after failures or at its own wish.
        memory_bytes: Main memory that is set aside for it on this machine now.
    """

    model: str
    state: CoreState
    context_tokens: int = 0
    note: str = ""
    takes_schema: bool = True
    takes_tools: bool = False
    resting_seconds: float = 0.0
    memory_bytes: int = 0

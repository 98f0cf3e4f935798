"""What a newcomer asks the bundled model in the first minute, in the form the kernel asks it."""

import json
from pathlib import Path

import pytest

from backends.llama_cpp import BUNDLED_MODEL, LlamaSettings, open_llama_core
from backends.messages import GenerateRequest, JsonObject, Message
from tests.backends.llama_cpp.asking import ask, ask_together, request

PERSON: JsonObject = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}


@pytest.fixture
def bundled(cache_dir: Path) -> LlamaSettings:
    return LlamaSettings(model=BUNDLED_MODEL, name="demo", cache_dir=cache_dir)


def with_memories(question: str, *memories: str) -> GenerateRequest:
    block = "\n".join(["Relevant memories:", *(f"- {memory}" for memory in memories)])
    return GenerateRequest(messages=(Message("system", block), Message("user", question)))


async def test_it_says_what_the_project_is_and_what_itself_is(bundled: LlamaSettings) -> None:
    async with open_llama_core(bundled) as core:
        project = await ask(core, request("What is aios-mcp?", max_tokens=200))
        unknown = await ask(core, request("What is the capital of France?", max_tokens=200))
        status = core.status()

    assert project.text.startswith("aios-mcp is an AI-OS kernel")
    assert "demonstration model" in unknown.text
    assert (project.reason, unknown.reason) == ("stop", "stop")
    assert status.note == "bundled demonstration model"


async def test_it_tells_a_story_of_the_one_it_is_asked_about(bundled: LlamaSettings) -> None:
    async with open_llama_core(bundled) as core:
        ask_for = "Tell me a story about a fox named Mia."
        story = await ask(core, request(ask_for, max_tokens=300))

    assert story.text.startswith("Once there was a")
    assert "fox named Mia" in story.text
    assert (story.text.count(".") >= 5, story.reason) == (True, "stop")


async def test_it_answers_from_the_memory_that_fits_the_question(bundled: LlamaSettings) -> None:
    memories = ("Tom likes tea.", "Ada keeps the backup key in the blue drawer.")
    async with open_llama_core(bundled) as core:
        key = await ask(core, with_memories("Where does Ada keep the backup key?", *memories))
        tea = await ask(core, with_memories("What does Tom like?", *memories))

    assert key.text == memories[1]
    assert tea.text == memories[0]


async def test_it_fills_a_schema_from_a_sentence(bundled: LlamaSettings) -> None:
    asked = request("As JSON: Ada likes chess and is 36.", max_tokens=60, schema=PERSON)
    async with open_llama_core(bundled) as core:
        answer = await ask(core, asked)

    assert json.loads(answer.text) == {"name": "Ada", "age": 36}


async def test_it_repeats_itself_alone_and_in_a_batch(bundled: LlamaSettings) -> None:
    prompts = [request(f"Repeat: number {at} is even.") for at in range(8)]
    async with open_llama_core(bundled) as core:
        alone = [(await ask(core, prompt)).text for prompt in prompts]
        together = [answer.text for answer in await ask_together(core, prompts)]

    assert together == alone


def test_it_is_small_enough_to_ship() -> None:
    assert BUNDLED_MODEL.stat().st_size <= 2_000_000

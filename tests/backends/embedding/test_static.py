"""The static table that comes with the package."""

import hashlib

from backends.embedding import StaticEmbedder
from backends.embedding.static import TABLE


def test_its_name_holds_the_digest_of_the_table() -> None:
    digest = hashlib.sha256(TABLE.read_bytes()).hexdigest()
    assert StaticEmbedder().name == f"minilm-static:int8:{digest[:12]}"


def test_the_table_is_small_enough_to_ship() -> None:
    assert TABLE.stat().st_size < 12_000_000


async def test_it_knows_words_of_like_meaning() -> None:
    pairs = [
        ("a puppy in the garden", "the dog plays outside", "quarterly revenue forecast"),
        ("the doctor prescribed pills", "medicine from a physician", "the train was late"),
        ("he repaired the automobile", "the mechanic fixed a car", "a poem about autumn"),
        ("encrypt the password", "security of login credentials", "bake bread in the oven"),
    ]
    for text, near, far in pairs:
        vectors = await StaticEmbedder().embed([text, near, far])
        assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


async def test_frequent_words_weigh_little() -> None:
    vectors = await StaticEmbedder().embed(
        ["volcano", "the volcano, and it was of a", "the and of"]
    )
    assert vectors[0] @ vectors[1] > 0.9

"""Questions whose answer is a JSON object, drawn from a sentence or made up.

One value goes by several keys here, so that the model says the right value under whichever key a
schema forces on it.
"""

import json
import random
from typing import NamedTuple

from scripts.demo_model.words import ANIMALS, CITIES, COLOURS, DAYS, a_name, a_thing, made_up

_KEYS: dict[str, tuple[str, ...]] = {
    "name": ("name", "name", "name", "person", "who", "title", "user", "hero"),
    "likes": ("likes", "likes", "hobby", "favourite", "loves", "interest"),
    "city": ("city", "city", "place", "location", "lives_in", "home"),
    "age": ("age", "age", "age", "years", "number"),
    "animal": ("animal", "animal", "kind", "type", "species"),
    "colour": ("colour", "color", "colour"),
    "day": ("day", "date", "when"),
}


class Record(NamedTuple):
    """A question and the JSON text that answers it."""

    question: str
    answer: str


def record(rng: random.Random) -> Record:
    """Give a question for JSON and its answer."""
    kind = rng.random()
    if kind < 0.6:
        return _from_sentence(rng)
    return _made_up(rng) if kind < 0.8 else _from_pairs(rng)


def _from_sentence(rng: random.Random) -> Record:
    name = a_name(rng)
    values: dict[str, object] = {"name": name}
    clauses: list[str] = []
    for part in rng.sample(["likes", "city", "age", "day"], rng.randrange(1, 4)):
        match part:
            case "likes" if rng.random() < 0.3:
                both = [a_thing(rng), a_thing(rng)]
                values[part] = both
                clauses.append(f"likes {both[0]} and {both[1]}")
            case "likes":
                values[part] = a_thing(rng)
                clauses.append(f"{rng.choice(['likes', 'loves'])} {values[part]}")
            case "city":
                values[part] = (
                    made_up(rng).capitalize() if rng.random() < 0.3 else rng.choice(CITIES)
                )
                clauses.append(f"lives in {values[part]}")
            case "age":
                values[part] = rng.randrange(1, 100)
                clauses.append(f"is {values[part]}{rng.choice(['', ' years old'])}")
            case _:
                values[part] = rng.choice(DAYS)
                clauses.append(f"comes on {values[part]}")
    told = f"{name} {_listed(clauses)}."
    ask = rng.choice(
        [
            "Give this as JSON: {}",
            "As JSON: {}",
            "Turn this into JSON: {}",
            "JSON please: {}",
            "Extract the facts: {}",
            "Extract as JSON: {}",
            "Describe {1} as JSON: {0}",
            "{} Give me JSON.",
        ]
    )
    return Record(ask.format(told, name), _object(rng, values))


def _made_up(rng: random.Random) -> Record:
    animal = rng.choice(ANIMALS)
    values: dict[str, object] = {
        "name": a_name(rng),
        "animal": animal,
        "age": rng.randrange(1, 20),
        "colour": rng.choice(COLOURS),
        "likes": a_thing(rng),
    }
    ask = rng.choice(
        [
            f"Invent a {animal} as JSON.",
            f"Make up a {animal} as JSON.",
            f"Describe a {animal} as JSON.",
            "Invent an animal as JSON.",
            "Make up an animal as JSON.",
        ]
    )
    kept = rng.sample(sorted(values), rng.randrange(2, 6))
    return Record(ask, _object(rng, {key: values[key] for key in values if key in kept}))


def _from_pairs(rng: random.Random) -> Record:
    keys = [
        made_up(rng) if rng.random() < 0.5 else _key(rng, rng.choice([*_KEYS])) for _ in range(3)
    ]
    values = {key: _value(rng) for key in keys[: rng.randrange(1, 4)]}
    told = ", ".join(f"{key} {value}" for key, value in values.items())
    ask = rng.choice(
        ["As JSON: {}", "JSON: {}", "Turn this into JSON: {}", "Give this as JSON: {}"]
    )
    return Record(ask.format(told), json.dumps(values, separators=(",", ":")))


def _object(rng: random.Random, values: dict[str, object]) -> str:
    names = [*values]
    if rng.random() < 0.5:
        rng.shuffle(names)
    named = {_key(rng, name): values[name] for name in names}
    return json.dumps(named, separators=(",", ":"))


def _key(rng: random.Random, value: str) -> str:
    return rng.choice(_KEYS[value])


def _value(rng: random.Random) -> object:
    return rng.choice([a_name(rng), a_thing(rng), rng.randrange(1000), made_up(rng)])


def _listed(clauses: list[str]) -> str:
    *most, last = clauses
    return f"{', '.join(most)} and {last}" if most else last

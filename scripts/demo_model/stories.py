"""Stories: a question and its story, short or long."""

import random

from scripts.demo_model.words import ANIMALS, FINDS, NAMES, PLACES, QUALITIES, THINGS, a_name

_ENDINGS = ("first", "second", "third", "fourth", "fifth", "sixth")


def story(rng: random.Random) -> tuple[str, str]:
    """Give a question and a story of six sentences."""
    name, animal, quality, place = _cast(rng)
    ask = rng.choice(
        [
            f"Tell me a story about a {quality} {animal} named {name}.",
            f"Tell me a story about a {animal} named {name}.",
            f"Tell me a story about a {animal} called {name}.",
            f"Tell me a short story about a {animal} named {name}.",
            f"Write a short story about {name} the {animal}.",
            f"Write a story about a {quality} {animal} named {name}.",
            f"Please tell a story about a {animal} at the {place}.",
            f"Tell me a story about {name}.",
            f"Tell me a story about a {animal}.",
            f"A story about a {animal}, please.",
            "Tell me a story.",
        ]
    )
    return ask, " ".join([_opening(name, animal, quality), *_day(rng, name, animal, place)])


def long_story(rng: random.Random) -> tuple[str, str]:
    """Give a question and a story of many days."""
    name, animal, quality, place = _cast(rng)
    ask = rng.choice(
        [
            f"Tell me a long story about a {quality} {animal} named {name}.",
            f"Tell me a long story about a {animal} named {name}.",
            f"Write a long story about {name} the {animal}.",
            "Tell me a long story.",
        ]
    )
    sentences = [_opening(name, animal, quality), f"{name} lived near the {place}."]
    for number, day in enumerate(_ENDINGS):
        friend = rng.choice([other for other in NAMES if other != name])
        where, what = rng.choice(PLACES), rng.choice(FINDS)
        sentences.append(f"On the {day} day {name} walked to the {where} and found {what}.")
        if number % 2:
            sentences.append(f"{friend} was there too, and they talked about {rng.choice(THINGS)}.")
        else:
            sentences.append(f'"This is for {friend}," said {name}, and carried it home.')
    sentences.append(f"On the seventh day {name} rested, and all the friends came to the {place}.")
    return ask, " ".join(sentences)


def _cast(rng: random.Random) -> tuple[str, str, str, str]:
    return a_name(rng), rng.choice(ANIMALS), rng.choice(QUALITIES), rng.choice(PLACES)


def _opening(name: str, animal: str, quality: str) -> str:
    article = "an" if quality[0] in "aeiou" else "a"
    return f"Once there was {article} {quality} {animal} named {name}."


def _day(rng: random.Random, name: str, animal: str, place: str) -> list[str]:
    what = rng.choice(FINDS)
    friend = rng.choice([other for other in NAMES if other != name])
    return [
        rng.choice(
            [f"{name} lived near the {place}.", f"{name} the {animal} lived by the {place}."]
        ),
        rng.choice(
            [f"One day {name} found {what}.", f"One morning, {name} went out and found {what}."]
        ),
        rng.choice([f'"I wonder whose it is," said {name}.', f"{name} did not know what to do."]),
        rng.choice(
            [f"Then {name} met {friend}, and they shared {what}.", f"{friend} asked to see {what}."]
        ),
        rng.choice(
            [
                f"From that day on, {name} and {friend} were friends.",
                f"In the end the {animal} gave {what} to {friend}, and both were glad.",
            ]
        ),
    ]

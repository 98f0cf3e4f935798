"""The small world the corpus talks about, and words made up on the spot.

Made-up words matter: a model that has only seen twenty names learns those names; one that has seen
thousands learns to copy what it reads.
"""

import random


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NAMES = _words(
    "Mia Tom Ada Leo Nia Sam Eva Max Ivy Ben Zoe Kai Lia Dan Uma Rex Joy Ned Amy Gus Alice Bob"
    " Carol Grace Linus Emma Noah Olga Peter Lucas Maria Paul Anna John Sara Omar"
)
ANIMALS = _words("fox owl cat dog bear crow frog goat hare lion mole newt seal swan wolf rabbit")
QUALITIES = _words("small old quiet brave red happy lonely clever tired green")
PLACES = _words(
    "river forest harbor garden mountain village library bridge market island office museum school"
)
CITIES = _words("Paris London Berlin Rome Madrid Oslo Vienna Prague Dublin Tokyo Lima Boston")
THINGS = _words(
    "tea bread music chess apples maps rain books honey trains puzzles stars soup paint kites"
    " coffee history tennis cheese football cycling hiking python rust jazz cats dogs"
)
ITEMS = _words(
    "key backup-key spare-key passport laptop umbrella camera charger notebook contract invoice"
    " ticket report server password database recipe car bike lamp phone wallet map letter printer"
    " house-key old-laptop project-plan budget calendar test-server backup coat bag book"
)
COLOURS = _words("red blue green white black brown golden grey yellow")
SPOTS = _words(
    "drawer box desk shelf cupboard garage kitchen cellar safe cabinet bag attic folder hall closet"
)
FINDS = (
    "a silver key",
    "an old map",
    "a warm lamp",
    "a lost letter",
    "a tiny boat",
    "a round stone",
    "a blue feather",
    "a box of seeds",
)
DAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = _words(
    "January February March April May June July August September October November December"
)
TOPICS = _words(
    "meeting release deadline review holiday dinner flight train exam delivery workshop standup"
    " concert party demo interview lunch backup audit launch"
)
ROLES = _words("owner lead manager author editor teacher doctor captain designer maintainer")
TEAMS = _words("project team kernel website library garden band shop platform lab")
NUMBERS = _words(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen twenty"
)
ODD_WORDS = _words(
    "test ping foo bar python rust sql json code write explain summarize translate list define"
    " compare plan weather news stock market capital france berlin water energy quantum physics"
    " poem haiku joke recipe pasta number prime matrix function class loop bug error fix deploy"
    " docker linux windows phone battery moon sun planet ocean history war king queen price money"
    " email letter essay question answer idea help please urgent fast slow big small red hello"
    " world data file image video audio sort search graph tree node user admin token budget agent"
    " tool model prompt system context window memory cache queue thread process time date year"
    " what why how when who which where is are do does can could should would the a an of to in on"
    " for with from and or not best worst first last new old good bad"
)

FALLBACK = (
    "I am the small demonstration model that ships with aios-mcp. I can tell a story, count, answer"
    " from notes and say what an AI-OS kernel is. Set a real model in aios.toml for anything else."
)
UNKNOWN = "None of my notes says that."
MEMORY_HEADING = "Relevant memories:"


def made_up(rng: random.Random) -> str:
    """Give a word of one to three syllables that is in no list."""
    return "".join(
        rng.choice("bcdfghklmnprstvwz") + rng.choice("aeiou") + rng.choice(["", "", *"nrstl"])
        for _ in range(rng.randrange(1, 4))
    )


def a_name(rng: random.Random) -> str:
    """Give a name, one in four made up."""
    return made_up(rng).capitalize() if rng.random() < 0.25 else rng.choice(NAMES)


def a_thing(rng: random.Random) -> str:
    """Give something that can be liked, one in five made up."""
    return made_up(rng) if rng.random() < 0.2 else rng.choice(THINGS)


def an_item(rng: random.Random) -> str:
    """Give something that can be kept, sometimes with a word in front, one in six made up."""
    item = made_up(rng) if rng.random() < 0.17 else rng.choice(ITEMS).replace("-", " ")
    if rng.random() < 0.15:
        return f"{rng.choice([made_up(rng), *COLOURS, *QUALITIES])} {item}"
    return item


def a_spot(rng: random.Random) -> str:
    """Give where something is, such as `in the blue drawer`."""
    spot = made_up(rng) if rng.random() < 0.15 else rng.choice(SPOTS)
    if rng.random() < 0.5:
        spot = f"{rng.choice([*COLOURS, 'top', 'left', 'old', 'big', made_up(rng)])} {spot}"
    return f"{rng.choice(['in', 'in', 'in', 'on', 'under', 'behind', 'near'])} the {spot}"


def a_date(rng: random.Random) -> str:
    """Give a day, such as `Friday` or `May 12`."""
    if rng.random() < 0.6:
        return rng.choice(DAYS)
    return f"{rng.choice(MONTHS)} {rng.randrange(1, 29)}"

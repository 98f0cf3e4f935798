"""Conversations with questions about them, each labelled with the turns that answer it.

Teams talk over some months about systems they run. A fact is said outright, or asked for by one and
answered by another in a turn that names neither the system nor the matter. Questions are put in
other words than the turns, some use another name for the system, and some name the month. All is
drawn from a seed;
the half of the matters and systems called `held_out` is for judging what was tuned on the other.
"""

import datetime
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

DAY_SECONDS = 86_400.0
START = 1_767_261_600.0  # 2026-01-01, ten o'clock UTC

_SESSIONS = 14
_FACTS_PER_SESSION = 5
_OTHER_NAME_SHARE = 0.4
_MONTH_SHARE = 0.2


class Turn(NamedTuple):
    """One turn of a conversation."""

    number: int
    session: str
    text: str
    at: float


class Question(NamedTuple):
    """A question and the numbers of the turns that answer it."""

    text: str
    evidence: frozenset[int]


@dataclass(slots=True)
class Conversation:
    """What one team said, and questions about it."""

    turns: list[Turn] = field(default_factory=list[Turn])
    questions: list[Question] = field(default_factory=list[Question])


class _Matter(NamedTuple):
    """Something that can be known of a system: `{s}` stands for its name, `{v}` for the value."""

    said: Sequence[str]
    asked: Sequence[str]
    answered: Sequence[str]
    questions: Sequence[str]
    values: Sequence[str]


def conversations(count: int, *, held_out: bool, seed: int = 5) -> list[Conversation]:
    """Make conversations of one half of the matters and systems."""
    source = random.Random(f"{seed} {held_out}")
    matters, systems = _MATTERS[held_out::2], _SYSTEMS[held_out::2]
    return [_conversation(source, matters, systems) for _ in range(count)]


def _conversation(
    source: random.Random, matters: Sequence[_Matter], systems: Sequence[Sequence[str]]
) -> Conversation:
    conversation = Conversation()
    pairs = [(system, matter) for system in systems for matter in matters]
    source.shuffle(pairs)
    for number in range(_SESSIONS):
        at = START + number * DAY_SECONDS * source.randint(9, 11)
        facts = pairs[number * _FACTS_PER_SESSION : (number + 1) * _FACTS_PER_SESSION]
        for system, matter in facts:
            _small_talk(source, conversation, systems, at)
            _fact(source, conversation, system, matter, at)
        _small_talk(source, conversation, systems, at)
    return conversation


def _say(source: random.Random, conversation: Conversation, text: str, at: float) -> int:
    number = len(conversation.turns)
    text = text[0].upper() + text[1:]
    turn = Turn(number, f"{at:.0f}", f"{source.choice(_ROLES)}: {text}", at + number)
    conversation.turns.append(turn)
    return number


def _small_talk(
    source: random.Random,
    conversation: Conversation,
    systems: Sequence[Sequence[str]],
    at: float,
) -> None:
    for _ in range(source.randint(1, 3)):
        text = source.choice(_SMALL_TALK).format(s=source.choice(source.choice(systems)))
        _say(source, conversation, text, at)


def _fact(
    source: random.Random,
    conversation: Conversation,
    system: Sequence[str],
    matter: _Matter,
    at: float,
) -> None:
    value, name = source.choice(matter.values), source.choice(system)
    if source.random() < 0.5:
        text = source.choice(matter.said).format(s=name, v=value)
        evidence = _say(source, conversation, text, at)
    else:
        asked = source.choice(matter.asked).format(s=name)
        _say(source, conversation, asked, at)
        answer = source.choice(matter.answered).format(v=value)
        evidence = _say(source, conversation, answer, at)
    if source.random() < _OTHER_NAME_SHARE:
        name = source.choice(system)
    question = source.choice(matter.questions).format(s=name)
    if source.random() < _MONTH_SHARE:
        day = datetime.datetime.fromtimestamp(at, datetime.UTC)
        question = f"{question[:-1]}, as of {day:%B}?"
    conversation.questions.append(Question(question, frozenset((evidence,))))


_ROLES = ("designer", "tester", "on-call engineer", "analyst", "product owner", "writer", "lead")

_SYSTEMS = (
    ("the ledger", "the bookkeeping system", "our accounting backend"),
    ("the harbour map", "the port charts", "the map of the docks"),
    ("the ticket shop", "the booking site", "the store where tickets are sold"),
    ("the greenhouse monitor", "the plant sensors", "the glasshouse telemetry"),
    ("the library catalogue", "the book index", "the register of titles"),
    ("the bakery planner", "the bread schedule", "the oven timetable tool"),
    ("the tram display", "the streetcar boards", "the departure screens"),
    ("the clinic calendar", "the doctors' diary", "the appointment system"),
    ("the wind farm report", "the turbine summary", "the power output digest"),
    ("the museum guide", "the exhibition app", "the audio tour"),
    ("the seed bank", "the grain archive", "the germplasm store"),
    ("the ferry timetable", "the boat schedule", "the crossing times page"),
    ("the school canteen menu", "the pupils' lunch list", "the cafeteria plan"),
    ("the lost property desk", "the found items list", "the office for mislaid things"),
)

_SMALL_TALK = (
    "good morning, sorry for being late, the lift was stuck again",
    "can everybody see my screen?",
    "I had another look at {s} yesterday, nothing special to tell.",
    "let us come back to {s} next time.",
    "who takes the notes today?",
    "my coffee has gone cold while we were talking about {s}.",
    "that sounds reasonable to me.",
    "I am not sure I follow, but go on.",
    "somebody asked me about {s} in the corridor and I had no answer.",
    "the weather is awful, I came by bus.",
    "thanks, that helps a lot.",
    "we have ten minutes left.",
    "I will be on holiday the week after next.",
    "please put your questions about {s} in the channel.",
    "the heating in this room is far too warm.",
    "are we still having lunch together on Thursday?",
    "I liked the demo of {s}, well done everybody.",
    "no news from my side.",
    "could you repeat that? The line was bad.",
    "there is cake in the kitchen, help yourselves.",
)

_MATTERS = (
    _Matter(
        ("we copy all data of {s} to {v} every night", "the nightly copies of {s} go to {v}"),
        ("where do the copies of {s} end up?", "which place receives the dumps of {s}?"),
        ("they land in {v}, every night", "on {v}, as far as I know"),
        ("where are the backups of {s} kept?", "in which location is {s} backed up?"),
        ("the vault in the basement", "a bucket in Frankfurt", "two tapes off site", "the old NAS"),
    ),
    _Matter(
        ("new versions of {s} go out {v}", "{s} is rolled out {v}, never at other times"),
        ("when does a new version of {s} go out?", "what is the rhythm of shipping {s}?"),
        ("{v}, unless there is a freeze", "we said {v}, and that works well"),
        ("what is the release day of {s}?", "when do we deploy {s}?"),
        ("on Tuesday mornings", "every second Wednesday", "at the end of a sprint", "at full moon"),
    ),
    _Matter(
        ("{v} pays for running {s}", "the invoices for hosting {s} are settled by {v}"),
        ("who settles the bills of {s}?", "whose money keeps {s} running?"),
        ("that comes out of the pocket of {v}", "{v}, since the reorganisation"),
        ("which department covers the costs of {s}?", "out of whose budget is {s} financed?"),
        ("marketing", "the city council", "the research fund", "the parent company"),
    ),
    _Matter(
        ("customers of {s} complained that {v}", "the most frequent complaint on {s} is that {v}"),
        ("what do people grumble about with {s}?", "which complaint on {s} comes up most?"),
        ("mostly that {v}", "they keep telling us that {v}"),
        ("what are users of {s} unhappy about?", "what annoys the people who use {s}?"),
        (
            "the text is too small",
            "signing in takes for ever",
            "the colours are hard to tell apart",
        ),
    ),
    _Matter(
        ("{s} is written in {v}", "the code of {s} is all {v}"),
        ("what is {s} written in?", "what does one need to know to work on the code of {s}?"),
        ("it is plain {v}, with a few scripts around it", "{v}, for better or worse"),
        ("which programming language does {s} use?", "what is {s} implemented in?"),
        ("Erlang", "Fortran", "Kotlin", "Pascal", "Rust"),
    ),
    _Matter(
        ("{s} went down because {v}", "the crash of {s} happened because {v}"),
        ("what brought {s} down?", "why did {s} stop answering last week?"),
        ("it turned out that {v}", "simple: {v}"),
        ("what was the reason for the outage of {s}?", "what caused the incident with {s}?"),
        ("a certificate had run out", "the disk was full", "a mouse bit through a cable"),
    ),
    _Matter(
        ("we chose {v} as the supplier for {s}", "the contract for {s} was given to {v}"),
        ("who got the contract for {s}?", "whom did we pick to supply {s}?"),
        ("{v} won, by a narrow margin", "it went to {v} in the end"),
        ("which vendor did we select for {s}?", "which company provides {s} to us?"),
        ("a cooperative from Ghent", "two brothers from Leeds", "the cheapest bidder"),
    ),
    _Matter(
        ("{s} may not cost more than {v} a month", "the ceiling for {s} is {v} monthly"),
        ("how much may {s} cost us?", "is there a ceiling on the spending for {s}?"),
        ("not more than {v} a month", "{v}, and not a cent above"),
        ("what is the budget of {s}?", "what is the upper limit of expenses on {s}?"),
        ("400 euros", "1,250 euros", "ninety pounds", "three thousand francs"),
    ),
    _Matter(
        ("only {v} have the password of {s}", "the credentials of {s} are known to {v} alone"),
        ("who can get into {s} with full rights?", "who knows the password of {s}?"),
        ("just {v}", "nobody but {v}"),
        ("who has administrator access to {s}?", "who is able to log in to {s} as root?"),
        ("the two people of operations", "the night shift", "the founders"),
    ),
    _Matter(
        ("{s} has to answer within {v}", "we promised that {s} responds in {v} or less"),
        ("how quick must {s} be?", "what did we promise on the speed of {s}?"),
        ("{v} at the most, it says in the contract", "within {v}, or we pay"),
        ("what is the latency target of {s}?", "how fast do we guarantee {s} to react?"),
        ("40 milliseconds", "a quarter of a second", "two seconds"),
    ),
    _Matter(
        ("we decided to replace {s} by {v}", "{s} will give way to {v}"),
        ("what becomes of {s} in the end?", "what will come after {s}?"),
        ("it makes room for {v}", "{v}, we settled that last month"),
        ("what is going to be the successor of {s}?", "with what do we substitute {s}?"),
        ("a spreadsheet", "something off the shelf", "a rewrite by the trainees"),
    ),
    _Matter(
        ("the tests of {s} take {v}", "checking a change of {s} needs {v}"),
        ("how long do I wait for the checks of {s}?", "do the tests of {s} still take so long?"),
        ("about {v} on a good day", "{v}, go and have a walk meanwhile"),
        ("what is the duration of the test suite of {s}?", "how slow is verification of {s}?"),
        ("seven minutes", "an hour and a half", "most of the afternoon"),
    ),
    _Matter(
        ("call {v} if {s} breaks at night", "{v} looks after {s} outside office hours"),
        ("whom do I ring if {s} breaks at night?", "who looks after {s} at weekends?"),
        ("that would be {v}", "try {v} first"),
        ("who is the emergency contact for {s}?", "who is on standby duty for {s}?"),
        ("the porter", "the duty officer", "the hosting company", "the team in Lisbon"),
    ),
    _Matter(
        ("records of {s} are deleted after {v}", "{s} must not keep anything longer than {v}"),
        ("how long does {s} keep what it has?", "when are old records of {s} thrown away?"),
        ("{v}, the lawyers insist on it", "we wipe them after {v}"),
        ("what is the retention period of {s}?", "after what time does {s} erase personal data?"),
        ("six weeks", "ten years", "180 days", "one season"),
    ),
)

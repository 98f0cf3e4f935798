"""The loads that policies are compared under."""

from benchmarks.simulator.loads import Closed, Load, Open, Programs
from scheduler import Lane

POLITE = "polite"
NEWCOMER_SECONDS = 60.0
SHORT_TURNS = 4


def hog_and_polite() -> list[Load]:
    """One agent with 64 long calls outstanding, and nine that chat now and then."""
    hog = Closed(agent="hog", outstanding=64, prompt=(1500, 1500), output=(512, 512), most=512)
    chats = (
        Open(agent=f"{POLITE}{n}", per_second=0.25, prompt=(60, 240), output=(40, 160), most=256)
        for n in range(9)
    )
    return [hog, *chats]


def all_busy(agents: int = 10) -> list[Load]:
    """Agents with work waiting at all times, from many small calls to few large ones."""
    return [
        Closed(
            agent=f"agent{n}",
            outstanding=64 - 60 * n // max(1, agents - 1),
            prompt=_around(60 + 2940 * n // max(1, agents - 1)),
            output=_around(16 + 496 * n // max(1, agents - 1)),
            most=640,
        )
        for n in range(agents)
    ]


def alike(agents: int = 3) -> list[Load]:
    """Agents with the same work waiting at all times."""
    return [
        Closed(agent=f"agent{n}", outstanding=32, prompt=(300, 600), output=(100, 200), most=256)
        for n in range(agents)
    ]


def newcomer(*, outstanding: int) -> list[Load]:
    """An agent that has been at work for a minute, and one that comes then and asks for as much."""
    return [
        Closed(
            agent=name,
            outstanding=outstanding,
            prompt=(300, 600),
            output=(100, 400),
            most=512,
            begins=begins,
        )
        for name, begins in (("incumbent", 0.0), ("newcomer", NEWCOMER_SECONDS))
    ]


def overload() -> list[Load]:
    """More urgent work than the core can do, and a little that is not urgent."""
    urgent = Open(
        agent="urgent",
        per_second=6.0,
        prompt=(300, 600),
        output=(100, 200),
        most=256,
        lane=Lane.URGENT,
    )
    batch = Open(
        agent="batch",
        per_second=0.05,
        prompt=(300, 600),
        output=(100, 200),
        most=256,
        lane=Lane.BATCH,
    )
    return [urgent, batch]


def agent_programs() -> list[Load]:
    """Agent loops of four agents, with tools, most of them short and some very long."""
    return [Programs(per_second=1.2, tenants=4)]


def bursts() -> list[Load]:
    """Six agents that are silent for most of the time, and then all at once are not."""
    return [
        Open(
            agent=f"burst{n}",
            per_second=6.0,
            prompt=(200, 600),
            output=(40, 160),
            most=256,
            on_seconds=10.0,
            off_seconds=40.0,
        )
        for n in range(6)
    ]


def many_tiny() -> list[Load]:
    """Two hundred agents that ask for a word or two."""
    return [
        Open(agent=f"tiny{n}", per_second=0.1, prompt=(20, 60), output=(4, 12), most=16)
        for n in range(200)
    ]


def long_context() -> list[Load]:
    """Prompts of twelve thousand tokens beside chat."""
    reader = Closed(
        agent="reader", outstanding=8, prompt=(12_000, 12_000), output=(200, 400), most=512
    )
    chats = (
        Open(agent=f"{POLITE}{n}", per_second=0.25, prompt=(60, 240), output=(40, 160), most=256)
        for n in range(4)
    )
    return [reader, *chats]


def _around(tokens: int) -> tuple[int, int]:
    return tokens * 3 // 4, tokens * 5 // 4

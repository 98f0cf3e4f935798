"""What goes to stores of sessions and comes back."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """Something an agent asked for in a session, and the answer.

    Attributes:
        agent: Who asked.
        session: The conversation.
        request: Id of the call.
        asked: The last thing the user said.
        answered: What the model answered.
        at: Unix seconds.
        no: Its number in the store; 0 before it is kept.
    """

    agent: str
    session: str
    request: str
    asked: str
    answered: str
    at: float
    no: int = 0

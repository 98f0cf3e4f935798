"""What a generation may cost at most, as holds on the accounts that pay for it."""

import datetime
from collections.abc import Sequence
from functools import lru_cache

from aios_mcp.kernel.agents import Agent
from aios_mcp.kernel.calls import GenerateCall
from aios_mcp.kernel.cores import Core
from aios_mcp.kernel.estimates import worst_usage
from backends.messages import Hold


def day_of(now: float) -> str:
    """Give the budget period of a moment: its UTC day, such as `2026-11-24`."""
    return _name_of_day(int(now // 86_400))


def holds_for(
    agent: Agent, call: GenerateCall, cores: Sequence[Core], now: float
) -> tuple[Hold, ...]:
    """Give the holds that cover the call on the dearest core it may run on.

    Args:
        agent: Who pays; its superior pays too.
        call: The call.
        cores: Cores it may run on.
        now: Unix seconds.
    """
    worst = worst_usage(call)
    cost = max((core.price.micro_usd(worst) for core in cores if core.price), default=0)
    period = day_of(now)
    holds: list[Hold] = []
    payer: Agent | None = agent
    while payer is not None:
        name, allowance = payer.name, payer.allowance
        tokens, micro_usd = allowance.tokens_per_day, allowance.micro_usd_per_day
        holds += (
            Hold(account=name, period=period, unit="tokens", amount=worst.total, cap=tokens),
            Hold(account=name, period=period, unit="micro_usd", amount=cost, cap=micro_usd),
        )
        payer = payer.superior
    return tuple(holds)


@lru_cache(maxsize=4)
def _name_of_day(number: int) -> str:
    return (datetime.date(1970, 1, 1) + datetime.timedelta(number)).isoformat()

"""GBNF for whole numbers between two bounds, digit by digit."""

MAX_DIGITS = 15


def integer_range(low: int | None, high: int | None) -> str:
    """Write the body of a rule that accepts exactly the integers from `low` to `high`.

    An open side reaches `MAX_DIGITS` digits. Both bounds are included.
    """
    limit = 10**MAX_DIGITS - 1
    first = -limit if low is None else low
    last = limit if high is None else high
    parts: list[str] = []
    if first < 0:
        negative = _between(max(1, -min(last, -1)), -first)
        parts.append(f'"-" ({negative})')
    if last >= 0:
        parts.append(_between(max(first, 0), last))
    return " | ".join(parts)


def _between(low: int, high: int) -> str:
    """Integers from `low` to `high`, both not negative, without leading zeros."""
    parts: list[str] = []
    for digits in range(len(str(low)), len(str(high)) + 1):
        smallest = 10 ** (digits - 1) if digits > 1 else 0
        start, end = max(low, smallest), min(high, 10**digits - 1)
        parts.append(_same_length(str(start), str(end)))
    return " | ".join(parts)


def _same_length(low: str, high: str) -> str:
    """Digit strings from `low` to `high`, which are of one length."""
    if low == high:
        return f'"{low}"'
    rest = len(low) - 1
    if rest == 0:
        return f"[{low}-{high}]"
    if set(low[1:]) == {"0"} and set(high[1:]) == {"9"}:
        return f"[{low[0]}-{high[0]}] [0-9]{{{rest}}}"
    if low[0] == high[0]:
        return f'"{low[0]}" ({_same_length(low[1:], high[1:])})'
    parts = [f'"{low[0]}" ({_same_length(low[1:], "9" * rest)})']
    if int(high[0]) - int(low[0]) > 1:
        parts.append(f"[{int(low[0]) + 1}-{int(high[0]) - 1}] [0-9]{{{rest}}}")
    parts.append(f'"{high[0]}" ({_same_length("0" * rest, high[1:])})')
    return " | ".join(parts)

"""What an agent may do: grants from the configuration, each of which can only narrow.

Default deny: an empty grant permits nothing. A refusal reads the same as absence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeGuard

from backends.messages import Place, Reach

SELF = "self"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentRule:
    """A condition on one argument of matching tools; exactly one of the tests is set.

    Attributes:
        tool: Pattern of full tool names.
        path: Name of the argument, with dots for nested ones.
        under: The argument is an absolute path inside this directory, links followed.
        eq: The argument equals this, and has its type.
        one_of: The argument is one of these.
        glob: The argument is text that matches this pattern.
        max: The argument is a number of at most this.
    """

    tool: str
    path: str
    under: str | None = None
    eq: object | None = None
    one_of: tuple[object, ...] | None = None
    glob: str | None = None
    max: float | None = None

    def allows(self, arguments: Mapping[str, object]) -> bool:
        """Test the argument; an absent one or one of the wrong type is refused."""
        value: object = arguments
        for key in self.path.split("."):
            if not _is_object(value) or key not in value:
                return False
            value = value[key]
        if self.under is not None:
            return isinstance(value, str) and _is_under(value, self.under)
        if self.glob is not None:
            return isinstance(value, str) and fnmatchcase(value, self.glob)
        if self.max is not None:
            return (
                isinstance(value, int | float) and not isinstance(value, bool) and value <= self.max
            )
        choices = (self.eq,) if self.one_of is None else self.one_of
        return any(type(value) is type(choice) and value == choice for choice in choices)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """The rights of an agent.

    Invariant: `narrow` never permits what was refused before
    (`tests/kernel/test_capabilities_properties.py`).

    Attributes:
        tools: Lists of patterns; a tool must match one of each list. No list permits nothing.
        deny: Patterns that refuse whatever `tools` says.
        arguments: Conditions on arguments of matching tools.
        read: Memory namespaces it may search.
        write: Memory namespaces it may add to and forget from.
        tiers: Tiers it may use.
        cores: Cores it may name besides those of its tiers.
        max_tokens: Most tokens of one answer.
        observe: It may see how all agents fare: their names, calls, speed and spend.
    """

    tools: tuple[tuple[str, ...], ...] = ()
    deny: tuple[str, ...] = ()
    arguments: tuple[ArgumentRule, ...] = ()
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    tiers: frozenset[str] = field(default_factory=frozenset[str])
    cores: frozenset[str] = field(default_factory=frozenset[str])
    max_tokens: int = 8192
    observe: bool = False

    def allows_tool(self, name: str) -> bool:
        """Test a full tool name, `server.tool`."""
        if not self.tools or _matches(name, self.deny):
            return False
        return all(_matches(name, patterns) for patterns in self.tools)

    def may_allow_server(self, server: str) -> bool:
        """Test whether some tool of a server might be allowed, without knowing its tools."""
        return bool(self.tools) and all(
            any(_may_reach(pattern, server) for pattern in patterns) for patterns in self.tools
        )

    def allows_arguments(self, name: str, arguments: Mapping[str, object]) -> bool:
        """Test the arguments of a call of an allowed tool."""
        return all(
            rule.allows(arguments) for rule in self.arguments if fnmatchcase(name, rule.tool)
        )

    def narrow(
        self,
        *,
        tools: Sequence[str] | None = None,
        deny: Sequence[str] = (),
        tiers: Sequence[str] | None = None,
        max_tokens: int | None = None,
        read: Sequence[str] | None = None,
        write: Sequence[str] | None = None,
    ) -> "Grants":
        """Give grants that permit at most what these do; None leaves a part as it is."""
        return Grants(
            tools=self.tools if tools is None else (*(self.tools or ((),)), tuple(tools)),
            deny=(*self.deny, *deny),
            arguments=self.arguments,
            read=self.read if read is None else _narrowed(self.read, read),
            write=self.write if write is None else _narrowed(self.write, write),
            tiers=self.tiers if tiers is None else self.tiers & frozenset(tiers),
            # A core named apart from the tiers must not slip past a caveat on tiers.
            cores=self.cores if tiers is None else frozenset(),
            max_tokens=self.max_tokens if max_tokens is None else min(self.max_tokens, max_tokens),
            # Whoever is given less than all of it is not meant to watch the others.
            observe=self.observe
            and not deny
            and all(each is None for each in (tools, tiers, max_tokens, read, write)),
        )


def covers(pattern: str, namespace: str) -> bool:
    """Test whether a namespace, or all of `x/*`, lies within a pattern."""
    if pattern == namespace:
        return True
    if not pattern.endswith("/*"):
        return False
    stem = pattern[:-2]
    return namespace == stem or namespace.startswith(stem + "/")


def place_of(agent: str, namespace: str) -> Place:
    """Give the partition of a namespace: `self` and what is below it are the agent's own."""
    return Place(agent if _is_own(namespace) else "", namespace)


def reaches_of(agent: str, granted: Sequence[str]) -> tuple[Reach, ...]:
    """Group granted namespaces by partition, the agent's own first."""
    own = tuple(pattern for pattern in granted if _is_own(pattern))
    common = tuple(pattern for pattern in granted if not _is_own(pattern))
    reaches = (Reach(agent, own), Reach("", common))
    return tuple(reach for reach in reaches if reach.patterns)


def _is_own(namespace: str) -> bool:
    return namespace == SELF or namespace.startswith(SELF + "/")


def _narrowed(granted: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    inside = [name for name in wanted if any(covers(pattern, name) for pattern in granted)]
    kept = [name for name in granted if any(covers(pattern, name) for pattern in wanted)]
    return tuple(dict.fromkeys([*inside, *kept]))


def _is_object(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, Mapping)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _may_reach(pattern: str, server: str) -> bool:
    stem = pattern.partition(".")[0]
    return "*" in stem or fnmatchcase(server, stem)


def _is_under(value: str, directory: str) -> bool:
    path = Path(value)
    if not path.is_absolute():
        return False
    # Links are followed on both sides: a link inside must not lead outside.
    return path.resolve().is_relative_to(Path(directory).resolve())

"""Runs the tour: starts the servers, takes the steps, says how long each took."""

import argparse
import sys
from contextlib import AsyncExitStack

import anyio
from mcp import Client, MCPError

from aios_mcp.cli.demo.screen import Screen
from aios_mcp.cli.demo.steps import STEPS, StepError, Tour
from aios_mcp.cli.demo.world import World, open_world
from aios_mcp.cli.errors import FAILURE
from aios_mcp.cli.failures import leaves
from aios_mcp.version import __version__

_TITLE = f"aios-mcp {__version__} · an AI-OS kernel behind the Model Context Protocol"
_INTRODUCTION = (
    "One gate between your agents and the models, tools and memory they share. Every call below is"
    " real: an MCP client talks over stdio to a server that was started for this tour."
)
_END = (
    "That was the tour; nothing of it is left behind. Next: `aios-mcp init` writes a configuration"
    " and prints what to paste into Claude Desktop, Claude Code, VS Code or Cursor."
)
_TOUR_SECONDS = 120.0


def run(args: argparse.Namespace) -> int:
    """Take the tour; gives 1 if a step does not keep its promise."""
    del args
    screen = Screen(sys.stdout)
    screen.title(_TITLE, _INTRODUCTION)
    with open_world() as world:
        if reason := anyio.run(take_tour, world, screen):
            screen.failed(reason)
            if log := world.logged(10):
                screen.end(f"The servers logged:\n{log}")
            return FAILURE
    screen.end(_END)
    return 0


async def take_tour(world: World, screen: Screen) -> str:
    """Take all steps; gives why the tour ended early, or "" if it did not."""
    reasons: list[str] = []
    try:
        with anyio.fail_after(_TOUR_SECONDS):
            async with AsyncExitStack() as stack:
                await _take_steps(world, screen, stack)
    except* (StepError, MCPError, OSError) as group:  # a TimeoutError is an OSError
        reasons = [str(exc) or "a server did not answer in time" for exc in leaves(group)]
    return "; ".join(reasons)


async def _take_steps(world: World, screen: Screen, stack: AsyncExitStack) -> None:
    guests: list[Client] = []

    async def meet_guest() -> Client:
        if not guests:
            guests.append(await stack.enter_async_context(world.connect("guest")))
        return guests[0]

    started = anyio.current_time()
    ada = await stack.enter_async_context(world.connect("ada"))
    tour = Tour(ada=ada, meet_guest=meet_guest, screen=screen)
    for number, step in enumerate(STEPS, start=1):
        screen.step(number, step.headline, step.why)
        await step.run(tour)
        screen.done(anyio.current_time() - started)
        started = anyio.current_time()

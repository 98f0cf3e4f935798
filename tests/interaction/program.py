"""A kernel over scripted parts, as a program that speaks MCP over stdio: what a host starts."""

import os

import anyio

from aios_mcp.kernel import Agents, Kernel
from aios_mcp.server import serve_stdio
from backends.messages import Completion, CoreStatus, GenerateRequest
from backends.protocols import Emit, Turn
from backends.scripted import EchoCore
from backends.turns import UNINTERRUPTED
from tests.kernel.kernels import build, core
from tests.server.surfaces import known, limited, memories, server

SECONDS_PER_TOKEN = 0.02


class NoisyCore:
    """Takes its time, and prints to stdout in every way a library might."""

    def __init__(self) -> None:
        self._echo = EchoCore(seconds_per_token=SECONDS_PER_TOKEN)

    async def generate(
        self, request: GenerateRequest, emit: Emit, turn: Turn = UNINTERRUPTED, /
    ) -> Completion:
        print("a stray line", flush=True)  # noqa: T201
        os.write(1, b"and a half")
        return await self._echo.generate(request, emit, turn)

    def status(self) -> CoreStatus:
        return self._echo.status()


def slow_kernel() -> Kernel:
    """Give a kernel with one slow slot."""
    return build(core(llm=NoisyCore()), memories=memories())


def two_agents() -> Agents:
    """Give ada and bob, who may each do a little."""
    return known(limited("ada"), limited("bob"))


async def main() -> None:
    await serve_stdio(server(slow_kernel(), agents=two_agents()))


if __name__ == "__main__":
    anyio.run(main)

"""The kernel: six syscalls behind one gate. Speaks no wire protocol."""

from aios_mcp.kernel.agents import Agent, Agents, Allowance
from aios_mcp.kernel.capabilities import ArgumentRule, Grants
from aios_mcp.kernel.kernel import Kernel

__all__ = ["Agent", "Agents", "Allowance", "ArgumentRule", "Grants", "Kernel"]

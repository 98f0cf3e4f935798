"""The scheduler that a configuration asks for: its slots and its policies."""

from aios_mcp.config import Config
from aios_mcp.config.core_parts import LlamaCorePart
from aios_mcp.config.scheduler_parts import PolicyName, SchedulerPart
from aios_mcp.kernel.kernel import MEMORY, tools_resource
from scheduler import Lane, Lanes, Scheduler
from scheduler.policies import Deadline, Fair, Fifo, Policy, Priority, RoundRobin


def build_scheduler(config: Config) -> Scheduler:
    """Build it, with slots for cores, servers and memory."""
    slots = {name: part.slots for name, part in config.cores.items()}
    slots |= {tools_resource(name): part.concurrency for name, part in config.servers.items()}
    slots[MEMORY] = config.limits.memory_slots
    return Scheduler(
        slots,
        _order(config),
        max_waiting=config.limits.queue_total,
        max_waiting_per_agent=config.limits.queue_per_agent,
        pausable=[name for name, part in config.cores.items() if isinstance(part, LlamaCorePart)],
    )


def _order(config: Config) -> Policy | Lanes:
    part = config.scheduler
    agents = {name: agent.share for name, agent in config.agents.items()}
    if not part.lanes:
        return _policy(part.policy, part, agents)
    policies = {lane: _policy(part.policy, part, agents) for lane in Lane}
    weights: dict[Lane, float] = {}
    for name, own in part.lanes.items():
        lane = Lane[name.upper()]
        if own.policy is not None:
            policies[lane] = _policy(own.policy, part, agents)
        if own.weight is not None:
            weights[lane] = own.weight
    return Lanes(policies, weights, part.turn_tokens)


def _policy(name: PolicyName, part: SchedulerPart, agents: dict[str, float]) -> Policy:
    match name:
        case "fair":
            return Fair(
                agents,
                prompt_weight=part.prompt_weight,
                output_weight=part.output_weight,
                quantum_tokens=part.turn_tokens,
                ageing_seconds=part.ageing_seconds,
            )
        case "fifo":
            return Fifo()
        case "round_robin":
            return RoundRobin(part.turn_tokens)
        case "priority":
            return Priority(part.ageing_seconds)
        case "deadline":
            return Deadline()

"""A seeded simulation of agents that share a core: the work is simulated, the scheduler is real."""

from benchmarks.simulator.core import CPU, GPU, CostModel
from benchmarks.simulator.record import Record
from benchmarks.simulator.simulation import simulate

__all__ = ["CPU", "GPU", "CostModel", "Record", "simulate"]

"""Fused Relax to a static execution plan."""

from edgeconv.compiler.planner.arena import Arena, Lifetime, plan_arena
from edgeconv.compiler.planner.planning import Planned, kernel_functions, plan_graph

__all__ = ["Arena", "Lifetime", "Planned", "kernel_functions", "plan_arena", "plan_graph"]

"""Blocking for caches: how much input stays while the weights pass by."""

from __future__ import annotations

from edgeconv.compiler.schedules.machine import Machine

# What a line from memory costs, in lines from the second-level cache.
MEMORY_COST = 8


def chunk_length(
    steps: int, step_bytes: int, *, panels: int, panel_bytes: int, machine: Machine
) -> int:
    """Return how many steps of input to take at a time: a divisor of `steps`.

    Every chunk meets every panel of weights; the fewest bytes into the first-level cache win. Half
    of a cache counts, since both operands and the output pass through it.

    Args:
        steps: tiles of input.
        step_bytes: what one of them reads.
        panels: tiles of weights.
        panel_bytes: what one of them reads.
        machine: for which core.
    """
    near, far = machine.l1_bytes // 2, machine.l2_bytes // 2
    weights = panels * panel_bytes

    def traffic(length: int) -> float:
        chunk = length * step_bytes
        refill = 1 if weights + step_bytes <= near else steps // length
        weight_cost = weights * (1 if weights <= far else MEMORY_COST)
        reread = 1 if chunk + panel_bytes <= near else panels
        input_cost = steps * step_bytes * (1 if chunk <= far else MEMORY_COST)
        return refill * weight_cost + reread * input_cost

    lengths = [length for length in range(1, steps + 1) if steps % length == 0]
    return min(lengths, key=lambda length: (traffic(length), -length))

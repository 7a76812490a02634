"""What the GPU schedule rules share."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from tvm import s_tir

from edgeconv.compiler.schedules.common import extent
from edgeconv.compiler.schedules.gpu.machine import GpuMachine
from edgeconv.compiler.schedules.machine import round_up

# Functions with this attribute may sum their products in half precision (`codegen/half_sums.py`).
HALF_SUMS = "edgeconv.half_sums"

# Work-groups of more waves than this are no faster, and leave less to share out.
WAVES = 4


# Below this share of busy lanes in a work-group's waves another way to form it is looked for.
FULL = 0.5


def busy(size: int, machine: GpuMachine) -> float:
    """Return the share of busy lanes in the waves of a work-group."""
    return size / round_up(size, machine.wave)


def most_items(machine: GpuMachine) -> int:
    """Return how many work-items a work-group has at most."""
    return min(machine.max_workgroup, WAVES * max(machine.wave, 16))


def bind_row(sch: s_tir.Schedule, loops: Sequence[object], machine: GpuMachine) -> object:
    """Give every iteration of `loops` a work-item, in a row; return the innermost loop.

    A work-group has whole inner loops and a part of the one around them, since TVM does not follow
    other cuts through loops in a row.
    """
    whole, inner = [], 1
    for position in range(len(loops) - 1, -1, -1):
        count = extent(sch, loops[position])
        for part in range(1, min(count, most_items(machine) // inner) + 1):
            if count % part == 0:
                size = inner * part
                whole.append((busy(size, machine), size, position, part))
        inner *= count
    share, _, position, part = max(whole)
    outer, rest = list(loops[:position]), list(loops[position + 1 :])
    if share < FULL:
        # Some work-items at the end of the longest loop have nothing to do.
        position = max(range(len(loops)), key=lambda i: extent(sch, loops[i]))
        outer, rest = [*loops[:position], *loops[position + 1 :]], []
        count = extent(sch, loops[position])
        part = -(-count // -(-count // most_items(machine)))
    group, item = sch.split(loops[position], [None, part])
    sch.reorder(*outer, group, item, *rest)
    group = sch.fuse(*outer, group) if outer else group
    item = sch.fuse(item, *rest) if rest else item
    sch.bind(group, "blockIdx.x")
    sch.bind(item, "threadIdx.x")
    return item


def split_lanes(sch: s_tir.Schedule, loop: object, machine: GpuMachine) -> tuple[object, object]:
    """Split off as many iterations as a vector has; the second loop may be of one iteration."""
    lanes = machine.lanes if extent(sch, loop) % machine.lanes == 0 else 1
    outer, lane = sch.split(loop, [None, lanes])
    return outer, lane


def vectorize(sch: s_tir.Schedule, loop: object) -> None:
    """Vectorise a loop of several iterations."""
    if extent(sch, loop) > 1:
        sch.vectorize(loop)


def items_of(sch: s_tir.Schedule, loops: Sequence[object]) -> int:
    """Return how often `loops` iterate together."""
    return prod(extent(sch, loop) for loop in loops)

"""What the CPU schedule rules share."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import s_tir

from edgeconv.compiler.schedules.common import extent
from edgeconv.compiler.schedules.machine import Machine

# Below this many innermost iterations a parallel launch costs more than it saves.
MIN_PARALLEL_WORK = 32768
# With fewer parts, whole ones would leave threads idle.
MIN_PARTS = 2
MIN_PARTS_SHARED_L2 = 8


def shares_parts(parts: int, machine: Machine) -> bool:
    """Whether threads take whole parts of a kernel, each with its data in second-level cache.

    Otherwise they work on every part together. Its data then moves between their caches, which
    costs more than shares that differ by a part, unless they have that cache in common.
    """
    return parts >= (MIN_PARTS_SHARED_L2 if machine.l2_shared else MIN_PARTS)


def parallelise(sch: s_tir.Schedule, loops: Sequence[object], work: int) -> object:
    """Fuse `loops` and run them in parallel, unless `work` inner iterations are too few."""
    fused = sch.fuse(*loops) if len(loops) > 1 else loops[0]
    if work >= MIN_PARALLEL_WORK and extent(sch, fused) > 1:
        sch.parallel(fused)
    return fused

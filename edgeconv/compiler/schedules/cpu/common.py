"""What the CPU schedule rules share."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from tvm import s_tir

from edgeconv.compiler.schedules.common import extent
from edgeconv.compiler.schedules.machine import Machine

# Below this many innermost iterations a parallel launch costs more than it saves.
MIN_PARALLEL_WORK = 32768


def parallelise(sch: s_tir.Schedule, loops: Sequence[object], work: int) -> object:
    """Fuse `loops` and run them in parallel, unless `work` inner iterations are too few."""
    fused = sch.fuse(*loops) if len(loops) > 1 else loops[0]
    if work >= MIN_PARALLEL_WORK and extent(sch, fused) > 1:
        sch.parallel(fused)
    return fused


def vectorise_part(sch: s_tir.Schedule, loop: object, machine: Machine) -> None:
    """Split off as many iterations of `loop` as divide it and fill lanes, and vectorise them."""
    lanes = gcd(extent(sch, loop), machine.lanes)
    if lanes > 1:
        sch.vectorize(sch.split(loop, [None, lanes])[1])

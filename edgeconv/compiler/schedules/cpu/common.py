"""What the CPU schedule rules share."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from tvm import s_tir

from edgeconv.compiler.schedules.common import extent
from edgeconv.compiler.schedules.machine import Machine

# With fewer innermost iterations, handing some to another thread costs more than it saves. For
# multiply-adds, which come in vectors, see `Machine.min_parallel_macs`.
MIN_PARALLEL_WORK = 32768


def parallelise(
    sch: s_tir.Schedule, loops: Sequence[object], work: int, least: int = MIN_PARALLEL_WORK
) -> object:
    """Fuse `loops` and run them in parallel, unless `work`, inner iterations, is below `least`."""
    fused = sch.fuse(*loops) if len(loops) > 1 else loops[0]
    if work >= least and extent(sch, fused) > 1:
        sch.parallel(fused)
    return fused


def vectorise_part(sch: s_tir.Schedule, loop: object, machine: Machine) -> None:
    """Split off as many iterations of `loop` as divide it and fill lanes, and vectorise them."""
    lanes = gcd(extent(sch, loop), machine.lanes)
    if lanes > 1:
        sch.vectorize(sch.split(loop, [None, lanes])[1])

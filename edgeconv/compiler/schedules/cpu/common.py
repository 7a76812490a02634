"""What the CPU schedule rules share."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from tvm import s_tir

from edgeconv.compiler.schedules.common import extent, vectorize_unroll
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


def in_tiles(sch: s_tir.Schedule, store: object, blocks: int, columns: int) -> object:
    """Let a block that writes a task's results run over register tiles; return the loop over them.

    Its innermost loops are over channel blocks, pixels and lanes.
    """
    block, pixel, lane = sch.get_loops(store)[-3:]
    panel, block = sch.split(block, [None, blocks])
    step, pixel = sch.split(pixel, [None, columns])
    sch.reorder(panel, step, block, pixel, lane)
    vectorize_unroll(sch, [block, pixel, lane])
    return step

"""Depthwise deformable convolution: a work-item samples a pixel tap by tap and sums what it finds.

It does so for some blocks of channels of one offset group, which share where the pixels are found.
"""

from __future__ import annotations

from math import gcd

from tvm import s_tir

from edgeconv.compiler.schedules.common import (
    attach_epilogue,
    extent,
    image_in_one_row,
    vectorize_unroll,
)
from edgeconv.compiler.schedules.gpu.accumulate import place_at
from edgeconv.compiler.schedules.gpu.common import bind_row, items_of
from edgeconv.compiler.schedules.gpu.machine import GpuMachine
from edgeconv.compiler.schedules.gpu.tiles import block_counts

ANCHOR = "deformable_depthwise"
# A sample, a neighbour's pixel and a weight, beside the sums; and where a pixel is found.
VECTORS, PLACE = 3, 8


def schedule(sch: s_tir.Schedule, machine: GpuMachine) -> None:
    """Schedule the function around its block (`compute.deformable.deformable_depthwise`)."""
    for name in ("position0", "position1"):
        sch.compute_inline(sch.get_sblock(name))
    store = attach_epilogue(sch, ANCHOR)
    image_in_one_row(sch, store)
    total = sch.get_sblock(ANCHOR)
    batch, block, pixel, lane, tap = sch.get_loops(total)
    groups = extent(sch, sch.get_loops(sch.get_sblock("corner"))[1]) // extent(sch, tap)
    blocks = extent(sch, block)
    items = items_of(sch, [batch, block, pixel])
    shared = max(
        count
        for count in block_counts(gcd(blocks, max(1, blocks // groups)))
        if count == 1 or (items // count >= machine.busy and _fits(count, machine))
    )
    outer, inner = sch.split(block, [None, shared])
    sch.reorder(batch, outer, pixel, tap, inner, lane)
    item = bind_row(sch, [batch, outer, pixel], machine)
    sch.reverse_compute_at(store, item, preserve_unit_loops=True)
    vectorize_unroll(sch, sch.get_loops(store)[2:])
    for name in ("factor", "corner"):
        place_at(sch, name, total, tap)
    vectorize_unroll(sch, [inner, lane])
    init = sch.decompose_reduction(total, tap)
    vectorize_unroll(sch, sch.get_loops(init)[-2:])


def _fits(blocks: int, machine: GpuMachine) -> bool:
    """Whether the sums of so many blocks stay in registers."""
    return (blocks + VECTORS) * machine.lanes + PLACE <= machine.registers

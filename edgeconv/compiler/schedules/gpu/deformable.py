"""Deformable convolution: a work-item samples some pixels, tap by tap, and multiplies them."""

from __future__ import annotations

from tvm import s_tir

from edgeconv.compiler.schedules.common import (
    attach_epilogue,
    extent,
    image_in_one_row,
    vectorize_unroll,
)
from edgeconv.compiler.schedules.gpu.accumulate import MAX_ROW, accumulate
from edgeconv.compiler.schedules.gpu.common import bind_row
from edgeconv.compiler.schedules.gpu.machine import GpuMachine

ANCHOR = "deformable"


def schedule(sch: s_tir.Schedule, machine: GpuMachine) -> None:
    """Schedule the function around its block (`compute.deformable.deformable_blocked`)."""
    for name in ("position0", "position1"):
        sch.compute_inline(sch.get_sblock(name))
    columns = extent(sch, sch.get_loops(sch.get_sblock("panel"))[4])
    store = attach_epilogue(sch, ANCHOR)
    image_in_one_row(sch, store)
    product = sch.get_sblock(ANCHOR)
    blocks = int(sch.get(product).reads[1].source.shape[-2])
    n, outer, pixel, lane, tap, channel = sch.get_loops(product)
    panel, block = sch.split(outer, [None, blocks])
    step, column = sch.split(pixel, [None, columns])
    sch.reorder(n, panel, step, tap, channel, column, block, lane)
    item = bind_row(sch, [n, panel, step], machine)
    sch.reverse_compute_at(store, item, preserve_unit_loops=True)
    vectorize_unroll(sch, sch.get_loops(store)[2:])
    accumulate(
        sch,
        product,
        taps=[tap],
        channel=channel,
        tile=[column, block, lane],
        row=MAX_ROW + 1,
        machine=machine,
        places=("factor", "corner"),
    )

"""Pointwise convolution: a work-item computes some pixels in a row, of some blocks of channels."""

from __future__ import annotations

from tvm import s_tir

from edgeconv.compiler.schedules.common import (
    attach_epilogue,
    extent,
    image_in_one_row,
    vectorize_unroll,
)
from edgeconv.compiler.schedules.gpu.accumulate import accumulate
from edgeconv.compiler.schedules.gpu.common import bind_row
from edgeconv.compiler.schedules.gpu.machine import GpuMachine
from edgeconv.compiler.schedules.gpu.tiles import choose_tile

ANCHOR = "pointwise"


def schedule(sch: s_tir.Schedule, machine: GpuMachine) -> None:
    """Schedule the function around its `pointwise` block (`compute.conv.pointwise_blocked`)."""
    product = sch.get_sblock(ANCHOR)
    batch, blocks, pixels = (extent(sch, loop) for loop in sch.get_loops(product)[:3])
    counts = [int(sch.get(product).reads[1].source.shape[-2])]
    tile = choose_tile(pixels, batch * blocks, counts, machine, whole=True)
    store = attach_epilogue(sch, ANCHOR)
    image_in_one_row(sch, store)
    n, outer, pixel, lane, channel = sch.get_loops(product)
    panel, block = sch.split(outer, [None, tile.blocks])
    step, inner = sch.split(pixel, [None, tile.columns])
    sch.reorder(n, panel, step, channel, inner, block, lane)
    item = bind_row(sch, [n, panel, step], machine)
    sch.reverse_compute_at(store, item, preserve_unit_loops=True)
    vectorize_unroll(sch, sch.get_loops(store)[2:])
    accumulate(
        sch,
        product,
        taps=[],
        channel=channel,
        tile=[inner, block, lane],
        row=tile.columns,
        machine=machine,
    )

"""Winograd convolution in three kernels: tiles are transformed, multiplied and transformed back.

All three keep one work-item's part in registers. The products of one place in a tile are a
pointwise convolution whose pixels are the tiles, and are computed as such.
"""

from __future__ import annotations

from tvm import s_tir

from edgeconv.compiler.compute.winograd import Tiling
from edgeconv.compiler.schedules.common import (
    attach_epilogue,
    block_names,
    extent,
    loops_of,
    vectorize_unroll,
)
from edgeconv.compiler.schedules.gpu.accumulate import MAX_ROW, accumulate, inline_padding
from edgeconv.compiler.schedules.gpu.common import bind_row
from edgeconv.compiler.schedules.gpu.machine import GpuMachine

INPUT, PRODUCT, OUTPUT = "winograd_input", "winograd_product", "winograd"


def schedule_input(sch: s_tir.Schedule, machine: GpuMachine) -> None:
    """Schedule `compute.winograd.winograd_input`: a work-item transforms a tile."""
    inline_padding(sch)
    for name in block_names(sch):
        if name not in ("line", "vertical", INPUT):
            sch.reverse_compute_inline(sch.get_sblock(name))
    line, vertical, result = map(sch.get_sblock, ("line", "vertical", INPUT))
    *around, i, j, panel, step, column, lane = sch.get_loops(result)
    side = extent(sch, i)
    part, lane = _split_lane(sch, lane, side * side + side, machine)
    sch.reorder(*around, step, panel, column, part, i, j, lane)
    item = bind_row(sch, [*around, step, panel, column, part], machine)
    sch.compute_at(vertical, item, preserve_unit_loops=True)
    *_, image_column, _, _ = sch.get_loops(vertical)
    sch.compute_at(line, image_column, preserve_unit_loops=True)
    for stage in (line, vertical):
        sch.set_scope(stage, 0, "local")
    vectorize_unroll(sch, sch.get_loops(line)[-2:])
    for block in (result, vertical):
        vectorize_unroll(sch, loops_of(sch, block, item)[0])


def schedule_product(sch: s_tir.Schedule, machine: GpuMachine) -> None:
    """Schedule `compute.winograd.winograd_products`: as a pointwise convolution of each place."""
    product = sch.get_sblock(PRODUCT)
    panels, weight = (read.source for read in sch.get(product).reads)
    columns, blocks = int(panels.shape[-2]), int(weight.shape[-2])
    store = attach_epilogue(sch, PRODUCT)
    spatial, (*taps, channel) = loops_of(sch, product)
    *around, outer, tile, lane = spatial
    panel, block = sch.split(outer, [None, blocks])
    step, column = sch.split(tile, [None, columns])
    sch.reorder(*around, panel, step, *taps, channel, column, block, lane)
    item = bind_row(sch, [*around, panel, step], machine)
    sch.reverse_compute_at(store, item, preserve_unit_loops=True)
    vectorize_unroll(sch, loops_of(sch, store, item)[0])
    accumulate(
        sch,
        product,
        taps=taps,
        channel=channel,
        tile=[column, block, lane],
        # Taps meet other planes: they share no inputs.
        row=MAX_ROW + 1,
        machine=machine,
    )


def schedule_output(sch: s_tir.Schedule, machine: GpuMachine) -> None:
    """Schedule `compute.winograd.winograd_output`: a work-item transforms a tile back."""
    tiling = Tiling(*(int(n) for n in sch.get(sch.get_sblock("image")).annotations["tiling"]))
    half, winograd = sch.get_sblock("half"), sch.get_sblock(OUTPUT)
    store = attach_epilogue(sch, OUTPUT)
    *around, y, x, lane = sch.get_loops(store)
    row, inner_y = sch.split(y, [None, tiling.m])
    column, inner_x = sch.split(x, [None, tiling.m])
    part, lane = _split_lane(sch, lane, tiling.side * tiling.m + tiling.side, machine)
    sch.reorder(*around, row, column, part, inner_y, inner_x, lane)
    item = bind_row(sch, [*around, row, column, part], machine)
    for block in (winograd, half):
        sch.compute_at(block, item, preserve_unit_loops=True)
    sch.set_scope(half, 0, "local")
    for block in (half, winograd, store):
        vectorize_unroll(sch, loops_of(sch, block, item)[0])


def _split_lane(
    sch: s_tir.Schedule, lane: object, values: int, machine: GpuMachine
) -> tuple[object, object]:
    """Split a vector off, or one channel where `values` vectors do not stay in registers."""
    fits = values * machine.lanes + 8 <= machine.registers
    part, lane = sch.split(lane, [None, machine.lanes if fits else 1])
    return part, lane

"""Pointwise convolution: a matrix product of packed weights and all pixels in one row.

Pixels are taken in chunks that stay in the first-level cache while the weights pass by.
"""

from __future__ import annotations

from tvm import s_tir

from edgeconv.compiler.schedules.cpu.accumulate import (
    accumulate,
    in_block,
    tile_blocks,
    weight_bytes,
)
from edgeconv.compiler.schedules.cpu.blocking import chunk_length
from edgeconv.compiler.schedules.cpu.common import (
    attach_epilogue,
    extent,
    image_in_one_row,
    parallelise,
    total_work,
    vectorize_unroll,
)
from edgeconv.compiler.schedules.machine import FLOAT_BYTES, Machine, register_tile

ANCHOR = "pointwise"


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule the function around its `pointwise` block (`compute.conv.pointwise_blocked`)."""
    product = sch.get_sblock(ANCHOR)
    work = total_work(sch, product)
    *_, pixels, lanes, channels = (extent(sch, loop) for loop in sch.get_loops(product))
    blocks = tile_blocks(sch, product)
    tile = register_tile(
        pixels, [blocks], machine, block=lanes, in_block=in_block(sch, product), whole=True
    )
    store = attach_epilogue(sch, ANCHOR)

    image_in_one_row(sch, store)
    batch, block, pixel, lane, channel = sch.get_loops(product)
    panel, inner_block = sch.split(block, [None, blocks])
    length = chunk_length(
        pixels // tile.columns,
        tile.columns * channels * FLOAT_BYTES,
        panels=extent(sch, panel),
        panel_bytes=weight_bytes(sch, product),
        machine=machine,
    )
    chunk, step, column = sch.split(pixel, [None, length, tile.columns])
    inner = [column, inner_block, lane]
    sch.reorder(batch, chunk, panel, step, channel, *inner)
    tile_loop = parallelise(sch, [batch, chunk, panel, step], work)
    sch.reverse_compute_at(store, tile_loop, preserve_unit_loops=True)
    vectorize_unroll(sch, sch.get_loops(store)[1:])
    accumulate(sch, product, taps=[], channel=channel, tile=inner, machine=machine)

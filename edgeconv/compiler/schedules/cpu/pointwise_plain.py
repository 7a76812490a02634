"""Pointwise convolution of plain images, vectorised over pixels.

A register tile is some output channels by vectors of pixels; weights are broadcast from memory.
Where several tiles read the same pixels, those are copied first: rows of an image that are a power
of two apart would displace each other in the caches.
"""

from __future__ import annotations

from tvm import s_tir

from edgeconv.compiler.schedules.common import (
    attach_epilogue,
    extent,
    pixels_in_one_row,
    total_work,
    vectorize_unroll,
)
from edgeconv.compiler.schedules.cpu.accumulate import UNROLL
from edgeconv.compiler.schedules.cpu.common import parallelise
from edgeconv.compiler.schedules.cpu.overlap import overlap_last
from edgeconv.compiler.schedules.machine import Machine, largest_divisor, plain_pixel_tile

ANCHOR = "pointwise_plain"


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule the function around its block (`compute.conv.pointwise_plain`)."""
    product = sch.get_sblock(ANCHOR)
    work = total_work(sch, product)
    store = attach_epilogue(sch, ANCHOR)
    pixels_in_one_row(sch, store)
    batch, out, pixel, channel = sch.get_loops(product)
    outs, pixels = extent(sch, out), extent(sch, pixel)
    tile = plain_pixel_tile(outs, pixels, machine)
    panel, row = sch.split(out, [None, tile.rows])
    width = tile.columns * machine.lanes
    step, vector, lane = sch.split(pixel, [None, tile.columns, machine.lanes])
    channel, inner_channel = sch.split(
        channel, [None, largest_divisor(extent(sch, channel), UNROLL)]
    )
    inner = [row, vector, lane]
    sch.reorder(batch, step, panel, channel, inner_channel, *inner)
    task = parallelise(sch, [batch, step], work, machine.min_parallel_macs)
    if outs > tile.rows:
        near = sch.cache_read(product, 0, "global")
        sch.compute_at(near, task, preserve_unit_loops=True)
        _, lanes = sch.split(sch.get_loops(near)[-1], [None, machine.lanes])
        sch.vectorize(lanes)
    sch.reverse_compute_at(store, panel, preserve_unit_loops=True)
    *_, store_row, store_pixel = sch.get_loops(store)
    store_vector, store_lane = sch.split(store_pixel, [None, machine.lanes])
    vectorize_unroll(sch, [store_row, store_vector, store_lane])
    vectorize_unroll(sch, [inner_channel, *inner])
    init = sch.decompose_reduction(product, channel)
    vectorize_unroll(sch, sch.get_loops(init)[-len(inner) :])
    if pixels % width:
        overlap_last(sch, task, pixels - width)

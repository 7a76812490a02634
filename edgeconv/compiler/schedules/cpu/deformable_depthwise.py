"""Depthwise deformable convolution: samples are summed over the taps as they are taken."""

from __future__ import annotations

from math import gcd

from tvm import s_tir

from edgeconv.compiler.schedules.common import (
    attach_epilogue,
    extent,
    image_in_one_row,
    total_work,
    vectorize_unroll,
)
from edgeconv.compiler.schedules.cpu.common import parallelise
from edgeconv.compiler.schedules.cpu.deformable import place_at
from edgeconv.compiler.schedules.machine import Machine, largest_divisor

ANCHOR = "deformable_depthwise"
# Pixels whose places are computed together: enough for vectors, few enough for the cache.
BAND = 64
MAX_BLOCKS = 8


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule the function around its block (`compute.deformable.deformable_depthwise`)."""
    store = attach_epilogue(sch, ANCHOR)
    image_in_one_row(sch, store)
    total = sch.get_sblock(ANCHOR)
    work = total_work(sch, total)
    batch, block, pixel, lane, tap = sch.get_loops(total)
    # Blocks of one offset group share their places.
    groups = extent(sch, sch.get_loops(sch.get_sblock("corner"))[1]) // extent(sch, tap)
    blocks = extent(sch, block)
    shared = largest_divisor(gcd(blocks, max(1, blocks // groups)), MAX_BLOCKS)
    outer, inner = sch.split(block, [None, shared])
    band, column = sch.split(pixel, [None, largest_divisor(extent(sch, pixel), BAND)])
    sch.reorder(batch, band, column, outer, tap, inner, lane)
    bands = parallelise(sch, [batch, band], work)
    sch.reverse_compute_at(store, outer, preserve_unit_loops=True)
    vectorize_unroll(sch, sch.get_loops(store)[-3:])
    vectorize_unroll(sch, [inner, lane])
    init = sch.decompose_reduction(total, tap)
    vectorize_unroll(sch, sch.get_loops(init)[-2:])
    place_at(sch, bands, machine)

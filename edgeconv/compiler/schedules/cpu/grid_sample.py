"""Sampling at a grid: a band of pixels finds its corners in vectors, then all channels read them.

What is outside is masked, so that nothing branches, and a corner's channels are loaded as vectors.
"""

from __future__ import annotations

from tvm import s_tir

from edgeconv.compiler.schedules.common import (
    attach_epilogue,
    block_names,
    extent,
    image_in_one_row,
    total_work,
    vectorize_unroll,
)
from edgeconv.compiler.schedules.cpu.common import parallelise, vectorise_part
from edgeconv.compiler.schedules.cpu.overlap import overlap_last
from edgeconv.compiler.schedules.machine import Machine, largest_divisor

ANCHOR = "grid_sample_blocked"
# Pixels of a band: enough for vectors, few enough for the cache.
BAND = 64
# Blocks of channels that are read together.
MAX_BLOCKS = 4


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule the function around its block (`compute.grid_sample.grid_sample_blocked`)."""
    names = block_names(sch)
    stages = names[: names.index(ANCHOR)]
    store = attach_epilogue(sch, ANCHOR)
    image_in_one_row(sch, store)
    total = sch.get_sblock(ANCHOR)
    work = total_work(sch, total) * sum(name.startswith("corner") for name in stages)
    batch, block, pixel, lane = sch.get_loops(total)
    pixels = extent(sch, pixel)
    width = _band(pixels, machine)
    outer, inner = sch.split(block, [None, largest_divisor(extent(sch, block), MAX_BLOCKS)])
    band, column = sch.split(pixel, [None, width])
    sch.reorder(batch, band, outer, column, inner, lane)
    bands = parallelise(sch, [batch, band], work)
    sch.reverse_compute_at(store, column, preserve_unit_loops=True)
    for last in (store, total):
        vectorize_unroll(sch, sch.get_loops(last)[-2:])
    for name in reversed(stages):
        stage = sch.get_sblock(name)
        sch.compute_at(stage, bands, preserve_unit_loops=True)
        vectorise_part(sch, sch.get_loops(stage)[-1], machine)
    if pixels % width:
        overlap_last(sch, bands, pixels - width)


def _band(pixels: int, machine: Machine) -> int:
    """Return the pixels of a band: whole vectors of them, and few in two bands."""
    widths = range(machine.lanes, min(pixels, BAND) + 1, machine.lanes)
    return min(widths, key=lambda width: (-(-pixels // width) * width, -width), default=pixels)

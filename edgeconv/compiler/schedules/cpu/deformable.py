"""Deformable convolution: sample a band of pixels into panels, and multiply those by the weights.

A band's panels stay in the second-level cache. Where cores wait for it, all its tiles take a run of
channels at a time, whose weights stay in the first-level one. Threads take a band each where there
are several; otherwise both the sampling and the product of a band run in parallel.
"""

from __future__ import annotations

from tvm import s_tir

from edgeconv.compiler.schedules.common import (
    attach_epilogue,
    extent,
    image_in_one_row,
    total_work,
    vectorize_unroll,
)
from edgeconv.compiler.schedules.cpu.accumulate import accumulate, tile_blocks
from edgeconv.compiler.schedules.cpu.blocking import TASKS, band_count
from edgeconv.compiler.schedules.cpu.common import in_tiles, parallelise, vectorise_part
from edgeconv.compiler.schedules.cpu.runs import products_of
from edgeconv.compiler.schedules.machine import FLOAT_BYTES, Machine, shares_parts

ANCHOR = "deformable"


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule the function around its block (`compute.deformable.deformable_blocked`)."""
    panel = sch.get_sblock("panel")
    _, tiles, _, _, columns, _ = (extent(sch, loop) for loop in sch.get_loops(panel))
    sampled = total_work(sch, panel)
    store = attach_epilogue(sch, ANCHOR)
    image_in_one_row(sch, store)
    product = sch.get_sblock(ANCHOR)
    work = total_work(sch, product)

    batch, block, pixel, lane, tap, channel = sch.get_loops(product)
    panels, inner_block = sch.split(block, [None, tile_blocks(sch, product)])
    tile_bytes = sampled // extent(sch, batch) // tiles * FLOAT_BYTES
    bands = band_count(tiles, tile_bytes, machine)
    band, step, column = sch.split(pixel, [bands, None, columns])
    inner = [column, inner_block, lane]
    by_band = shares_parts(extent(sch, batch) * bands, machine)
    # Otherwise threads share the panels, of which there have to be enough.
    products = products_of(sch, product, columns, extent(sch, step))
    run = products.run(machine) if by_band or extent(sch, panels) >= TASKS else 0
    if run:
        around, channel = sch.split(channel, [None, run])
        runs, task = [tap, around], [panels]
        sch.reorder(batch, band, panels, *runs, step, channel, *inner)
    else:
        runs, task = [], [panels, step]
        sch.reorder(batch, band, panels, step, tap, channel, *inner)
    if by_band:
        band = parallelise(sch, [batch, band], work, machine.min_parallel_macs)
        stored = sch.fuse(*task) if len(task) > 1 else panels
    else:
        stored = parallelise(sch, task, work, machine.min_parallel_macs)
    if runs:
        _store_waiting(sch, product, store, stored, columns)
    else:
        sch.reverse_compute_at(store, stored, preserve_unit_loops=True)
        vectorize_unroll(sch, sch.get_loops(store)[-3:])
    accumulate(
        sch,
        product,
        taps=[] if runs else [tap],
        channel=channel,
        tile=inner,
        machine=machine,
        start=runs[0] if runs else None,
    )

    sch.compute_at(panel, band, preserve_unit_loops=True)
    _, _, *loops, lane = sch.get_loops(panel)
    tile, tap, block, column = loops[-4:]
    sch.reorder(tile, tap, column, block, lane)
    if not by_band:
        parallelise(sch, [*loops[:-4], tile, tap], sampled)
    vectorise_part(sch, lane, machine)
    place_at(sch, band, machine)


def _store_waiting(
    sch: s_tir.Schedule, product: object, store: object, loop: object, columns: int
) -> None:
    """Let sums wait between runs, in memory of an iteration of `loop`, which stores them then."""
    sch.set_scope(product, 0, "global")
    sch.reverse_compute_at(store, loop, preserve_unit_loops=True)
    in_tiles(sch, store, tile_blocks(sch, product), columns)


def place_at(sch: s_tir.Schedule, loop: object, machine: Machine) -> None:
    """Compute where the pixels of an iteration of `loop` are sampled, before they are."""
    for name in ("position0", "position1"):
        sch.compute_inline(sch.get_sblock(name))
    for name in ("corner", "factor"):
        places = sch.get_sblock(name)
        sch.compute_at(places, loop, preserve_unit_loops=True)
        vectorise_part(sch, sch.get_loops(places)[-1], machine)

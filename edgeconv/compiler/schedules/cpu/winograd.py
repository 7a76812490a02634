"""Winograd convolution: a chunk of tiles at a time is transformed, multiplied and transformed back.

A chunk's transformed input stays in the second-level cache while all output channels are computed
from it, a register tile of channel blocks at a time. Where cores wait for that cache, a run of
input channels is taken at a time, whose weights stay in the first-level one. Images with many
chunks are split between threads by chunk, others by channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

from tvm import s_tir

from edgeconv.compiler.compute.skipping import SKIPS, Skip, decoded, met_taps
from edgeconv.compiler.compute.winograd import Tiling, unflatten
from edgeconv.compiler.schedules.common import (
    attach_epilogue,
    block_names,
    extent,
    total_work,
    vectorize_unroll,
)
from edgeconv.compiler.schedules.cpu.accumulate import PASSES, accumulate, tile_blocks
from edgeconv.compiler.schedules.cpu.common import parallelise
from edgeconv.compiler.schedules.cpu.runs import products_of
from edgeconv.compiler.schedules.cpu.skipping import skip_taps
from edgeconv.compiler.schedules.machine import Machine, shares_parts

ANCHOR = "winograd"
PRODUCT = "winograd_product"


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule the function around its `winograd` block (`compute.winograd.conv_winograd`)."""
    for name in {"pad", "cut"} & set(block_names(sch)):
        sch.compute_inline(sch.get_sblock(name))
    tiling = Tiling(*(int(n) for n in sch.get(sch.get_sblock("image")).annotations["tiling"]))
    skips = decoded(sch.get(sch.get_sblock("image")).annotations.get(SKIPS, ()))
    chunk, panel = _outputs(sch, tiling)
    work = total_work(sch, sch.get_sblock(PRODUCT))
    alone = tiling.parts > 1 or shares_parts(extent(sch, chunk), machine)
    if tiling.parts > 1:
        part, panel = sch.split(panel, [tiling.parts, None])
        chunk = sch.fuse(chunk, part)
    parallelise(sch, [chunk if alone else panel], work, machine.min_parallel_macs)
    product, tap = _products(sch, panel, tiling.columns, machine)
    transform, step = _transformed_input(sch, chunk)
    if not alone:
        parallelise(sch, [step], work, machine.min_parallel_macs)
    if skips:
        _skip_steps(sch, transform, step, skips)
        _skip_products(sch, product, tap, skips)


def _outputs(sch: s_tir.Schedule, tiling: Tiling) -> tuple[object, object]:
    """Transform a tile at a time back and finish it; return the loops over chunks and panels."""
    half, winograd = sch.get_sblock("half"), sch.get_sblock(ANCHOR)
    blocks = tile_blocks(sch, sch.get_sblock(PRODUCT))
    store = attach_epilogue(sch, ANCHOR)
    batch, block, *planes, y, x, lane = sch.get_loops(store)
    panel, inner_block = sch.split(block, [None, blocks])
    chunk_y, row, inner_y = sch.split(y, [None, tiling.rows, tiling.m])
    chunk_x, column, inner_x = sch.split(x, [None, tiling.across, tiling.m])
    around = [batch, *planes, chunk_y, chunk_x]
    sch.reorder(*around, panel, inner_block, row, column, inner_y, inner_x, lane)
    chunk = sch.fuse(*around)
    sch.compute_at(winograd, column, preserve_unit_loops=True)
    sch.compute_at(half, column, preserve_unit_loops=True)
    sch.set_scope(half, 0, "local")
    outside = len([chunk, panel, inner_block, row, column])
    for stage in (half, winograd, store):
        vectorize_unroll(sch, sch.get_loops(stage)[outside:])
    return chunk, panel


def _products(
    sch: s_tir.Schedule, panel: object, columns: int, machine: Machine
) -> tuple[object, object]:
    """Multiply: one matrix product after the other, a register tile at a time.

    Returns the block and its innermost loop over taps, or over channels where there are none.
    """
    product = sch.get_sblock(PRODUCT)
    reductions = sum(int(axis.iter_type) != 0 for axis in sch.get(product).iter_vars)
    sch.compute_at(product, panel, preserve_unit_loops=True)
    tiles = extent(sch, sch.get_loops(product)[-reductions - 2])
    run = products_of(sch, product, columns, tiles // columns).run(machine)
    if run:
        return product, _in_runs(sch, reductions, columns, run, machine)
    return product, _in_registers(sch, reductions, columns, machine)


def _in_registers(sch: s_tir.Schedule, reductions: int, columns: int, machine: Machine) -> object:
    """Sum a register tile's products of all channels; return the loop that `_products` does."""
    product = sch.get_sblock(PRODUCT)
    result = sch.cache_write(product, 0, "local")
    i, j, block, tile, lane = sch.get_loops(result)[-5:]
    register_tile, column = sch.split(tile, [None, columns])
    sch.reorder(i, j, register_tile, column, block, lane)
    sch.annotate(register_tile, PASSES, extent(sch, register_tile))
    sch.compute_at(product, register_tile, preserve_unit_loops=True)
    vectorize_unroll(sch, [column, block, lane])
    loops = sch.get_loops(product)
    *taps, channel = loops[-reductions:]
    block, column, lane = loops[-reductions - 3 : -reductions]
    inner = [column, block, lane]
    sch.reorder(*taps, channel, *inner)
    accumulate(sch, product, taps=taps, channel=channel, tile=inner, machine=machine, streams=True)
    return [channel, *taps][-1]


def _in_runs(
    sch: s_tir.Schedule, reductions: int, columns: int, run: int, machine: Machine
) -> object:
    """Let all register tiles take a tap's `run` of channels at a time, and the sums wait in memory.

    Returns the loop that `_products` does.
    """
    product = sch.get_sblock(PRODUCT)
    loops = sch.get_loops(product)
    block, tile, lane = loops[-reductions - 3 : -reductions]
    *taps, channel = loops[-reductions:]
    register_tile, column = sch.split(tile, [None, columns])
    around, channel = sch.split(channel, [None, run])
    inner = [column, block, lane]
    sch.reorder(*taps, around, register_tile, channel, *inner)
    start = [*taps, around][0]
    accumulate(sch, product, taps=[], channel=channel, tile=inner, machine=machine, start=start)
    return [around, *taps][-1]


def _transformed_input(sch: s_tir.Schedule, chunk: object) -> tuple[object, object]:
    """Transform the chunk's input, a block of channels at a time.

    Returns the last block and the loop over blocks of channels.
    """
    line, vertical = sch.get_sblock("line"), sch.get_sblock("vertical")
    horizontal = sch.get_sblock("winograd_input")
    sch.compute_at(horizontal, chunk, preserve_unit_loops=True)
    i, j, register_tile, step, tile, lane = sch.get_loops(horizontal)[-6:]
    sch.reorder(step, register_tile, tile, i, j, lane)
    sch.compute_at(vertical, step, preserve_unit_loops=True)
    _from_registers(sch, horizontal, i)
    vectorize_unroll(sch, [j, lane])
    *_, column, i, lane = sch.get_loops(vertical)
    sch.compute_at(line, column, preserve_unit_loops=True)
    sch.set_scope(line, 0, "local")
    vectorize_unroll(sch, sch.get_loops(line)[-2:])
    vectorize_unroll(sch, [i, lane])
    return horizontal, step


def _from_registers(sch: s_tir.Schedule, block: object, loop: object) -> None:
    """Load all that an iteration of `loop` reads before it computes."""
    loads = sch.cache_read(block, 0, "local")
    sch.compute_at(loads, loop, preserve_unit_loops=True)
    outside = len(sch.get_loops(block)) - 2
    vectorize_unroll(sch, sch.get_loops(loads)[outside:])


def _skip_steps(
    sch: s_tir.Schedule, transform: object, step: object, skips: Sequence[Skip]
) -> None:
    """Do not transform for taps before the last two axes that read padding alone."""
    rank, met = len(skips), [skip.met for skip in skips]
    shape = (*met, extent(sch, step) // prod(met))

    # The axes are (N, *lead, chunk, side, side, panel, step, column, lane).
    def where(places: list[Any]) -> Iterable[tuple[Any, Any]]:
        outputs, taps = places[1 : 1 + rank], unflatten(places[5 + rank], shape)[:-1]
        return zip(outputs, met_taps(skips, outputs, taps), strict=True)

    skip_taps(sch, transform, step, skips, where)


def _skip_products(
    sch: s_tir.Schedule, product: object, tap: object, skips: Sequence[Skip]
) -> None:
    """Do not multiply what was not transformed for."""
    rank = len(skips)

    # The axes are (N, *lead, chunk, side, side, block, tile, lane), taps and channel.
    def where(places: list[Any]) -> Iterable[tuple[Any, Any]]:
        outputs, taps = places[1 : 1 + rank], places[7 + rank : -1]
        return zip(outputs, met_taps(skips, outputs, taps), strict=True)

    skip_taps(sch, product, tap, skips, where)

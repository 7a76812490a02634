"""Matrix product with packed weights: a register tile of rows by vectors of columns.

Rows are taken in chunks that stay in the first-level cache while the panels pass by.
"""

from __future__ import annotations

from math import gcd

from tvm import s_tir

from edgeconv.compiler.schedules.common import attach_epilogue, extent, total_work, vectorize_unroll
from edgeconv.compiler.schedules.cpu.accumulate import TILE, UNROLL, load_vectors
from edgeconv.compiler.schedules.cpu.blocking import Tiles, choose_blocking
from edgeconv.compiler.schedules.cpu.common import parallelise
from edgeconv.compiler.schedules.machine import Machine, largest_divisor, register_tile

ANCHOR = "matmul"


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule the function around its `matmul` block (`compute.matmul.matmul_packed`)."""
    rows = extent(sch, sch.get_loops(sch.get_sblock("crop"))[-2])
    store = attach_epilogue(sch, ANCHOR)
    product = sch.get_sblock(ANCHOR)
    work = total_work(sch, product)
    *batch, row, panel, lane, k = sch.get_loops(product)
    vectors, lane = sch.split(lane, [None, gcd(extent(sch, lane), machine.lanes)])
    lanes, depth = extent(sch, lane), extent(sch, k)
    tile = register_tile(rows, [extent(sch, vectors)], machine, block=lanes, in_block=lanes)
    tiles = Tiles(
        steps=extent(sch, row) // tile.columns,
        panels=extent(sch, panel),
        depth=depth,
        columns=tile.columns,
        rows=extent(sch, vectors) * lanes,
    )
    blocking = choose_blocking(tiles, depth, machine)
    chunk, step, inner_row = sch.split(row, [None, blocking.steps, tile.columns])
    group, panel = sch.split(panel, [None, blocking.panels])
    steps = largest_divisor(depth, UNROLL)
    outer_k, inner_k = sch.split(k, [None, steps])
    inner = [inner_k, inner_row, vectors, lane]
    sch.reorder(*batch, chunk, group, panel, step, outer_k, *inner)
    tile_loop = parallelise(
        sch, [*batch, chunk, group, panel, step], work, machine.min_parallel_macs
    )
    sch.reverse_compute_at(store, tile_loop, preserve_unit_loops=True)
    _store_vectors(sch, store, machine)
    if machine.is_aarch64 and tile.columns == 1 and steps == machine.lanes < depth:
        sch.annotate(outer_k, TILE, True)
    # Rows that are read twice at the end have no constant region.
    elif machine.lane_fma and steps == machine.lanes and rows % tile.columns == 0:
        load_vectors(sch, product, outer_k, len(inner) - 1)
    vectorize_unroll(sch, inner)
    init = sch.decompose_reduction(product, outer_k)
    vectorize_unroll(sch, sch.get_loops(init)[1:])


def _store_vectors(sch: s_tir.Schedule, store: object, machine: Machine) -> None:
    """Write whole vectors, where they end with the columns."""
    row, column = sch.get_loops(store)[-2:]
    columns = int(sch.get(store).writes[0].source.shape[-1])
    lanes = gcd(extent(sch, column), gcd(columns, machine.lanes))
    vectors, lane = sch.split(column, [None, lanes])
    vectorize_unroll(sch, [row, vectors, lane])

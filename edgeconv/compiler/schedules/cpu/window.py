"""Depthwise convolution and pooling: a sliding window over each channel by itself.

These move little more than their input, so padding happens inside the kernel. Thin borders of
images cost nothing: the loops are cut where windows begin and cease to be inside. Otherwise a band
of rows at a time is padded, in memory that stays in the cache.
"""

from __future__ import annotations

from math import prod

from tvm import s_tir

from edgeconv.compiler.schedules.common import (
    attach_epilogue,
    block_names,
    extent,
    total_work,
    vectorize_unroll,
)
from edgeconv.compiler.schedules.cpu.common import parallelise
from edgeconv.compiler.schedules.cpu.overlap import overlap_last
from edgeconv.compiler.schedules.machine import (
    FLOAT_BYTES,
    Machine,
    core_bands,
    largest_divisor,
)

ANCHOR = "window"
MAX_COLUMNS = 8
# Two rows of that many columns, their weights and a row of inputs fit 32 registers.
MAX_PAIRED_COLUMNS = 7
MAX_PAIRED_TAPS = 9
MAX_UNROLLED_TAPS = 25
# Code is made for every border, so there may not be many, and they may not be wide.
MAX_BORDER = 3
MIN_PARALLEL_BLOCKS = 8


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule the function around its `window` block (`compute.conv` and `compute.pool`)."""
    pads = "pad" in block_names(sch)
    window = sch.get_sblock(ANCHOR)
    spatial = [axis for axis in sch.get(window).iter_vars if int(axis.iter_type) == 0]
    store = attach_epilogue(sch, ANCHOR)
    work = total_work(sch, window)
    loops = sch.get_loops(window)
    batch, outer, *axes = loops[: len(spatial)]
    taps = loops[len(spatial) :]
    lane = axes.pop()
    if not axes or not _is_lane(sch, lane, machine):
        axes.append(lane)
        lane = None
    *rows, column = axes
    cut = pads and lane is not None and _borders_are_thin(sch, loops, rows, taps)
    paired = cut and machine.is_aarch64 and rows_share_inputs(sch, rows, taps)
    if cut:
        sch.compute_inline(sch.get_sblock("pad"))
    shared = 1 if lane is None else _core_bands(sch, rows, machine)
    band, rows = _in_bands(sch, rows, column, shared, machine, low=not cut)
    width = extent(sch, column)
    most = MAX_PAIRED_COLUMNS if paired else MAX_COLUMNS
    columns = even_part(width, most) if lane else _vectors(width, machine)
    outer_column, inner_column = sch.split(column, [None, columns])
    inner = [inner_column] if lane is None else [inner_column, lane]
    pair = []
    if paired:
        row, second_row = sch.split(rows[0], [None, 2])
        rows, pair = [row], [second_row]
    # A row of input is read for the last row of outputs that needs it, and then for the next.
    order = [taps[0], *pair, *taps[1:]]
    tasks = [batch, *band, outer] if shared > 1 else [batch, outer, *band]
    sch.reorder(*tasks, *rows, outer_column, *order, *inner)
    parallel = parallelise(sch, tasks, work, machine.min_parallel_macs)
    if pads and not cut:
        sch.compute_at(sch.get_sblock("pad"), parallel, preserve_unit_loops=True)
        _vectorize_pad(sch, machine)
    sch.reverse_compute_at(store, outer_column, preserve_unit_loops=True)
    if prod(extent(sch, tap) for tap in taps) <= MAX_UNROLLED_TAPS:
        for tap in taps:
            sch.unroll(tap)
    vectorize_unroll(sch, [*pair, *inner])
    uneven = [outer_column] if lane and width % columns else []
    for loop in [*rows, outer_column] if cut else uneven:
        sch.annotate(loop, "pragma_loop_partition_hint", True)
    init = sch.decompose_reduction(window, taps[0])
    depth = len(sch.get_loops(window)) - len(order) - len(inner)
    vectorize_unroll(sch, sch.get_loops(init)[depth:])
    vectorize_unroll(sch, sch.get_loops(store)[depth:])
    if lane is None and width % columns:
        overlap_last(sch, outer_column, width - columns)


def _vectors(width: int, machine: Machine) -> int:
    """Return how many columns of a row to compute together, where they are the lanes."""
    whole = largest_divisor(width, MAX_COLUMNS)
    return MAX_COLUMNS if whole % machine.lanes and width > MAX_COLUMNS else whole


def even_part(width: int, most: int) -> int:
    """Return how many columns a tile has, where as few tiles as possible share `width` evenly."""
    return -(-width // -(-width // most))


def rows_share_inputs(sch: s_tir.Schedule, rows: list[object], taps: list[object]) -> bool:
    """Whether to compute two rows of an image together: with stride 1 most inputs are the same.

    Registers hold their sums and all weights where the taps are few.
    """
    if len(rows) != 1 or len(taps) != 2 or extent(sch, rows[0]) % 2:
        return False
    *_, padded_rows, _, _ = sch.get(sch.get_sblock("pad")).writes[0].source.shape
    few = prod(extent(sch, tap) for tap in taps) <= MAX_PAIRED_TAPS
    return few and int(padded_rows) == extent(sch, rows[0]) + extent(sch, taps[0]) - 1


def _is_lane(sch: s_tir.Schedule, loop: object, machine: Machine) -> bool:
    return extent(sch, loop) in (4, 8, 16) and extent(sch, loop) <= machine.lanes


def _borders_are_thin(
    sch: s_tir.Schedule, loops: list[object], rows: list[object], taps: list[object]
) -> bool:
    """Whether to cut the loops over the image at its borders."""
    pad = sch.get(sch.get_sblock("pad"))
    source, padded = pad.reads[0].source.shape, pad.writes[0].source.shape
    border = max(int(after) - int(before) for before, after in zip(source, padded, strict=True))
    return (
        len(rows) <= 1
        and border <= 2 * MAX_BORDER
        and prod(extent(sch, tap) for tap in taps) <= MAX_UNROLLED_TAPS
        and extent(sch, loops[0]) * extent(sch, loops[1]) >= MIN_PARALLEL_BLOCKS
    )


def _in_bands(
    sch: s_tir.Schedule,
    rows: list[object],
    column: object,
    shared: int,
    machine: Machine,
    *,
    low: bool,
) -> tuple[list[object], list[object]]:
    """Cut rows into bands, as many as cores share or more: `low` ones keep their input near.

    Returns the loop over bands, if there is one, and the loops over a band's rows.
    """
    if not rows or (shared == 1 and not low):
        return [], rows
    height = extent(sch, rows[0]) // shared
    if low:
        height = largest_divisor(height, _band_rows(sch, rows, column, machine))
    band, row = sch.split(rows[0], [None, height])
    return [band], [row, *rows[1:]]


def _core_bands(sch: s_tir.Schedule, rows: list[object], machine: Machine) -> int:
    """Return how many bands of rows the cores share; 1 where they share blocks of channels."""
    if len(rows) != 1:
        return 1
    *_, height, width, lanes = sch.get(sch.get_sblock(ANCHOR)).reads[0].source.shape
    block_bytes = int(height) * int(width) * int(lanes) * FLOAT_BYTES
    return core_bands(extent(sch, rows[0]), block_bytes, machine)


def _band_rows(sch: s_tir.Schedule, rows: list[object], column: object, machine: Machine) -> int:
    """Return how many rows of output keep a band of input within half the first-level cache."""
    row = prod(extent(sch, loop) for loop in [*rows[1:], column]) * machine.lanes * FLOAT_BYTES
    return max(1, machine.l1_bytes // 2 // row)


def _vectorize_pad(sch: s_tir.Schedule, machine: Machine) -> None:
    """Pad in vectors: of a block's lanes, or of a row, but where that begins and ends."""
    last = sch.get_loops(sch.get_sblock("pad"))[-1]
    if not _is_lane(sch, last, machine):
        run, last = sch.split(last, [None, machine.lanes])
        sch.annotate(run, "pragma_loop_partition_hint", True)
    sch.vectorize(last)

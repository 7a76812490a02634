"""A convolution, then a window over each of its channels, in one pass over bands of rows.

The window is that of a depthwise convolution or of pooling. A task computes what a band of its rows
needs of the convolution's result, some channel blocks of it at a time, which then never leave the
second-level cache. Neighbouring bands compute the rows that both need.

On AArch64, where caches are small and misses cost most, a task takes all rows: each is computed
right before the output that reads it, in place of one that nothing reads any more (`rolling.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from tvm import s_tir

from edgeconv.compiler.schedules.common import (
    attach_epilogue,
    block_names,
    extent,
    total_work,
    vectorize_unroll,
)
from edgeconv.compiler.schedules.cpu import conv, pointwise, window
from edgeconv.compiler.schedules.cpu.accumulate import accumulate, in_block, tile_blocks
from edgeconv.compiler.schedules.cpu.common import parallelise
from edgeconv.compiler.schedules.cpu.rolling import roll_rows
from edgeconv.compiler.schedules.machine import (
    FLOAT_BYTES,
    Machine,
    RegisterTile,
    register_tile,
    round_up,
)

WINDOW = window.ANCHOR
# Blocks of the convolutions that can come before it.
CONVOLUTIONS = (pointwise.ANCHOR, conv.ANCHOR)
# Rows that two neighbouring bands compute, mostly: windows have three.
BETWEEN_BANDS = 2


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule the function around its convolution, which comes first, and its `window` block."""
    names = block_names(sch)
    before = names[: names.index("pad" if "pad" in names else WINDOW)]
    for name in before[1:-1]:
        sch.compute_inline(sch.get_sblock(name))
    product, image = sch.get_sblock(before[0]), sch.get_sblock(before[-1])
    reducing = sch.get_sblock(WINDOW)
    work = total_work(sch, product) + total_work(sch, reducing)
    blocks = tile_blocks(sch, product)
    sch.set_scope(product, 0, "local")
    task, rows = _window(sch, reducing, blocks, work, machine)
    around = rows if machine.is_aarch64 else task
    sch.compute_at(image, around, preserve_unit_loops=True)
    row = _products(sch, product, image, blocks, machine)
    if machine.is_aarch64:
        roll_rows(sch, image, row, around)


def row_tile(
    width: int, blocks: int, machine: Machine, *, lanes: int, in_block: int
) -> RegisterTile:
    """Return the register tile of the convolution, some of which make up a row of `width`."""
    return register_tile(width, [blocks], machine, block=lanes, in_block=in_block, whole=True)


def band_rows(rows: int, image: Sequence[int], blocks: int, machine: Machine) -> int:
    """Return how many of the output's `rows` a band has.

    What it reads of the `image` (N, blocks, rows, columns, lanes), so many channel `blocks` at a
    time, fills a quarter of the second-level cache at most, and cores share bands evenly. Where a
    few rows are there at a time, it has them all.
    """
    if machine.is_aarch64:
        return rows
    most = machine.l2_bytes // 4 * rows // (prod(image[2:]) * blocks * FLOAT_BYTES)
    panels = image[0] * -(-image[1] // blocks)

    def cost(height: int) -> float:
        tasks = rows // height * panels
        return (1 + BETWEEN_BANDS / height) * round_up(tasks, machine.cores) / tasks

    heights = (height for height in range(max(1, min(rows, most)), 0, -1) if rows % height == 0)
    return min(heights, key=cost)


def _window(
    sch: s_tir.Schedule, reducing: object, blocks: int, work: int, machine: Machine
) -> tuple[object, object]:
    """Schedule the window's part; return the loops over tasks and over rows."""
    store = attach_epilogue(sch, WINDOW)
    batch, outer, row, column, lane, *taps = sch.get_loops(reducing)
    panel, block = sch.split(outer, [None, blocks])
    image = [int(size) for size in sch.get(reducing).reads[0].source.shape]
    height = band_rows(extent(sch, row), image, blocks, machine)
    pads = "pad" in block_names(sch)
    paired = machine.is_aarch64 and pads and window.rows_share_inputs(sch, [row], taps)
    if pads:
        sch.compute_inline(sch.get_sblock("pad"))
    band, row = sch.split(row, [None, height])
    pair = []
    if paired and height % 2 == 0:
        row, second = sch.split(row, [None, 2])
        pair = [second]
    most = window.MAX_PAIRED_COLUMNS if pair else window.MAX_COLUMNS
    columns = window.even_part(extent(sch, column), most)
    step, column = sch.split(column, [None, columns])
    order = [taps[0], *pair, *taps[1:]]
    inner = [column, lane]
    around = [row, block] if machine.is_aarch64 else [block, row]
    tasks = [batch, band, panel] if machine.far_cores else [batch, panel, band]
    sch.reorder(*tasks, *around, step, *order, *inner)
    task = parallelise(sch, tasks, work, machine.min_parallel_macs)
    sch.reverse_compute_at(store, step, preserve_unit_loops=True)
    for tap in taps:
        sch.unroll(tap)
    vectorize_unroll(sch, [*pair, *inner])
    for loop in (row, step):
        sch.annotate(loop, "pragma_loop_partition_hint", True)
    init = sch.decompose_reduction(reducing, taps[0])
    depth = len(sch.get_loops(reducing)) - len(order) - len(inner)
    for part in (init, store):
        vectorize_unroll(sch, sch.get_loops(part)[depth:])
    return task, row


def _products(
    sch: s_tir.Schedule, product: object, image: object, blocks: int, machine: Machine
) -> object:
    """Compute the convolution a register tile at a time, within rows; return their loop."""
    *_, block, row, column, lane = sch.get_loops(image)
    width, lanes, read = extent(sch, column), extent(sch, lane), in_block(sch, product)
    tile = row_tile(width, blocks, machine, lanes=lanes, in_block=read)
    step, column = sch.split(column, [None, tile.columns])
    sch.reorder(row, step, block, column, lane)
    sch.compute_at(product, step, preserve_unit_loops=True)
    vectorize_unroll(sch, [block, column, lane])
    axes = sch.get(product).iter_vars
    spatial = sum(int(axis.iter_type) == 0 for axis in axes)
    inside = sch.get_loops(product)[-len(axes) :]
    _, block, *rows, column, lane = inside[:spatial]
    taps = inside[spatial:]
    channel = taps.pop(0 if read == 1 else -1)
    sch.reorder(*rows, *taps, channel, column, block, lane)
    accumulate(
        sch, product, taps=taps, channel=channel, tile=[column, block, lane], machine=machine
    )
    return row

"""What convolutions share: a register tile of accumulators, fed step by step of the reduction."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import s_tir

from edgeconv.compiler.schedules.common import extent, vectorize_unroll
from edgeconv.compiler.schedules.machine import Machine, largest_divisor

# Reduction steps unrolled in the inner loop, and how many such groups where inputs are vectors.
UNROLL = 4
VECTORS = 2
# A loop with this annotation reads a buffer of that name front to back, from memory.
STREAM = "stream"
# A loop around such loops: so many of its iterations in a row read the same weights.
PASSES = "passes"
# A loop with this annotation runs over the blocks of input channels that a tile takes; on AArch64
# `codegen/neon.py` writes it in assembly.
TILE = "tile"


def accumulate(
    sch: s_tir.Schedule,
    block: object,
    *,
    taps: Sequence[object],
    channel: object,
    tile: Sequence[object],
    machine: Machine,
    streams: bool = False,
    start: object | None = None,
) -> None:
    """Order and unroll the loops inside a tile: taps, channels, then the accumulators.

    Args:
        sch: the schedule; `taps`, `channel` and `tile` are the innermost loops of `block`.
        block: the reduction, whose operands are (data, weight).
        taps: loops over the kernel.
        channel: loop over the input channels.
        tile: loops over rows where it has several, columns, blocks and lanes.
        machine: for which core.
        streams: whether to ask for weights ahead, which are read front to back.
        start: loop before which the sums start, where that is outside of the tile's own loops.
    """
    lanes = in_block(sch, block)
    steps = largest_divisor(extent(sch, channel), UNROLL)
    vectors = machine.lane_fma and steps == lanes == machine.lanes
    if machine.lane_fma and taps and lanes == 1 and extent(sch, taps[-1]) >= steps:
        # Windows of neighbouring columns overlap: what one tap loads, another takes again. On x86
        # each input would wait in a register, which an accumulator then leaves.
        *around, outer, inner = [channel, *taps]
        assembled = True
    elif taps and vectors and machine.is_aarch64 and extent(sch, channel) == lanes:
        # There is one block of channels: the loop runs over the taps of a row.
        *around, outer = taps
        inner = channel
        assembled = True
    else:
        around = list(taps)
        outer, inner = sch.split(channel, [None, steps])
        assembled = vectors
    unrolled = [inner, *tile]
    if assembled and machine.is_aarch64 and extent(sch, outer) > 1:
        sch.reorder(*around, outer, *unrolled)
        sch.annotate(outer, TILE, True)
    elif vectors:
        outer, vector = sch.split(outer, [None, largest_divisor(extent(sch, outer), VECTORS)])
        sch.reorder(*around, outer, vector, *unrolled)
        load_vectors(sch, block, vector, len(tile))
        unrolled = [vector, *unrolled]
    else:
        sch.reorder(*around, outer, *unrolled)
    vectorize_unroll(sch, unrolled)
    if streams:
        sch.annotate(outer, STREAM, str(sch.get(block).reads[1].source.name))
    init = sch.decompose_reduction(block, start or [*around, outer][0])
    vectorize_unroll(sch, sch.get_loops(init)[-len(tile) :])


def tile_blocks(sch: s_tir.Schedule, block: object) -> int:
    """Return how many channel blocks the packed weights hold side by side."""
    weight = sch.get(block).reads[1].source
    return int(weight.shape[-2])


def in_block(sch: s_tir.Schedule, block: object) -> int:
    """Return the channels per block of the input."""
    return int(sch.get(block).reads[0].source.shape[-1])


def load_vectors(sch: s_tir.Schedule, block: object, loop: object, tile_axes: int) -> None:
    """Load each column's channels as one vector, whose lanes the FMAs pick."""
    vectors = sch.cache_read(block, 0, "local")
    sch.compute_at(vectors, loop, preserve_unit_loops=True)
    around = len(sch.get_loops(block)) - tile_axes - 1
    vectorize_unroll(sch, sch.get_loops(vectors)[around:])

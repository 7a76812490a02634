"""What convolutions share: sums of a tile in registers, fed from a row of inputs and weights."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import Any

from tvm import s_tir, tirx
from tvm.sym.analyzer import Analyzer

from edgeconv.compiler.schedules.common import block_names, extent, replaced, vectorize_unroll
from edgeconv.compiler.schedules.gpu.machine import GpuMachine
from edgeconv.compiler.schedules.machine import largest_divisor

# Input columns that a work-item keeps, at most; and how many steps are written out.
MAX_ROW = 16
MAX_UNROLLED = 256


def accumulate(
    sch: s_tir.Schedule,
    block: object,
    *,
    taps: Sequence[object],
    channel: object,
    tile: Sequence[object],
    row: int,
    machine: GpuMachine,
    places: Sequence[str] = (),
) -> None:
    """Order and unroll the loops of a work-item: taps, channels, then the sums.

    Args:
        sch: the schedule; `taps`, `channel` and `tile` are the innermost loops of `block`.
        block: the reduction, whose operands are (data, weight).
        taps: loops over the kernel, perhaps none.
        channel: loop over the input channels.
        tile: loops over columns, blocks and lanes.
        row: input columns that the last tap and the columns meet together.
        machine: for which GPU.
        places: stages that say where the data is found, the last first; computed for each tap.
    """
    data = sch.get(block).reads[0].source
    lanes = int(data.shape[-1])
    channels = extent(sch, channel)
    # What is sampled for a step comes from one block.
    step = gcd(channels, lanes) if places else largest_divisor(channels, machine.lanes)
    outer, inner = sch.split(channel, [None, step])
    work = step * extent(sch, tile[0]) * extent(sch, tile[1])
    # Columns overlap: what one tap meets, the next one meets again.
    shares = bool(taps) and row <= MAX_ROW and work * extent(sch, taps[-1]) <= MAX_UNROLLED
    *around, last = taps if shares else [*taps, None]
    unrolled = [inner, *tile] if last is None else [last, inner, *tile]
    sch.reorder(*around, outer, *unrolled)
    if lanes in (1, step) or places:
        load_row(sch, block, outer)
    else:
        inline_padding(sch)
    for name in places:
        place_at(sch, name, block, around[-1])
    weights = sch.cache_read(block, 1, "local")
    sch.compute_at(weights, inner, preserve_unit_loops=True)
    depth = len(sch.get_loops(block)) - len(tile)
    vectorize_unroll(sch, sch.get_loops(weights)[depth:])
    vectorize_unroll(sch, unrolled)
    init = sch.decompose_reduction(block, [*around, outer][0])
    vectorize_unroll(sch, sch.get_loops(init)[-len(tile) :])


def place_at(sch: s_tir.Schedule, name: str, block: object, loop: object) -> None:
    """Let a stage say, in each iteration of `loop`, where `block` finds its data."""
    stage = sch.get_sblock(name)
    sch.set_scope(stage, 0, "local")
    sch.compute_at(stage, loop, preserve_unit_loops=True)
    for inner in sch.get_loops(stage)[_depth(sch, block, loop) :]:
        sch.unroll(inner)


def load_row(sch: s_tir.Schedule, block: object, loop: object) -> None:
    """Load what an iteration of `loop` reads of the data before it computes; pad it there."""
    made = sch.get_producers(block)
    if made:
        (inputs,) = made
        sch.set_scope(inputs, 0, "local")
    else:
        # Other phases of a transposed convolution may read the same tensor.
        inputs = sch.cache_read(block, 0, "local", consumer_blocks=[block])
    around = _depth(sch, block, loop)
    sch.compute_at(inputs, loop, preserve_unit_loops=True)
    vectorize_unroll(sch, sch.get_loops(inputs)[around:])


def _depth(sch: s_tir.Schedule, block: object, loop: object) -> int:
    """Return how many loops of `block` there are down to `loop`."""
    var = sch.get(loop).loop_var
    loops = sch.get_loops(block)
    return next(i for i, other in enumerate(loops, 1) if sch.get(other).loop_var.same_as(var))


def inline_padding(sch: s_tir.Schedule) -> None:
    """Let whatever reads a padded tensor see for itself where the image ends."""
    for name in block_names(sch):
        if name.startswith(("pad", "cut")):
            sch.compute_inline(sch.get_sblock(name))


def row_reach(sch: s_tir.Schedule, block: object) -> tuple[int, int]:
    """Return the input columns of one output column, and how many more each further one takes.

    Args:
        sch: the schedule, before any loop is split.
        block: a convolution of (N, blocks, *spatial, lanes), the last tap of which runs along rows.
    """
    statement = sch.get(block)
    rank = len(statement.writes[0].source.shape) - 3
    axes = statement.iter_vars
    column, tap = axes[rank + 1], axes[rank + 3 + rank - 1]
    index = statement.reads[0].region[-2].min

    def step(axis: Any) -> int:
        zero, one = (tirx.IntImm(str(axis.var.ty.dtype), n) for n in (0, 1))
        difference = replaced(index, axis.var, one) - replaced(index, axis.var, zero)
        return int(Analyzer().simplify(difference))

    return step(tap) * (int(tap.dom.extent) - 1) + 1, step(column)

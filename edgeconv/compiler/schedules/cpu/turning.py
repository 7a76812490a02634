"""Sums that turn among the lanes of their group, and so meet its channels one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, sym, tirx

from edgeconv.compiler.schedules.common import replaced, with_body


def turn_sums(
    sch: s_tir.Schedule,
    block: Any,
    around: Any,
    tile: Sequence[Any],
    *,
    channels: int,
    period: int,
) -> None:
    """Let every sum stand in the lane of the channel that it takes, in each step of a group's.

    Lane l takes channel (l + step + 1) % channels of its group. So its sum moves on by a lane
    before each step, and by the last one is back in its own. Other primitives cannot follow.

    Args:
        sch: the schedule.
        block: the sum, of `compute.conv.conv_turning`, in a register tile.
        around: the loop over steps and, in each of them, taps.
        tile: the loops over the tile's columns and lanes.
        channels: of a group.
        period: iterations of `around` in a step.
    """
    loop, (column, lane) = sch.get(around), (sch.get(axis) for axis in tile)
    realize = sch.get(sch.get_loops(block)[-1]).body
    summed = [axis for axis in realize.block.iter_vars if axis.iter_type == tirx.IterVar.CommReduce]
    counter = summed[0].var
    sums = realize.block.body.buffer
    analyzer = sym.Analyzer()

    def standing(load: Any) -> Any:
        """Return the load in the last step, in which each lane takes its own channel."""
        if load.source.same_as(sums):
            return load
        indices = [
            index
            if index.same_as(counter)
            else analyzer.simplify(replaced(index, counter, tirx.IntImm("int32", channels - 1)))
            for index in load.indices
        ]
        return tirx.BufferLoad(load.source, indices)

    def updated(old: Any) -> Any:
        if old.name_hint != realize.block.name_hint:
            return old
        body = tvm_ffi.structural_map(old.body, (tvm.ir.TensorLoad, standing))
        return s_tir.SBlock(old.iter_vars, old.reads, old.writes, old.name_hint, body)

    turn = _turn(realize, [column, lane], channels)
    if period > 1:
        turn = tirx.IfThenElse(loop.loop_var % period == 0, turn, None)
    body = tirx.SeqStmt([turn, tvm_ffi.structural_map(loop.body, (s_tir.SBlock, updated))])
    sch.state.replace(sch.get_sref(around), with_body(loop, body))


def _turn(realize: Any, tile: Sequence[Any], channels: int) -> Any:
    """Return loops that move each sum of a tile on by a lane, in a cycle of `channels` of them."""
    sums, indices = realize.block.body.buffer, list(realize.block.body.indices)
    for axis, value in zip(realize.block.iter_vars, realize.iter_values, strict=True):
        indices = [replaced(index, axis.var, value) for index in indices]
    fresh = [tirx.Var(f"{loop.loop_var.name}_turn", "int32") for loop in tile]
    for loop, var in zip(tile, fresh, strict=True):
        indices = [replaced(index, loop.loop_var, var) for index in indices]
    *around, lane = indices
    before = lane // channels * channels + (lane + channels - 1) % channels
    nest = tirx.BufferStore(sums, tirx.BufferLoad(sums, [*around, before]), indices)
    for loop, var in reversed(list(zip(tile, fresh, strict=True))):
        nest = tirx.For(var, loop.min, loop.extent, loop.kind, nest)
    return nest

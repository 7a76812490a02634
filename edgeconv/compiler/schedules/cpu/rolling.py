"""A ring of an image's rows: those that a loop's next iteration reads as well are computed once.

`Schedule.rolling_buffer` does not take loops that are part of parallel ones, and lets every block
test which rows are new. Here the loop over rows begins with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx

from edgeconv.compiler.schedules.common import loop_bounds, replaced, uses
from edgeconv.compiler.schedules.frames import moved

_ZERO = tirx.IntImm("int32", 0)


def roll_rows(sch: s_tir.Schedule, image: Any, row: Any, around: Any) -> None:
    """Let a loop over rows compute only those that the iteration before has not.

    There is memory for as many rows as an iteration reads. Rows beyond the image are left out.
    Other primitives cannot follow.

    Args:
        sch: the schedule.
        image: a block that writes (N, blocks, rows, columns, lanes).
        row: the loop over rows around it and around what it reads.
        around: the loop around that one, and around all that reads the image, from its first row
            to its last; each iteration reads as many rows as the one before, a stride further on.
    """
    turn, loop, block = sch.get(around).loop_var, sch.get(row), sch.get(image)
    buffer, height, count = block.writes[0].source, block.iter_vars[-3].dom.extent, loop.extent
    analyzer = loop_bounds(sch)
    place = sch.get(sch.get_loops(image)[-1]).body.iter_values[-3]
    first = replaced(place, loop.loop_var, _ZERO)
    # A number: no other loop moves the rows.
    top = int(analyzer.simplify(replaced(first, turn, _ZERO)))
    stride = analyzer.simplify(replaced(first, turn, _ZERO + 1) - top)
    begin = tirx.max(tirx.min(turn, 1) * (count - stride), -first)
    end = tirx.min(count, height - first)
    # Within those bounds the row is inside; where this is not seen, sums are not in registers.
    inside = tirx.min(tirx.max(place, 0), height - 1) - first

    def bounded(value: Any) -> Any:
        if not uses(value, loop.loop_var):
            return value
        return analyzer.simplify(replaced(value, loop.loop_var, inside))

    def in_ring(indices: Sequence[Any]) -> list[Any]:
        return [*indices[:-3], indices[-3] % count, *indices[-2:]]

    new: dict[Any, Any] = {}

    def realized(realize: Any) -> Any:
        old, values = realize.block, [bounded(value) for value in realize.iter_values]
        if old.same_as(block):
            new[old] = _in_turn(old, count)
            values.append(place)
        elif any(read.source.same_as(buffer) for read in old.reads):
            new[old] = moved(old, buffer, buffer, in_ring)
        return s_tir.SBlockRealize(values, bounded(realize.predicate), new.get(old, old))

    def shortened(other: Any) -> Any:
        if not other.loop_var.same_as(loop.loop_var):
            return other
        return tirx.For(loop.loop_var, begin, end - begin, loop.kind, other.body)

    changed = tvm_ffi.structural_map(
        sch.get(around), [(s_tir.SBlockRealize, realized), (tirx.For, shortened)]
    )
    sch.state.replace(sch.get_sref(around), changed, new)


def _in_turn(block: Any, count: Any) -> Any:
    """Return the block that computes an image, with its rows in a ring of `count`.

    The row once more, as an axis that is not parallel, makes the ring one for all iterations. Were
    the row to depend on a parallel loop, there would be one ring for all of that loop's, too.
    """
    axis = block.iter_vars[-3]
    row = tirx.Var("v_turn", "int32")
    span = tvm.ir.Range.from_min_extent(-axis.dom.extent, 3 * axis.dom.extent)

    def placed(indices: Sequence[Any]) -> list[Any]:
        return [*indices[:-3], row % count, *indices[-2:]]

    buffer = block.writes[0].source
    inner = moved(block, buffer, buffer, placed)
    axes = [*block.iter_vars, tirx.IterVar(span, row, tirx.IterVar.Opaque)]
    return s_tir.SBlock(axes, inner.reads, inner.writes, inner.name_hint, inner.body)

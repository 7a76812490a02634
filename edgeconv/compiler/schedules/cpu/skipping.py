"""Leaving out taps that read nothing but padding: a condition around the loop over channels."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import s_tir, tirx

from edgeconv.compiler.compute.skipping import Skip
from edgeconv.compiler.schedules.common import replaced, with_body


def skip_taps(sch: s_tir.Schedule, block: object, tap: object, skips: Sequence[Skip]) -> None:
    """Let loop `tap`, the last over the kernel, pass over taps that a tile does not meet.

    Nothing can be scheduled inside of it afterwards.

    Args:
        sch: the schedule.
        block: the reduction, over (N, block, *spatial, lane) and then the taps.
        tap: the loop, inside of which are channels and the tile.
        skips: the spatial axes.
    """
    loops = [sch.get(loop) for loop in sch.get_loops(block)]
    places = list(loops[-1].body.iter_values)
    around = sch.get(tap)
    inside = loops[[loop.loop_var.same_as(around.loop_var) for loop in loops].index(True) + 1 :]
    conditions = []
    for axis, skip in enumerate(skips):
        output, step = places[2 + axis], places[3 + len(skips) + axis]
        for loop in inside:
            output = replaced(output, loop.loop_var, loop.min)
        first, last = skip.span(output, step)
        conditions += [last >= 0, first < skip.extent]
    body = tirx.IfThenElse(tirx.all(*conditions), around.body, None)
    sch.state.replace(sch.get_sref(tap), with_body(around, body))

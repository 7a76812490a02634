"""Leaving out taps that read nothing but padding: a condition around the loop over channels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tvm import s_tir, tirx

from edgeconv.compiler.compute.skipping import Skip
from edgeconv.compiler.schedules.common import replaced, with_body


def skip_taps(
    sch: s_tir.Schedule,
    block: object,
    loop: object,
    skips: Sequence[Skip],
    where: Callable[[list[Any]], Iterable[tuple[Any, Any]]],
) -> None:
    """Let a loop that runs over taps pass over those that meet nothing of the image.

    Nothing can be scheduled inside of it afterwards.

    Args:
        sch: the schedule.
        block: a block that the loop is around.
        loop: inside of which the tap, and the outputs that `skips` hold for, do not change.
        skips: the axes.
        where: returns output and tap along each of them, from the values of the block's axes.
    """
    loops = [sch.get(around) for around in sch.get_loops(block)]
    places = list(loops[-1].body.iter_values)
    around = sch.get(loop)
    inside = loops[[each.loop_var.same_as(around.loop_var) for each in loops].index(True) + 1 :]
    conditions = []
    for skip, (start, tap) in zip(skips, where(places), strict=True):
        output = start
        for inner in inside:
            output = replaced(output, inner.loop_var, inner.min)
        first, last = skip.span(output, tap)
        conditions += [last >= 0, first < skip.extent]
    body = tirx.IfThenElse(tirx.all(*conditions), around.body, None)
    sch.state.replace(sch.get_sref(loop), with_body(around, body))

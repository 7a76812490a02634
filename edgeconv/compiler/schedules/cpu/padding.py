"""Padding as a step of its own: fill the whole result, then copy the inside without conditions."""

from __future__ import annotations

from tvm import s_tir

from edgeconv.compiler.schedules.common import extent, total_work
from edgeconv.compiler.schedules.cpu.common import parallelise
from edgeconv.compiler.schedules.machine import Machine, largest_divisor

ANCHOR = "padding"


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule the function of one `padding` block (`compute.layout.pad_spatial`)."""
    inside = sch.get_sblock(ANCHOR)
    work = total_work(sch, inside)
    try:
        fill = sch.decompose_padding(inside, sch.get_loops(inside)[0])
    except s_tir.schedule.ScheduleError:
        # TVM cannot tell the border of an axis of one element that is padded before it only.
        parallelise(sch, sch.get_loops(inside)[:-1], work)
        return
    # An innermost axis without padding (the lanes of a block) continues the one before it.
    last = [extent(sch, sch.get_loops(block)[-1]) for block in (fill, inside)]
    run_axes = 2 if last[0] == last[1] else 1
    for block in (fill, inside):
        loops = sch.get_loops(block)
        outer, axes = loops[:-run_axes], loops[-run_axes:]
        run = sch.fuse(*axes) if run_axes > 1 else axes[0]
        lanes = largest_divisor(extent(sch, run), machine.lanes)
        _, lane = sch.split(run, [None, lanes])
        if lanes > 1:
            sch.vectorize(lane)
        parallelise(sch, outer, work)

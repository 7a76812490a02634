"""Normalisation of rows: each is reduced, twice, and computed anew while it is near."""

from __future__ import annotations

from math import gcd

from tvm import s_tir

from edgeconv.compiler.compute.normalise import STANDARDISED
from edgeconv.compiler.schedules.common import (
    block_names,
    extent,
    inline_stages,
    is_reduction,
    total_work,
)
from edgeconv.compiler.schedules.cpu import generic
from edgeconv.compiler.schedules.cpu.common import parallelise
from edgeconv.compiler.schedules.cpu.reductions import reduce_in_lanes, reduces_neighbours
from edgeconv.compiler.schedules.machine import Machine

ANCHOR = STANDARDISED


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule a function of (rows, elements)."""
    inline_stages(sch)
    *stages, last = (sch.get_sblock(name) for name in block_names(sch))
    if not all(is_reduction(sch, s) and reduces_neighbours(sch, s, machine) for s in stages):
        generic.schedule_stages(sch, machine)
        return
    row, element = sch.get_loops(last)
    task = parallelise(sch, [row], total_work(sch, last) * (1 + len(stages)))
    for stage in reversed(stages):
        sch.compute_at(stage, task, preserve_unit_loops=True)
        sch.set_scope(stage, 0, "local")
        reduce_in_lanes(sch, stage, task, machine)
    _, lane = sch.split(element, [None, gcd(extent(sch, element), machine.lanes)])
    sch.vectorize(lane)

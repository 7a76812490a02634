"""Softmax and normalisation: every row is reduced, several times, and then computed anew.

A work-group takes a row, where there are not enough rows to give each a work-item: every work-item
reduces its share, and all of them reduce the shares.
"""

from __future__ import annotations

from tvm import s_tir

from edgeconv.compiler.schedules.common import block_names, extent, inline_stages, loops_of
from edgeconv.compiler.schedules.gpu import generic
from edgeconv.compiler.schedules.gpu.common import bind_row, most_items
from edgeconv.compiler.schedules.gpu.machine import GpuMachine
from edgeconv.compiler.schedules.machine import largest_divisor

# Last stages: `compute.softmax.softmax_stages`, `compute.normalise.standardised`.
ANCHORS = ("softmax", "standardised")
LONG_ROW = 64
MIN_ITEMS = 8


def schedule(sch: s_tir.Schedule, machine: GpuMachine) -> None:
    """Schedule a function of (rows, elements) or (rows, elements, columns)."""
    inline_stages(sch)
    *stages, last = block_names(sch)
    if not stages:
        generic.schedule(sch, machine)
        return
    store = sch.get_sblock(last)
    row, element, *columns = sch.get_loops(store)
    sch.reorder(row, *columns, element)
    rows = extent(sch, sch.fuse(row, *columns)) if columns else extent(sch, row)
    length = extent(sch, element)
    items = largest_divisor(length, min(most_items(machine), length // MIN_ITEMS or 1))
    few = rows < machine.busy
    if few and length >= LONG_ROW and items >= MIN_ITEMS:
        _by_group(sch, stages, store, items)
        return
    item = bind_row(sch, [sch.get_loops(store)[0]], machine)
    for name in reversed(stages):
        total = sch.get_sblock(name)
        sch.compute_at(total, item, preserve_unit_loops=True)
        sch.set_scope(total, 0, "local")
    for name in stages:
        generic.serial_reduction(sch, sch.get_sblock(name), item)


def _by_group(sch: s_tir.Schedule, stages: list[str], store: object, items: int) -> None:
    shares = []
    for name in stages:
        _, (reduction,) = loops_of(sch, sch.get_sblock(name))
        shares.append(sch.rfactor(sch.split(reduction, [None, items])[1], 0))
    row, element = sch.get_loops(store)
    _, item = sch.split(element, [None, items])
    sch.bind(row, "blockIdx.x")
    sch.bind(item, "threadIdx.x")
    for name, share in reversed(list(zip(stages, shares, strict=True))):
        total = sch.get_sblock(name)
        sch.compute_at(total, row, preserve_unit_loops=True)
        sch.set_scope(total, 0, "local")
        sch.set_scope(share, 0, "shared")
        passed_on = sch.cache_write(share, 0, "local")
        sch.compute_at(passed_on, row, preserve_unit_loops=True)
        item = sch.get_loops(passed_on)[1]
        sch.bind(item, "threadIdx.x")
        sch.compute_at(share, item, preserve_unit_loops=True)
    for name, share in zip(stages, shares, strict=True):
        generic.serial_reduction(sch, sch.get_sblock(name), sch.get_loops(sch.get_sblock(name))[0])
        generic.serial_reduction(sch, share, sch.get_loops(share)[1])

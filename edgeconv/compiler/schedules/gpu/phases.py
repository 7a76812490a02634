"""Transposed convolution: a work-item computes all phases of some columns of a row of inputs.

So a result is written beside its neighbours of other phases, whose inputs are still at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from tvm import s_tir, tirx

from edgeconv.compiler.schedules.common import (
    block_names,
    extent,
    is_reduction,
    loops_of,
    vectorize_unroll,
)
from edgeconv.compiler.schedules.gpu.accumulate import accumulate, inline_padding, row_reach
from edgeconv.compiler.schedules.gpu.common import bind_row
from edgeconv.compiler.schedules.gpu.generic import serial_reduction
from edgeconv.compiler.schedules.gpu.machine import GpuMachine
from edgeconv.compiler.schedules.gpu.tiles import Tile, choose_tile

ANCHOR = "phases"


def schedule(sch: s_tir.Schedule, machine: GpuMachine) -> None:
    """Schedule the function around its `phases` block (`compute.conv.conv_phases`)."""
    stride = _stride(sch.get(sch.get_sblock(ANCHOR)))
    names = block_names(sch)
    sums = [name for name in names if is_reduction(sch, sch.get_sblock(name))]
    for name in names[:-1]:
        if name not in sums and not name.startswith(("pad", "cut")):
            sch.compute_inline(sch.get_sblock(name))
    dense = sums[0].startswith("conv")
    reaches = {name: row_reach(sch, sch.get_sblock(name)) if dense else (1, 1) for name in sums}
    store = sch.get_sblock(names[-1])
    batch, blocks, *size, _ = (extent(sch, loop) for loop in sch.get_loops(store))
    *rows, width = (-(-o // s) for o, s in zip(size, stride, strict=True))
    tile = choose_tile(
        width,
        batch * blocks * prod(rows),
        [int(sch.get(sch.get_sblock(sums[0])).reads[1].source.shape[-2]) if dense else 1],
        machine,
        reach=max(reaches.values()),
        phases=len(sums),
    )
    item = _bind(sch, store, stride, tile, machine)
    if not dense:
        inline_padding(sch)
    for name in reversed(sums):
        block = sch.get_sblock(name)
        sch.set_scope(block, 0, "local")
        sch.compute_at(block, item, preserve_unit_loops=True)
    for name, (first, further) in reaches.items():
        block = sch.get_sblock(name)
        spatial, reduction = loops_of(sch, block, item)
        if not dense:
            vectorize_unroll(sch, spatial)
            serial_reduction(sch, block, item)
            continue
        _, outer, *_, column, lane = spatial
        *taps, channel = reduction
        accumulate(
            sch,
            block,
            taps=taps,
            channel=channel,
            tile=[column, outer, lane],
            row=first + (tile.columns - 1) * further,
            machine=machine,
        )


def _stride(phases: Any) -> list[int]:
    """Return how many phases each spatial axis has."""
    return [
        _period(index.min, axis)
        for index, axis in zip(phases.reads[0].region[2:-1], phases.iter_vars[2:-1], strict=True)
    ]


def _period(index: Any, axis: Any) -> int:
    """Return how many results in a row read one position, `index`, of a phase."""
    if index.same_as(axis.var):
        return 1
    return int(index.b) if isinstance(index, tirx.FloorDiv) else int(axis.dom.extent)


def _bind(
    sch: s_tir.Schedule, store: object, stride: Sequence[int], tile: Tile, machine: GpuMachine
) -> object:
    """Give every tile a work-item; return the work-items' loop."""
    n, outer, *axes, lane = sch.get_loops(store)
    panel, block = sch.split(outer, [None, tile.blocks])
    *rows, (step, place) = (
        sch.split(axis, [None, period]) for axis, period in zip(axes, stride, strict=True)
    )
    step, column = sch.split(step, [None, tile.columns])
    outside = [n, panel, *(row for row, _ in rows), step]
    inside = [*(offset for _, offset in rows), column, place, block, lane]
    sch.reorder(*outside, *inside)
    item = bind_row(sch, outside, machine)
    vectorize_unroll(sch, inside)
    return item

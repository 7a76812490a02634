"""Changes between plain and blocked tensors: tiles of pixels and channels, turned in registers.

Pixels follow each other in both layouts, so that a tile is a few whole vectors of either. It is
loaded, transposed by shuffles (`codegen/transpose.py`) and stored with what is fused to the change.
Where vectors do not divide the pixels, the last tile begins earlier and writes some of what the one
before it wrote once more.
"""

from __future__ import annotations

import json
from math import prod
from typing import Any

import tvm
from tvm import s_tir, tirx

from edgeconv.compiler.compute.layout import flat_index
from edgeconv.compiler.schedules.common import (
    attach_epilogue,
    block_names,
    total_work,
    vectorize_unroll,
)
from edgeconv.compiler.schedules.cpu import generic
from edgeconv.compiler.schedules.cpu.common import parallelise
from edgeconv.compiler.schedules.cpu.overlap import overlap_last
from edgeconv.compiler.schedules.frames import FRAMES
from edgeconv.compiler.schedules.machine import Machine

TO_PLAIN, TO_BLOCKED = "to_plain", "to_blocked"
ANCHORS = frozenset({TO_PLAIN, TO_BLOCKED})
# A nest of two loops with this annotation copies a tile to its transpose.
TRANSPOSE = "transpose"
# Floats in the smallest vector; sides of a tile are multiples of it.
PART = 4
# Tiles of a task, at most.
TASK_TILES = 128


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule a function that begins with a change of layout (`compute.layout`)."""
    name, *others = block_names(sch)
    if name not in ANCHORS or not ANCHORS.isdisjoint(others):
        generic.schedule(sch, machine)
        return
    change = sch.get_sblock(name)
    to_plain = name == TO_PLAIN
    source, result = sch.get(change).reads[0].source, sch.get(change).writes[0].source
    plain, blocked = (result, source) if to_plain else (source, result)
    channels, *size = (int(count) for count in plain.shape[1:])
    block = int(blocked.shape[-1])
    rows = _rows(sch, len(size))
    if _framed(sch) and prod(size[rows:]) % _width(prod(size[rows:]), machine):
        # What a tile reads of several rows in a frame would not follow when it begins earlier.
        rows = len(size) - 1
    pixels = prod(size[rows:])
    if pixels < PART or block % PART or str(plain.dtype) != "float32":
        generic.schedule(sch, machine)
        return
    work = total_work(sch, change)
    store = attach_epilogue(sch, name)
    _in_rows(sch, size, rows)
    load = sch.cache_read(change, 0, "local")
    _in_groups(sch, change if to_plain else load, channels, block)
    _copy_always(sch, change)

    batch, channel, *loops = sch.get_loops(store)
    outer, (pixel, *lane) = loops[:rows], loops[rows:]
    if to_plain:
        channel, *lane = sch.split(channel, [None, block])
    width = _width(pixels, machine)
    tiles = -(-pixels // width)
    tasks = -(-tiles // TASK_TILES)
    task, tile, column = sch.split(pixel, [tasks, -(-tiles // tasks), width])
    inner = [*lane, column] if to_plain else [column, *lane]
    sch.reorder(batch, channel, *outer, task, tile, *inner)
    parallelise(sch, [batch, channel, *outer, task], work)
    vectorize_unroll(sch, inner)
    for stage in (change, load):
        sch.compute_at(stage, tile)
    vectorize_unroll(sch, sch.get_loops(load)[-2:])
    sch.annotate(sch.get_loops(change)[-2], TRANSPOSE, True)
    overlap_last(sch, tile, pixels - width)


def _width(pixels: int, machine: Machine) -> int:
    """Return the pixels of a tile: a whole vector where there are as many, or a part of one."""
    width = machine.lanes
    while width > max(pixels, PART):
        width //= 2
    return width


def _framed(sch: s_tir.Schedule) -> list[tuple[Any, list[int]]]:
    """Return the parameters that lie in larger tensors, and the shapes of those."""
    function = sch.mod["main"]
    boxes = json.loads((function.attrs or {}).get(FRAMES, "[]"))
    pairs = zip(function.params, boxes, strict=False)
    return [(parameter, box[0]) for parameter, box in pairs if box is not None]


def _rows(sch: s_tir.Schedule, rank: int) -> int:
    """Return how many of `rank` spatial axes are not in a row with those behind them."""
    return max(
        (
            axis
            for parameter, frame in _framed(sch)
            for axis, (own, whole) in enumerate(
                zip(parameter.shape[2 : 2 + rank], frame[2 : 2 + rank], strict=True)
            )
            if int(own) != whole
        ),
        default=0,
    )


def _in_rows(sch: s_tir.Schedule, size: list[int], rows: int) -> None:
    """Let all pixels after the first `rows` axes of `size` be one axis, of loops and tensors.

    Tensors in frames keep their axes.
    """
    last = 2 + len(size)
    framed = [parameter for parameter, _ in _framed(sch)]

    def row(*index: tirx.Var) -> list[Any]:
        axes = index[2 + rows : last]
        return [*index[: 2 + rows], flat_index(axes, size[rows:]), *index[last:]]

    def in_row(rank: int) -> tirx.IndexMap:
        return tirx.IndexMap.from_func(row, ndim=rank, index_dtype="int32")

    for name in block_names(sch):
        block = sch.get_sblock(name)
        for kind in ("read", "write"):
            for i, part in enumerate(getattr(sch.get(block), f"{kind}s")):
                shape = [int(count) for count in part.source.shape]
                if shape[2:last] == size and not any(part.source.same_as(p) for p in framed):
                    sch.transform_layout(block, (kind, i), in_row(len(shape)))
        sch.transform_block_layout(block, in_row(len(sch.get_loops(block))))


def _in_groups(sch: s_tir.Schedule, stage: object, channels: int, block: int) -> None:
    """Let a stage write channels in groups of a block, the last filled up with zeros."""

    def grouped(batch: tirx.Var, channel: tirx.Var, *axes: tirx.Var) -> list[Any]:
        return [batch, channel // block, channel % block, *axes]

    layout = tirx.IndexMap.from_func(grouped, ndim=len(sch.get_loops(stage)), index_dtype="int32")
    if channels % block:
        sch.transform_layout(stage, ("write", 0), layout, pad_value=0.0)
    else:
        sch.transform_layout(stage, ("write", 0), layout)
        sch.transform_block_layout(stage, layout)


def _copy_always(sch: s_tir.Schedule, change: object) -> None:
    """Take the condition from a change that goes from registers to registers.

    Channels that do not exist are loaded as zeros, or are not stored.
    """
    block = sch.get(change)
    store = block.body
    if not isinstance(store.value, tvm.ir.Call):
        return
    (load,) = (part for part in store.value.args[1:] if isinstance(part, tvm.ir.TensorLoad))
    body = tirx.BufferStore(store.buffer, load, store.indices)
    copy = s_tir.SBlock(block.iter_vars, block.reads, block.writes, block.name_hint, body)
    sch.state.replace(sch.get_sref(change), copy, {block: copy})

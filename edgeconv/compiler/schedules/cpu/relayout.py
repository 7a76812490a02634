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
import tvm_ffi
from tvm import s_tir, sym, tirx

from edgeconv.compiler.compute.layout import flat_index
from edgeconv.compiler.schedules.common import (
    attach_epilogue,
    block_names,
    total_work,
    uses,
    vectorize_unroll,
)
from edgeconv.compiler.schedules.cpu import generic
from edgeconv.compiler.schedules.cpu.common import parallelise
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
    pixels = prod(size[rows:])
    if pixels < PART or block % PART or str(plain.dtype) != "float32":
        generic.schedule(sch, machine)
        return
    work = total_work(sch, change)
    _in_rows(sch, size, rows)
    store = attach_epilogue(sch, name)
    load = sch.cache_read(change, 0, "local")
    _in_groups(sch, change if to_plain else load, channels, block)

    batch, channel, *loops = sch.get_loops(store)
    outer, (pixel, *lane) = loops[:rows], loops[rows:]
    if to_plain:
        channel, *lane = sch.split(channel, [None, block])
    width = machine.lanes if pixels >= machine.lanes else PART
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
    _keep_inside(sch, tile, change, pixels - width)


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


def _keep_inside(sch: s_tir.Schedule, tile: Any, change: Any, last: int) -> None:
    """Let no tile begin after pixel `last`, so that it needs no conditions on pixels.

    The change itself goes from registers to registers and needs none at all: channels that do not
    exist are loaded as zeros, or are not stored.
    """
    name, loop, analyzer = sch.get(change).name_hint, sch.get(tile), sym.Analyzer()
    inside: list[tirx.Var] = []
    tvm_ffi.structural_walk(loop.body, (tirx.For, lambda inner: inside.append(inner.loop_var)))
    tvm_ffi.structural_walk(loop.body, (tirx.For, lambda inner: _bind(analyzer, inner)))
    for around in sch.get_loops(change):
        _bind(analyzer, sch.get(around))

    def at_first(var: tirx.Var) -> Any:
        return tirx.IntImm("int32", 0) if any(var.same_as(other) for other in inside) else var

    def moved(value: Any) -> Any:
        if not uses(value, loop.loop_var):
            return value
        begin = tvm_ffi.structural_map(value, (tirx.Var, at_first))
        return analyzer.simplify(tirx.min(begin, last)) + analyzer.simplify(value - begin)

    def unconditional(realize: Any) -> Any:
        block, values = realize.block, [moved(value) for value in realize.iter_values]
        if block.name_hint == name:
            return s_tir.SBlockRealize(values, True, _plain_copy(block))
        exist = [
            value < axis.dom.extent
            for value, axis in zip(realize.iter_values, block.iter_vars, strict=True)
            if not uses(value, loop.loop_var)
        ]
        return s_tir.SBlockRealize(values, analyzer.simplify(tirx.all(*exist)), block)

    changed = tvm_ffi.structural_map(loop, (s_tir.SBlockRealize, unconditional))
    sch.state.replace(sch.get_sref(tile), changed)


def _bind(analyzer: sym.Analyzer, loop: tirx.For) -> None:
    analyzer.bind(loop.loop_var, tvm.ir.Range.from_min_extent(loop.min, loop.extent))


def _plain_copy(block: Any) -> Any:
    """Return the block of the change without the condition under which it copies."""
    store = block.body
    if not isinstance(store.value, tvm.ir.Call):
        return block
    (load,) = (part for part in store.value.args[1:] if isinstance(part, tvm.ir.TensorLoad))
    body = tirx.BufferStore(store.buffer, load, store.indices)
    return s_tir.SBlock(block.iter_vars, block.reads, block.writes, block.name_hint, body)

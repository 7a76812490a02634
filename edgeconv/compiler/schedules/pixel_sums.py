"""Kernels that sum the pixels of the image that they make, beside it.

A function says in its attribute `SUMS` (JSON) which shape the sums of its result (N, blocks,
*spatial, lanes) have: (N, blocks, parts, 1, ..., lanes). Each part of the image lies in what one
task writes, so that no two threads add to one sum, and sums do not depend on the number of threads.
Where the schedule stores an element, it is added to the sum of its part, from a register.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import isqrt, prod
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, sym, tirx

from edgeconv.compiler.compute.layout import flat_index
from edgeconv.compiler.schedules.common import replaced, uses
from edgeconv.compiler.schedules.cpu.accumulate import STREAM
from edgeconv.compiler.schedules.cpu.generic import LONG_SUM
from edgeconv.compiler.schedules.overwriting import only_store

SUMS = "edgeconv.sums"
# The first axis of pixels in (N, blocks, *spatial, lanes).
SPATIAL = 2
# Iterations of a parallel loop that threads can share.
LEAST_TASKS = 64
# Sums of fewer pixels are too many to be worth storing.
LEAST_PIXELS = 4


@dataclass(frozen=True)
class _Axis:
    """An axis of the block that stores the result.

    Attributes:
        var: its variable; None for one that the result has, but the block does not.
        extent: how far it goes.
        value: what it is, by the loops around the block.
    """

    var: Any
    extent: int
    value: Any


@dataclass(frozen=True)
class _Parts:
    """How to sum the pixels of a result.

    Attributes:
        block: what stores it.
        task: the parallel loop around that; None where there is none.
        share: of how many iterations of that one task consists.
        channels: the axes over samples, channel blocks and lanes.
        pixels: the axes over pixels.
        sizes: of a part, on each axis over pixels.
        rank: how many axes the image itself has.
    """

    block: Any
    task: Any
    share: int
    channels: list[_Axis]
    pixels: list[_Axis]
    sizes: list[int]
    rank: int

    @property
    def counts(self) -> list[int]:
        """Parts along each axis over pixels."""
        return [-(-axis.extent // size) for axis, size in zip(self.pixels, self.sizes, strict=True)]

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the sums."""
        batch, blocks, lanes = (axis.extent for axis in self.channels)
        return (batch, blocks, prod(self.counts), *(1,) * (self.rank - 1), lanes)

    @property
    def place(self) -> list[Any]:
        """Return the index of a sum, by the axes of the block."""
        zero = tirx.const(0, "int32")
        batch, block, lane = (zero if axis.var is None else axis.var for axis in self.channels)
        parts = [axis.var // size for axis, size in zip(self.pixels, self.sizes, strict=True)]
        part = flat_index(parts, self.counts) if parts else zero
        return [batch, block, part, *(zero,) * (self.rank - 1), lane]


def sums_shape(module: tvm.IRModule) -> tuple[int, ...] | None:
    """Return the shape that sums of a scheduled function's result have.

    None where it cannot make them: the result is not stored by one block, once and in boxes of
    pixels, a vector has several pixels, or a task so few that the sums would be no smaller.
    """
    parts = _parts(module["main"])
    return None if parts is None else parts.shape


def sum_pixels(module: tvm.IRModule) -> tvm.IRModule:
    """Return the scheduled module, whose "main" also makes the sums that it shall, if any.

    They are its last parameter.
    """
    function = module["main"]
    if SUMS not in (function.attrs or {}):
        return module
    parts, result = _parts(function), function.params[-1]
    assert parts is not None
    assert list(parts.shape) == json.loads(function.attrs[SUMS])
    sums = tirx.decl_buffer(parts.shape, result.dtype, "sums", layout=None)

    def summed(block: Any) -> Any:
        if block.name_hint == parts.block.name_hint:
            return _with_sum(block, sums, parts.place)
        if block.name_hint == function.body.block.name_hint:
            body = tirx.SeqStmt([_zeros(sums), _shared(block.body, parts)])
            return s_tir.SBlock(
                [], [], [], block.name_hint, body, alloc_buffers=block.alloc_buffers
            )
        return block

    body = tvm_ffi.structural_map(function.body, (s_tir.SBlock, summed))
    attributes = function.without_attr(SUMS).attrs
    made = tirx.PrimFunc([*function.params, sums], body, function.ret_type, attributes)
    return tvm.IRModule({"main": made})


def _with_sum(block: Any, sums: Any, place: list[Any]) -> Any:
    """Return the block, which also adds what it stores to `sums[place]`."""
    store = block.body
    stored = tirx.BufferLoad(store.buffer, store.indices)
    add = tirx.BufferStore(sums, tirx.BufferLoad(sums, place) + stored, place)
    here = tirx.BufferRegion(sums, [tvm.ir.Range.from_min_extent(i, 1) for i in place])
    return s_tir.SBlock(
        block.iter_vars,
        [*block.reads, here],
        [*block.writes, here],
        block.name_hint,
        tirx.SeqStmt([store, add]),
        annotations=block.annotations,
    )


def _zeros(sums: Any) -> Any:
    """Return a nest that sets all sums to zero, a vector at a time."""
    loops = [tirx.Var(f"i{axis}", "int32") for axis in range(len(sums.shape))]
    body = tirx.BufferStore(sums, tirx.const(0, sums.dtype), loops)
    kind = tirx.ForKind.VECTORIZED
    for loop, size in reversed([*zip(loops, sums.shape, strict=True)]):
        body = tirx.For(loop, 0, size, kind if int(size) > 1 else tirx.ForKind.SERIAL, body)
        kind = tirx.ForKind.SERIAL
    return body


def _shared(body: Any, parts: _Parts) -> Any:
    """Return a body whose tasks take as many iterations of its parallel loop as they shall."""
    if parts.share == 1:
        return body

    def taken(loop: Any) -> Any:
        if not loop.loop_var.same_as(parts.task.loop_var):
            return loop
        task, step, place = _split(loop, parts.share)
        inner = tirx.For(
            step,
            0,
            parts.share,
            tirx.ForKind.SERIAL,
            replaced(loop.body, loop.loop_var, place),
            annotations=loop.annotations,
        )
        return tirx.For(task, 0, int(loop.extent) // parts.share, loop.kind, inner)

    return tvm_ffi.structural_map(body, (tirx.For, taken))


def _split(loop: Any, share: int) -> tuple[Any, Any, Any]:
    """Return variables for the tasks of a loop and the steps of one, and what it is by those."""
    task, step = (tirx.Var(f"{loop.loop_var.name}_{part}", "int32") for part in ("task", "step"))
    return task, step, task * share + step


def _parts(function: tirx.PrimFunc) -> _Parts | None:
    """Return how to sum the pixels of a scheduled function's result; None where it cannot be."""
    result = function.params[-1]
    found = only_store(function.body, result)
    if found is None or len(result.shape) <= SPATIAL + 1 or "float" not in str(result.dtype):
        return None
    store, around = found
    *loops, realize = around[1:]
    boxes = all(isinstance(a, tirx.For) and isinstance(a.extent, tirx.IntImm) for a in loops)
    if not boxes or not isinstance(realize, s_tir.SBlockRealize):
        return None
    if not store.same_as(realize.block.body):
        return None
    axes = _axes(realize, store.indices)
    if axes is None:
        return None
    candidates = (
        _Parts(realize.block, task, share, *axes, sizes, len(result.shape) - SPATIAL - 1)
        for task, share, outer, inner, values in _tasks(loops, realize.iter_values)
        if (sizes := _sizes(realize, values, outer, inner, axes[1])) is not None
    )
    wanted = isqrt(prod(axis.extent for axis in axes[1]))
    best = None
    for parts in candidates:
        if best is None or _run(parts) > _run(best):
            best = parts
        if _run(best) >= wanted:
            break
    return None if best is None or _run(best) < LEAST_PIXELS else best


def _run(parts: _Parts) -> int:
    """Return how many pixels a part has, on average."""
    return prod(axis.extent for axis in parts.pixels) // prod(parts.counts)


def _axes(realize: Any, indices: Sequence[Any]) -> tuple[list[_Axis], list[_Axis]] | None:
    """Return the axes over channels (samples, blocks, lanes) and over pixels of a result.

    None where they are not apart.
    """
    axes = [
        _Axis(axis.var, int(axis.dom.extent), value)
        for axis, value in zip(realize.block.iter_vars, realize.iter_values, strict=True)
    ]
    channels, analyzer = [], sym.Analyzer()
    for index in (*indices[:SPATIAL], indices[-1]):
        used = [axis for axis in axes if uses(index, axis.var)] or [_Axis(None, 1, None)]
        begin = index if used[0].var is None else analyzer.simplify(index - used[0].var)
        if len(used) > 1 or not isinstance(begin, tirx.IntImm):
            return None
        channels += used
    pixels = [axis for axis in axes if any(uses(index, axis.var) for index in indices[SPATIAL:-1])]
    named = [axis.var for axis in (*channels, *pixels) if axis.var is not None]
    return None if len(set(map(str, named))) < len(named) else (channels, pixels)


def _tasks(
    loops: list[Any], values: Sequence[Any]
) -> Iterator[tuple[Any, int, dict[Any, int], list[Any], list[Any]]]:
    """Yield ways to share `loops` among threads, from the finest.

    Each is the parallel loop, its iterations in a task, the extents of the loops over tasks, the
    loops inside of one, and the block's `values` by those.
    """
    parallel = [loop.kind == tirx.ForKind.PARALLEL for loop in loops]
    if not any(parallel):
        yield None, 1, {}, loops, list(values)
        return
    place = parallel.index(True)
    task, inner = loops[place], loops[place + 1 :]
    outer = {loop.loop_var: int(loop.extent) for loop in loops[: place + 1]}
    yield task, 1, outer, inner, list(values)
    count = int(task.extent)
    for share in range(2, 1 if _streams(task) else count // LEAST_TASKS + 1):
        if count % share == 0:
            tasks, step, index = _split(task, share)
            around = {var: n for var, n in outer.items() if not var.same_as(task.loop_var)}
            steps = tirx.For(step, 0, share, tirx.ForKind.SERIAL, task.body)
            split = [replaced(value, task.loop_var, index) for value in values]
            yield task, share, {**around, tasks: count // share}, [steps, *inner], split


def _streams(loop: Any) -> bool:
    """Whether weights are asked for ahead in a loop, by the number of its iteration."""
    found: list[Any] = []
    tvm_ffi.structural_walk(
        loop, (tirx.For, lambda inner: found.append(STREAM in inner.annotations))
    )
    return any(found)


def _sizes(
    realize: Any,
    values: list[Any],
    outer: dict[Any, int],
    inner: list[Any],
    pixels: list[_Axis],
) -> list[int] | None:
    """Return the size of a part on each axis of `pixels`; None where tasks write no boxes.

    A part lies in one task, and register tiles lie in a part. Rounding errors of a sum grow with
    its length, so that it is about the square root of the whole where that is long.
    """
    analyzer = sym.Analyzer()
    within = {loop.loop_var: int(loop.extent) for loop in inner}
    for var, count in {**outer, **within}.items():
        analyzer.bind(var, tvm.ir.Range.from_min_extent(0, count))
    boxes = [box for value in values if (box := _box(analyzer, value, within)) is not None]
    volume = prod(size for size, _ in boxes)
    if len(boxes) < len(values) or volume != prod(within.values()):
        return None
    choices, extents = [], []
    for axis, value, box in zip(realize.block.iter_vars, values, boxes, strict=True):
        if not any(axis.var.same_as(pixel.var) for pixel in pixels):
            continue
        fitting = _sizes_on_axis(analyzer, value, box, inner)
        if fitting is None:
            return None
        choices.append(fitting)
        extents.append(int(axis.dom.extent))
    longest = max(LONG_SUM, 2 * isqrt(prod(extents)))

    def length(sizes: Sequence[int]) -> int:
        return prod(min(size, extent) for size, extent in zip(sizes, extents, strict=True))

    every = sorted(product(*choices), key=length)
    return list([*every[:1], *(sizes for sizes in every if length(sizes) <= longest)][-1])


def _sizes_on_axis(
    analyzer: Any, value: Any, box: tuple[int, Any], inner: list[Any]
) -> list[int] | None:
    """Return sizes that a part may have on an axis over pixels: of some whole register tiles.

    None where a vector has several pixels, or where tasks do not cut the axis evenly.
    """
    vectors, unrolled = (
        {loop.loop_var: int(loop.extent) for loop in inner if loop.kind == kind}
        for kind in (tirx.ForKind.VECTORIZED, tirx.ForKind.UNROLLED)
    )
    lanes, tile = _box(analyzer, value, vectors), _box(analyzer, value, {**unrolled, **vectors})
    size, begin = box
    if lanes is None or lanes[0] > 1 or tile is None:
        return None
    if not analyzer.can_prove_equal(tirx.floormod(begin, size), 0):
        return None
    return [n for n in range(tile[0], size + 1, tile[0]) if size % n == 0] or [size]


def _box(analyzer: Any, value: Any, inner: dict[Any, int]) -> tuple[int, Any] | None:
    """Return how many values in a row an index takes in the `inner` loops, and the first of them.

    None where that differs from one iteration of the other loops to the next.
    """
    begin = value
    for var in inner:
        begin = replaced(begin, var, tirx.const(0, "int32"))
    within = analyzer.simplify(value - begin)
    bound = analyzer.const_int_bound(within)
    vars_left: list[Any] = []
    tvm_ffi.structural_walk(within, (tirx.Var, vars_left.append))
    if not all(any(var.same_as(other) for other in inner) for var in vars_left):
        return None
    return (int(bound.max_value) + 1, begin) if int(bound.min_value) == 0 else None

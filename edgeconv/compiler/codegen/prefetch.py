"""Asks for weights before they are needed, where they come from memory in every run.

Hardware follows a stream up to the end of a page of memory and then starts anew; the processor
waits at every page, unless the next one was asked for. A panel of weights that is read once is
asked for a page ahead. One that several register tiles meet in turn comes from memory with the
first of them and from the cache with the others, during which memory rests: so each of them asks
for its share of the next panel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import tvm
import tvm_ffi
from tvm import sym, tirx

from edgeconv.compiler.schedules.cpu.accumulate import PASSES, STREAM

_DISTANCE_BYTES = 4096
_LINE_BYTES = 64
# Operands of the instruction: for reading; to be kept in the first, or the second, cache; data.
_READ, _NEAR, _NEXT, _DATA = 0, 3, 2, 1


@dataclass(frozen=True)
class _Passes:
    """Where a panel's loops stand.

    Attributes:
        number: which of the passes over the panel this is.
        count: the number of passes.
        loops: the loops that run over the panel, outermost first.
    """

    number: Any
    count: int
    loops: list[Any]


def prefetch_streams(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Return the unrolled function with prefetches in every loop that reads a stream."""
    passes = list(_passes(function.body))

    def prefetched(loop: Any) -> Any:
        name = loop.annotations.get(STREAM)
        if name is None and PASSES not in loop.annotations:
            return loop
        kept = {k: v for k, v in loop.annotations.items() if k not in {STREAM, PASSES}}
        around = next((p for p in passes if p.loops[-1].loop_var.same_as(loop.loop_var)), None)
        requests = [] if name is None else _requests(loop, str(name), around)
        body = tirx.SeqStmt([*requests, loop.body]) if requests else loop.body
        return tirx.For(
            loop.loop_var, loop.min, loop.extent, loop.kind, body, loop.thread_binding, kept
        )

    return tvm_ffi.structural_map(function, [(tirx.For, prefetched)])


def _passes(body: Any) -> Iterator[_Passes]:
    """Yield the passes around every stream that has some."""
    for outer in _loops(body):
        count = int(outer.annotations.get(PASSES, 1))
        inner = _loops(outer.body) if count > 1 else []
        for stream in (loop for loop in inner if STREAM in loop.annotations):
            around = [
                loop for loop in inner if any(found.same_as(stream) for found in _loops(loop.body))
            ]
            yield _Passes(outer.loop_var % count, count, [*around, stream])


def _loops(body: Any) -> list[Any]:
    """Return the loops in `body`, each after those around it."""
    found: list[Any] = []
    tvm_ffi.structural_walk(body, [(tirx.For, found.append)])
    return found[::-1]


def _requests(loop: Any, name: str, passes: _Passes | None) -> list[Any]:
    loads = _loads(loop.body, lambda source: str(source.name) == name)
    if passes is None:
        lines, cache = _lines_ahead(loads), _NEAR
    else:
        lines, cache = _lines_of_next(loads, passes), _NEXT
    return [
        tirx.Evaluate(
            tirx.call_intrin("void", "tirx.prefetch", tirx.address_of(line), _READ, cache, _DATA)
        )
        for line in lines
    ]


def _lines_of_next(loads: list[Any], passes: _Passes) -> list[Any]:
    """Return loads of what an iteration asks for of the next panel.

    None where its loops do not run over the panel from front to back.
    """
    extents = [int(loop.extent) for loop in passes.loops if isinstance(loop.extent, tirx.IntImm)]
    if not loads or len(extents) < len(passes.loops):
        return []
    source, first = loads[0].source, _first(loads[0].indices[-1])
    linear = sym.detect_linear_equation(first, [loop.loop_var for loop in passes.loops])
    *strides, start = linear or [None]
    steps = [int(stride) for stride in strides if isinstance(stride, tirx.IntImm)]
    if not steps or steps != [steps[-1] * prod(extents[i + 1 :]) for i in range(len(extents))]:
        return []
    place = passes.number
    for loop, extent in zip(passes.loops, extents, strict=True):
        place = place * extent + loop.loop_var
    share = -(-steps[-1] // passes.count)
    ahead = start + steps[-1] * prod(extents) + place * share
    line = _LINE_BYTES // (tvm.DataType(str(source.dtype)).bits // 8)
    return [tirx.BufferLoad(source, [ahead + k * line]) for k in range(-(-share // line))]


def _lines_ahead(loads: list[Any]) -> list[Any]:
    """Return a load of every cache line that `loads` read, moved ahead."""
    starts = [_first(load.indices[-1]) for load in loads]
    analyzer = sym.Analyzer()
    lines: dict[int, Any] = {}
    for load, first in zip(loads, starts, strict=True):
        distance = analyzer.simplify(first - starts[0])
        if isinstance(distance, tirx.IntImm):
            size = tvm.DataType(str(load.source.dtype)).bits // 8
            place = int(distance) * size // _LINE_BYTES
            ahead = first + _DISTANCE_BYTES // size
            lines.setdefault(place, tirx.BufferLoad(load.source, [ahead]))
    return list(lines.values())


def _first(index: Any) -> Any:
    return index.base if isinstance(index, tirx.Ramp) else index


def _loads(body: Any, wanted: Callable[[Any], bool]) -> list[Any]:
    found: list[Any] = []

    def note(load: Any) -> None:
        if wanted(load.source):
            found.append(load)

    tvm_ffi.structural_walk(body, [(tvm.ir.TensorLoad, note)])
    return found

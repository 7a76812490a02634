"""Asks for weights before they are needed, where they come from memory only once in a run.

Hardware follows a stream up to the end of a page of memory and then starts anew; the processor
waits at every page, unless the next one was asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.sym import Analyzer

from edgeconv.compiler.schedules.cpu.accumulate import STREAM

_DISTANCE_BYTES = 4096
_LINE_BYTES = 64
# Operands of the instruction: for reading, to be kept near, data.
_READ, _NEAR, _DATA = 0, 3, 1


def prefetch_streams(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Return the unrolled function with prefetches in every loop that reads a stream."""
    return tvm_ffi.structural_map(function, [(tirx.For, _prefetched)])


def _prefetched(loop: Any) -> Any:
    name = loop.annotations.get(STREAM)
    if name is None:
        return loop
    requests = [
        tirx.Evaluate(
            tirx.call_intrin("void", "tirx.prefetch", tirx.address_of(line), _READ, _NEAR, _DATA)
        )
        for line in _lines_ahead(loop.body, str(name))
    ]
    rest = {key: value for key, value in loop.annotations.items() if key != STREAM}
    body = tirx.SeqStmt([*requests, loop.body]) if requests else loop.body
    return tirx.For(
        loop.loop_var, loop.min, loop.extent, loop.kind, body, loop.thread_binding, rest
    )


def _lines_ahead(body: Any, name: str) -> list[Any]:
    """Return a load of every cache line that `body` reads of the buffer, moved ahead."""
    loads = _loads(body, lambda source: str(source.name) == name)
    starts = [_first(load.indices[-1]) for load in loads]
    analyzer = Analyzer()
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

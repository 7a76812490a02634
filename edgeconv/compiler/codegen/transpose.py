"""Transposition of small tiles in registers.

A schedule marks a nest of two loops that copies one local buffer to another; LLVM would go through
memory element by element. Squares of 4 x 4 are transposed in two rounds of interleaving, as many of
them at once as stand side by side in a vector: `unpcklps` and `unpckhps` on x86, `zip1` and `zip2`
on ARM.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
import tvm_ffi
from tvm import sym, tirx

from edgeconv.compiler.schedules.cpu.relayout import PART, TRANSPOSE


def transpose_tiles(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Return the flattened function with vectors and shuffles for marked nests of loops."""
    return tvm_ffi.structural_map(
        function, (tirx.For, lambda loop: _tile(loop) if TRANSPOSE in loop.annotations else loop)
    )


def _tile(rows: Any) -> Any:
    """Return the copy of a tile, whose rows are columns of the source."""
    columns = rows.body
    store = columns.body
    variables = [rows.loop_var, columns.loop_var]
    (result_stride, _, result), (_, source_stride, source) = (
        sym.detect_linear_equation(access.indices[0], variables) for access in (store, store.value)
    )
    width = int(columns.extent)
    statements = []
    for row in range(0, int(rows.extent), PART):
        # A vector has the columns of the source that are apart by the side of a square.
        vectors = [
            _join(
                [
                    _vector(store.value.source, source + column * source_stride + row, PART)
                    for column in range(first, width, PART)
                ]
            )
            for first in range(PART)
        ]
        statements += [
            tirx.BufferStore(
                store.buffer, vector, [tirx.Ramp(result + (row + i) * result_stride, 1, width)]
            )
            for i, vector in enumerate(_transposed(vectors))
        ]
    return tirx.SeqStmt(statements)


def _vector(source: Any, index: Any, lanes: int) -> Any:
    return tirx.BufferLoad(source, [tirx.Ramp(index, 1, lanes)])


def _join(parts: Sequence[Any]) -> Any:
    """Return the elements of all vectors, in order."""
    return _shuffle(parts, range(PART * len(parts))) if len(parts) > 1 else parts[0]


def _transposed(vectors: Sequence[Any]) -> list[Any]:
    """Transpose the squares of which each vector has one row, side by side."""
    a, b, c, d = vectors
    (e, f), (g, h) = _interleaved(a, c), _interleaved(b, d)
    return [*_interleaved(e, g), *_interleaved(f, h)]


def _interleaved(a: Any, b: Any) -> tuple[Any, Any]:
    """Interleave the lower and the upper halves of the parts of two vectors."""
    lanes = int(tvm.DataType(str(a.ty.dtype)).lanes)
    parts = range(0, lanes, PART)
    half = PART // 2
    lower, upper = (
        [
            place
            for part in parts
            for i in range(half)
            for place in (part + start + i, lanes + part + start + i)
        ]
        for start in (0, half)
    )
    return _shuffle([a, b], lower), _shuffle([a, b], upper)


def _shuffle(vectors: Sequence[Any], places: Sequence[int]) -> Any:
    return tirx.Shuffle(list(vectors), [tirx.IntImm("int32", place) for place in places])

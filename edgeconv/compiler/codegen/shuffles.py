"""Loads of elements that lie near each other, as whole vectors and a shuffle.

Where each lane reads a channel of its own group, every second column, or the same as the one beside
it, the index is a vector; LLVM would load the lanes one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
import tvm_ffi
from tvm import sym, tirx

# Elements further apart are loaded one by one: more vectors than that are not worth a shuffle.
MAX_STRIDE = 4
# What all lanes share, and the distance of each from it.
Parts = tuple[Any, npt.NDArray[np.int64]]


def shuffle_loads(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Return the vectorised function, with a shuffle where lanes read one or few vectors."""
    analyzer = sym.Analyzer()
    return tvm_ffi.structural_map(
        function, [(tvm.ir.TensorLoad, lambda load: _shuffled(load, analyzer))]
    )


def _shuffled(load: Any, analyzer: sym.Analyzer) -> Any:
    parts = _parts(load.indices[0]) if len(load.indices) == 1 else None
    if parts is None or parts[1].size == 1:
        return load
    if isinstance(load.indices[0], tirx.Ramp):
        return _strided(load, load.indices[0])
    base, offsets = parts
    start = analyzer.modular_set(base)
    lanes = offsets.size
    inside = offsets + start.base
    if start.coeff % lanes == 0 and inside.min() // lanes == inside.max() // lanes:
        first = int(inside.min() // lanes * lanes - start.base)
        return _picked(load, base, first, offsets, lanes)
    first, span = int(offsets.min()), int(np.ptp(offsets)) + 1
    # Nothing beyond what the lanes read is known to exist.
    if span < lanes and span.bit_count() == 1:
        return _picked(load, base, first, offsets, span)
    return load


def _picked(load: Any, base: Any, first: int, offsets: npt.NDArray[np.int64], size: int) -> Any:
    """Load the vector of `size` elements that begins `first` after the base, and pick the lanes."""
    if size == 1:
        return tirx.Broadcast(tirx.BufferLoad(load.source, [base + first]), offsets.size)
    vector = tirx.BufferLoad(load.source, [tirx.Ramp(base + first, 1, size)])
    # A shuffle has no more lanes than its operands.
    operands = [vector] * -(-offsets.size // size)
    return tirx.Shuffle(operands, [tirx.IntImm("int32", int(i) - first) for i in offsets])


def _strided(load: Any, ramp: tirx.Ramp) -> Any:
    """Load all that lies between the lanes too; the last vector ends with the last lane."""
    stride, lanes = int(ramp.stride), int(ramp.lanes)
    if not 1 < stride <= MAX_STRIDE:
        return load
    last = stride * (lanes - 1) + 1 - lanes
    starts = [min(i * lanes, last) for i in range(stride)]
    vectors = [
        tirx.BufferLoad(load.source, [tirx.Ramp(ramp.base + start, 1, lanes)]) for start in starts
    ]
    places = [stride * lane for lane in range(lanes)]
    homes = [min(place // lanes, stride - 1) for place in places]
    return tirx.Shuffle(
        vectors,
        [
            tirx.IntImm("int32", home * lanes + place - starts[home])
            for home, place in zip(homes, places, strict=True)
        ],
    )


def _parts(index: Any) -> Parts | None:
    """Split a vector of indices into a scalar and constant distances from it, if it is such."""
    if isinstance(index, tirx.Broadcast):
        return index.value, np.zeros(int(index.lanes), np.int64)
    if isinstance(index, tirx.Ramp) and isinstance(index.stride, tirx.IntImm):
        return index.base, int(index.stride) * np.arange(int(index.lanes))
    if not isinstance(index, (tirx.Add, tirx.Mul, tirx.FloorDiv, tirx.FloorMod)):
        return None
    left, right = _parts(index.a), _parts(index.b)
    return None if left is None or right is None else _combined(index, left, right)


def _combined(index: Any, left: Parts, right: Parts) -> Parts | None:
    (a, distances), (b, others) = left, right
    if isinstance(index, tirx.Add):
        return a + b, distances + others
    if not isinstance(b, tirx.IntImm) or others.any():
        return None
    if isinstance(index, tirx.Mul):
        return a * b, distances * int(b)
    if not isinstance(a, tirx.IntImm):
        return None
    whole = int(a) + distances
    result = whole // int(b) if isinstance(index, tirx.FloorDiv) else whole % int(b)
    return tirx.IntImm("int32", 0), result

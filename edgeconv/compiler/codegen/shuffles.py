"""Loads of elements that lie near each other, as whole vectors and a shuffle.

Where each lane reads a channel of its own group, or every second column, the index is a vector;
LLVM would load the lanes one by one.
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
    if start.coeff % lanes or inside.min() // lanes != inside.max() // lanes:
        return load
    first = base + int(inside.min() // lanes * lanes - start.base)
    vector = tirx.BufferLoad(load.source, [tirx.Ramp(first, 1, lanes)])
    return tirx.Shuffle([vector], [tirx.IntImm("int32", int(i % lanes)) for i in inside])


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

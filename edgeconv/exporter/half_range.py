"""Which values of a network half precision does not hold well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgeconv.exporter.graph import value_types
from edgeconv.exporter.reference import reference_values

Array = npt.NDArray[Any]

# Other inputs than the golden ones may give values as many times larger.
HEADROOM = 8.0
_LIMITS = np.finfo(np.float16)
# Operands whose small differences make large ones in the result, by operator: exponents, places in
# an image, and what a mean is subtracted from.
_SENSITIVE = {
    "Softmax": (0,),
    "LogSoftmax": (0,),
    "Exp": (0,),
    "Pow": (0, 1),
    "DeformConv": (2,),
    "GridSample": (1,),
    "GroupNormalization": (0,),
    "InstanceNormalization": (0,),
    "LayerNormalization": (0,),
}


def beyond_half(model: onnx.ModelProto, cases: Sequence[Mapping[str, Array]]) -> frozenset[str]:
    """Return the values that `Precision.MIXED` keeps in single precision, inputs among them.

    Those that come near the limits of half precision on `cases` (arrays by input name), or are all
    denormal there, and those that operators amplify. Every shape of the model must be known.
    """
    single = [name for name, kind in value_types(model).items() if kind.dtype == np.float32]
    computed = {name for node in model.graph.node for name in node.output}
    names = [name for name in single if name in computed]
    largest: dict[str, float] = {}
    for inputs in cases:
        given = {name: inputs[name] for name in inputs.keys() & set(single)}
        for name, value in {**given, **reference_values(model, inputs, names)}.items():
            finite = np.abs(value[np.isfinite(value)])
            largest[name] = max(largest.get(name, 0.0), float(finite.max(initial=0.0)))
    extreme = {
        name
        for name, size in largest.items()
        if size * HEADROOM > float(_LIMITS.max) or 0 < size < float(_LIMITS.smallest_normal)
    }
    return frozenset(extreme | set(_amplified(model)))


def _amplified(model: onnx.ModelProto) -> Iterator[str]:
    for node in model.graph.node:
        for place in _SENSITIVE.get(node.op_type, ()):
            if place < len(node.input):
                yield node.input[place]

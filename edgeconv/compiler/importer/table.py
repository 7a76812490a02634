"""The converter table: every ONNX operator that edgeconv compiles, but for `edgeconv.ops`.

TVM's own converters stand only where their results were compared with ONNX Runtime's
(`tests/compiler/test_operators.py` repeats it); everything else is ours or refused.
"""

from __future__ import annotations

from edgeconv.compiler.importer import (
    activations,
    constants,
    elementwise,
    grids,
    indexing,
    normalisations,
    ordering,
    padding,
    pools,
    products,
    quantised_products,
    quantization,
    recurrent,
    reductions,
    resize,
    tensors,
    windows,
)
from edgeconv.compiler.importer.converter import Converter, trusted
from edgeconv.compiler.importer.node import Node
from edgeconv.ops import find

_ELEMENTWISE = (
    *("Add", "Sub", "Mul", "Div", "Mean", "Where", "Cast"),
    *("Abs", "Neg", "Exp", "Log", "Sqrt", "Reciprocal", "Floor", "Ceil", "Round", "Sign"),
    *("Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Tanh"),
    *("Relu", "LeakyRelu", "PRelu", "Sigmoid"),
    *("Softsign", "ThresholdedRelu", "Shrink"),
    *("Not", "And", "Or", "Xor", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"),
    "IsNaN",
)
_OTHERS = (
    *("Softmax", "LogSoftmax", "Transpose", "Concat", "Einsum", "ArgMax", "ArgMin"),
    "DepthToSpace",
)


def _refuse_double(node: Node) -> str | None:
    """Refuse double precision, of which the error function here has the first seven digits."""
    return "double precision; single is supported" if node.dtype() == "float64" else None


CONVERTERS: dict[str, Converter] = {
    **{op: trusted(op) for op in (*_ELEMENTWISE, *_OTHERS)},
    **{op: trusted(op, _refuse_double) for op in ("Erf", "Gelu")},
    "Expand": trusted("Expand", constants=(1,)),
    "Tile": trusted("Tile", constants=(1,)),
    **activations.CONVERTERS,
    **constants.CONVERTERS,
    **elementwise.CONVERTERS,
    **grids.CONVERTERS,
    **indexing.CONVERTERS,
    **normalisations.CONVERTERS,
    **ordering.CONVERTERS,
    **padding.CONVERTERS,
    **pools.CONVERTERS,
    **products.CONVERTERS,
    **quantised_products.CONVERTERS,
    **quantization.CONVERTERS,
    **recurrent.CONVERTERS,
    **reductions.CONVERTERS,
    **resize.CONVERTERS,
    **tensors.CONVERTERS,
    **windows.CONVERTERS,
}


def find_converter(name: str) -> Converter | None:
    """Return the converter of an ONNX operator, by its name after its domain, or None.

    A registered operator's own comes first.
    """
    op = find(name)
    if op is not None and op.convert is not None:
        return Converter(op.convert, op.refuse, op.constants)
    return CONVERTERS.get(name)

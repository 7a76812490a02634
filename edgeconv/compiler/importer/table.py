"""The converter table: every ONNX operator that edgeconv compiles, but for `edgeconv.ops`.

TVM's own converters stand only where their results were compared with ONNX Runtime's
(`tests/compiler/test_operators.py` repeats it); everything else is ours or refused.
"""

from __future__ import annotations

from edgeconv.compiler.importer import (
    activations,
    grids,
    indexing,
    normalisations,
    padding,
    pools,
    products,
    quantised_products,
    resize,
    tensors,
    windows,
)
from edgeconv.compiler.importer.converter import Converter, trusted
from edgeconv.ops import find

_ELEMENTWISE = (
    *("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max"),
    *("Abs", "Neg", "Exp", "Log", "Sqrt", "Reciprocal", "Floor", "Ceil", "Erf", "Tanh"),
    *("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Sigmoid", "HardSigmoid", "Softplus", "Gelu"),
    *("Mish", "Softsign"),
)
_ELEMENTWISE_MORE = (
    *("Sign", "Round", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan"),
    *("ThresholdedRelu", "Shrink", "Mean", "Where", "Cast", "Not", "And", "Or", "Xor"),
    *("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "IsNaN", "IsInf", "Mod"),
)
_OTHERS = (
    *("Softmax", "LogSoftmax", "Transpose", "Concat", "Sum", "Einsum"),
    "DepthToSpace",
    *("ArgMax", "ArgMin"),
)
_REDUCTIONS = (
    *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"),
    *("ReduceSumSquare", "ReduceLogSumExp", "ReduceLogSum"),
)

CONVERTERS: dict[str, Converter] = {
    **{op: trusted(op) for op in (*_ELEMENTWISE, *_ELEMENTWISE_MORE, *_OTHERS)},
    **{op: trusted(op, constants=(1,)) for op in _REDUCTIONS},
    "Expand": trusted("Expand", constants=(1,)),
    "Tile": trusted("Tile", constants=(1,)),
    **windows.CONVERTERS,
    **pools.CONVERTERS,
    **products.CONVERTERS,
    **quantised_products.CONVERTERS,
    **normalisations.CONVERTERS,
    **activations.CONVERTERS,
    **tensors.CONVERTERS,
    **indexing.CONVERTERS,
    **padding.CONVERTERS,
    **resize.CONVERTERS,
    **grids.CONVERTERS,
}


def find_converter(name: str) -> Converter | None:
    """Return the converter of an ONNX operator, by its name after its domain, or None.

    A registered operator's own comes first.
    """
    op = find(name)
    if op is not None and op.convert is not None:
        return Converter(op.convert, op.refuse, op.constants)
    return CONVERTERS.get(name)

"""The converter table: every ONNX operator that edgeconv compiles.

TVM's own converters stand only where their results were compared with ONNX Runtime's
(`tests/compiler/test_operators.py` repeats it); everything else is ours or refused.
"""

from __future__ import annotations

from edgeconv.compiler.importer import activations, products, tensors, windows
from edgeconv.compiler.importer.converter import Converter, trusted
from edgeconv.compiler.importer.tensors import refuse_open_constants, refuse_resize

_ELEMENTWISE = (
    *("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max"),
    *("Abs", "Neg", "Exp", "Log", "Sqrt", "Reciprocal", "Floor", "Ceil", "Erf", "Tanh"),
    *("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Sigmoid", "HardSigmoid", "Softplus", "Gelu"),
    *("Mish", "Softsign"),
)
_OTHERS = ("Softmax", "LogSoftmax", "Transpose", "Concat", "Sum")

CONVERTERS: dict[str, Converter] = {
    **{op: trusted(op) for op in (*_ELEMENTWISE, *_OTHERS)},
    "ReduceMean": trusted("ReduceMean", refuse_open_constants(1)),
    "ReduceSum": trusted("ReduceSum", refuse_open_constants(1)),
    "ReduceMax": trusted("ReduceMax", refuse_open_constants(1)),
    "Slice": trusted("Slice", refuse_open_constants(1, 2, 3, 4)),
    "Split": trusted("Split", refuse_open_constants(1)),
    "Pad": trusted("Pad", refuse_open_constants(1, 2, 3)),
    "Resize": trusted("Resize", refuse_resize),
    **windows.CONVERTERS,
    **products.CONVERTERS,
    **activations.CONVERTERS,
    **tensors.CONVERTERS,
}

"""Every operator of the converter table against ONNX Runtime, on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from onnx import helper
from onnx_graphs import assert_close, exported, graph_model, run_model

from edgeconv.compiler.importer.table import CONVERTERS

RANDOM = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape, np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@dataclass(frozen=True)
class Case:
    """One node; arrays among the inputs are constants, shapes are computed inputs."""

    op: str
    inputs: Sequence[Any]
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1
    positive: bool = False
    length: int = 64

    def __str__(self) -> str:
        shapes = [i if isinstance(i, tuple) else "const" for i in self.inputs]
        return f"{self.op}{shapes}{self.attributes}"


PLAIN, IMAGE = (2, 5, 7), (2, 6, 9, 7)
UNARY = ["Abs", "Neg", "Exp", "Reciprocal", "Floor", "Ceil", "Erf", "Tanh", "Relu", "Elu", "Selu"]
UNARY += ["Sigmoid", "HardSigmoid", "Softplus", "Gelu", "Mish", "Softsign", "HardSwish"]
CASES = [
    *(Case(op, [IMAGE]) for op in UNARY),
    *(Case(op, [PLAIN], positive=True) for op in ("Log", "Sqrt")),
    Case("LeakyRelu", [IMAGE], {"alpha": 0.2}),
    Case("PRelu", [IMAGE, normal(6, 1, 1)]),
    Case("Clip", [IMAGE, np.float32(-0.3), np.float32(0.7)]),
    Case("Clip", [IMAGE, np.float32(-0.3)]),
    *(Case(op, [IMAGE, IMAGE]) for op in ("Add", "Sub", "Mul", "Div", "Min", "Max", "Sum")),
    *(Case(op, [IMAGE, (1, 6, 1, 1)]) for op in ("Add", "Mul")),
    *(Case(op, [IMAGE, normal(6, 1, 1)]) for op in ("Add", "Mul")),
    Case("Add", [IMAGE, (2, 1, 9, 7)]),
    Case("Mul", [PLAIN, np.float32(3)]),
    Case("Pow", [PLAIN, np.float32(2)]),
    Case("Softmax", [PLAIN], {"axis": -1}),
    Case("Softmax", [IMAGE], {"axis": 1}),
    Case("LogSoftmax", [(3, 10)], {"axis": 1}),
    Case("Transpose", [IMAGE], {"perm": [0, 2, 3, 1]}),
    Case("Concat", [(1, 3, 4, 4), (1, 5, 4, 4)], {"axis": 1}),
    Case("Concat", [PLAIN, PLAIN], {"axis": -1}),
    Case("Reshape", [IMAGE, ints(2, -1)]),
    Case("Flatten", [IMAGE], {"axis": 1}),
    Case("Squeeze", [(2, 1, 5, 1), ints(1, 3)]),
    Case("Unsqueeze", [PLAIN, ints(0, 2)]),
    Case("Identity", [PLAIN]),
    Case("Dropout", [PLAIN]),
    Case("Gather", [PLAIN, ints(3, -1, 0)], {"axis": 1}),
    Case("Slice", [IMAGE, ints(1, 0), ints(6, 9), ints(1, 2), ints(2, 3)]),
    Case("Split", [IMAGE, ints(2, 1, 3)], {"axis": 1}, outputs=3),
    Case("Pad", [IMAGE, ints(0, 0, 1, 2, 0, 0, 3, 1)]),
    Case("Pad", [IMAGE, ints(0, 0, 1, 2, 0, 0, 3, 1)], {"mode": "reflect"}),
    Case("Resize", [IMAGE, np.array([], np.float32), np.array([1, 1, 2, 3], np.float32)]),
    Case(
        "Resize",
        [IMAGE, np.array([], np.float32), np.array([1, 1, 2, 2], np.float32)],
        {"mode": "linear"},
    ),
    Case("ReduceMean", [IMAGE, ints(2, 3)], {"keepdims": 1}),
    Case("ReduceMean", [IMAGE, ints(1)], {"keepdims": 0}),
    Case("ReduceSum", [PLAIN, ints(-1)], {"keepdims": 0}),
    Case("ReduceMax", [IMAGE, ints(2, 3)], {"keepdims": 1}),
    Case("GlobalAveragePool", [IMAGE]),
    Case("GlobalMaxPool", [IMAGE]),
    Case("MaxPool", [IMAGE], {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}),
    Case("MaxPool", [IMAGE], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    Case("MaxPool", [(1, 4, 20)], {"kernel_shape": [3], "dilations": [2], "strides": [3]}),
    Case("MaxPool", [(1, 4, 6, 6, 5)], {"kernel_shape": [2, 3, 2], "auto_pad": "SAME_UPPER"}),
    Case("AveragePool", [IMAGE], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    Case(
        "AveragePool",
        [IMAGE],
        {"kernel_shape": [3, 2], "pads": [1, 1, 0, 0], "count_include_pad": 1},
    ),
    Case("AveragePool", [IMAGE], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    Case("AveragePool", [IMAGE], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    Case("Gemm", [(3, 20), normal(20, 33), normal(33)], {"alpha": 0.5, "beta": 2.0}),
    Case("Gemm", [(20, 3), normal(33, 20)], {"transA": 1, "transB": 1}),
    Case("MatMul", [(2, 3, 20), normal(20, 9)]),
    Case("MatMul", [(1, 130), normal(130, 250)], length=130),
    Case("BatchNormalization", [IMAGE, *(np.abs(normal(6)) + 0.1 for _ in range(4))]),
    Case("Conv", [IMAGE, normal(8, 6, 3, 3)], {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
]


def build(case: Case) -> tuple[Any, dict[str, np.ndarray]]:
    names, inputs, constants = [], {}, {}
    for i, entry in enumerate(case.inputs):
        name = f"i{i}"
        names.append("" if isinstance(entry, np.ndarray) and entry.size == 0 else name)
        if isinstance(entry, tuple):
            array = normal(*entry)
            inputs[name] = np.abs(array) + 0.1 if case.positive else array
        else:
            constants[name] = np.asarray(entry)
    outputs = [f"o{i}" for i in range(case.outputs)]
    node = helper.make_node(case.op, names, outputs, name="node", **case.attributes)
    return graph_model([node], inputs, outputs, constants), inputs


@pytest.mark.parametrize("case", CASES, ids=str)
def test_operator_equals_onnxruntime(case: Case) -> None:
    model, inputs = build(case)
    got = run_model(model, inputs)
    want = exported(model, inputs).golden[0].outputs
    assert got.keys() == want.keys()
    for name, array in want.items():
        assert_close(got[name], array, case.length, f"{case} {name}")


def test_every_converter_is_tested() -> None:
    assert {case.op for case in CASES} == set(CONVERTERS)

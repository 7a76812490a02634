"""Every operator of the converter table against ONNX Runtime, on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from onnx import helper
from onnx_graphs import assert_close, compile_model, exported, graph_model, run_model

from edgeconv.compiler.importer.table import CONVERTERS
from edgeconv.devices import open_session

RANDOM = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape, np.float32)


def weights(*shape: int) -> np.ndarray:
    return normal(*shape) / np.sqrt(np.float32(shape[-1]))


def bytes_of(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 100, shape).astype(np.uint8)


def quantised(scale: float, zero_point: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the parameters of a quantised tensor."""
    return np.float32(scale), np.uint8(zero_point)


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
    opset: int = 20

    def __str__(self) -> str:
        shapes = [i if isinstance(i, tuple) else "const" for i in self.inputs]
        return f"{self.op}{shapes}{self.attributes}"


PLAIN, IMAGE, FRACTION = (2, 5, 7), (2, 6, 9, 7), (3, 11)
SEQUENCE, STATES = (5, 2, 7), [(2, 2, 9)] * 2
PLAIN_BOOL = "bool"
NONE = np.array([], np.float32)
PLACES, UNPOOL = "places", "unpool"
RESIZE = [
    {"mode": "nearest"},
    {"mode": "nearest", "nearest_mode": "ceil", "coordinate_transformation_mode": "asymmetric"},
    {"mode": "nearest", "nearest_mode": "floor"},
    {"mode": "linear"},
    {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"},
    {"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
    {"mode": "cubic"},
    {"mode": "cubic", "exclude_outside": 1},
]
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
    Case("Resize", [IMAGE, NONE, np.array([1, 1, 2, 3], np.float32)]),
    Case(
        "Resize",
        [IMAGE, NONE, np.array([1, 1, 2, 2], np.float32)],
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
    Case("MatMul", [(2, 3, 5, 20), (2, 3, 20, 9)]),
    Case("MatMul", [(3, 5, 20), (2, 1, 20, 16)]),
    Case("MatMul", [(4, 5, 6), normal(4, 6, 7)]),
    Case("BatchNormalization", [IMAGE, *(np.abs(normal(6)) + 0.1 for _ in range(4))]),
    Case("ConvTranspose", [IMAGE, normal(6, 4, 3, 3)], {"strides": [2, 1]}),
    *(Case(op, [IMAGE]) for op in ("Sign", "Round", "Sin", "Cos", "Tan", "Atan")),
    *(Case(op, [FRACTION]) for op in ("Asin", "Acos")),
    Case("ThresholdedRelu", [IMAGE], {"alpha": 0.3}),
    Case("Shrink", [IMAGE], {"bias": 0.1, "lambd": 0.4}),
    Case("Mean", [IMAGE, IMAGE]),
    Case("Where", [normal(2, 5, 7) > 0, PLAIN, PLAIN]),
    Case("Cast", [PLAIN], {"to": 6}),
    Case("CastLike", [PLAIN, np.int32(0)]),
    *(Case(op, [normal(5, 7) > 0, PLAIN_BOOL]) for op in ("And", "Or", "Xor")),
    Case("Not", [PLAIN_BOOL]),
    *(Case(op, [PLAIN, PLAIN]) for op in ("Less", "LessOrEqual", "Greater", "GreaterOrEqual")),
    Case("Equal", [PLAIN, normal(5, 7)]),
    *(Case(op, [PLAIN]) for op in ("IsNaN", "IsInf")),
    Case("Mod", [PLAIN, PLAIN], {"fmod": 1}),
    Case("Einsum", [(2, 5, 7), (2, 7, 3)], {"equation": "bij,bjk->bik"}),
    Case("DepthToSpace", [(1, 12, 3, 5)], {"blocksize": 2}),
    Case("DepthToSpace", [(1, 12, 3, 5)], {"blocksize": 2, "mode": "CRD"}),
    Case("SpaceToDepth", [(1, 3, 6, 4)], {"blocksize": 2}),
    Case("GridSample", [IMAGE, (2, 4, 5, 2)], {"mode": "linear", "padding_mode": "zeros"}),
    Case("GridSample", [IMAGE, (2, 4, 5, 2)], {"mode": "nearest", "padding_mode": "border"}),
    Case("LRN", [IMAGE], {"size": 3}),
    Case("GatherElements", [PLAIN, ints(0, 2, 1).reshape(1, 3, 1)], {"axis": 1}),
    Case("InstanceNormalization", [IMAGE, normal(6), normal(6)]),
    Case("LayerNormalization", [PLAIN, normal(7), normal(7)]),
    *(Case(op, [PLAIN], {"axis": 1, "keepdims": 0}) for op in ("ArgMax", "ArgMin")),
    *(Case(op, [PLAIN, ints(2)]) for op in ("ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2")),
    *(Case(op, [PLAIN, ints(0, 2)]) for op in ("ReduceSumSquare", "ReduceLogSumExp")),
    Case("ReduceLogSum", [PLAIN, ints(1)], positive=True),
    Case("Expand", [(2, 1, 7), ints(2, 5, 7)]),
    Case("Tile", [PLAIN, ints(1, 2, 3)]),
    *(
        Case("Resize", [(1, 5, 6, 7), NONE, np.array(scales, np.float32)], attributes)
        for scales in ([1, 1, 2, 2], [1, 1, 1.5, 0.7], [1, 1, 0.5, 2.3])
        for attributes in RESIZE
    ),
    Case("Resize", [(1, 2, 3, 4, 5), NONE, NONE, ints(1, 2, 6, 5, 9)], {"mode": "linear"}),
    *(
        Case("DeformConv", [(2, 6, 7, 8), normal(4, 6 // g, 3, 2), (2, 12 * og, 6, 8), *rest], a)
        for g, og, rest in ((1, 1, []), (2, 3, [normal(4), (2, 18, 6, 8)]))
        for a in [{"group": g, "offset_group": og, "pads": [1, 0, 0, 1]}]
    ),
    *(Case("Slice", [IMAGE, *map(ints, entries)]) for entries in ((-1, -9, 2, -2), (5, 0, 1, -1))),
    Case("Slice", [PLAIN, ints(-1, 1), ints(-1000, 1000), ints(0, 1), ints(-1, 2)]),
    Case("Pad", [IMAGE, ints(1, -2, 0, 3), np.float32(0.5), ints(-1, 1)]),
    *(
        Case("Pad", [IMAGE, ints(2, 1, 3, 0, 4, 2), NONE, ints(1, 3, 2)], {"mode": m})
        for m in ("edge", "reflect")
    ),
    Case("Pad", [PLAIN, ints(-1, 9), NONE, ints(2)], {"mode": "wrap"}),
    Case("CenterCropPad", [IMAGE, ints(9, 4)], {"axes": [1, -2]}),
    Case("Gather", [PLAIN, PLACES], {"axis": 1}),
    Case("Gather", [normal(9, 4), PLACES]),
    Case("GatherElements", [PLAIN, (PLACES, 2, 3, 7)], {"axis": -2}),
    Case("GatherND", [PLAIN, (PLACES, 2, 3, 1)], {"batch_dims": 1}),
    Case("GatherND", [(5, 5, 3), (PLACES, 4, 2)]),
    *(
        Case("ScatterElements", [PLAIN, ints(3, 0, 3).reshape(1, 3, 1), (1, 3, 1)], attributes)
        for attributes in ({"axis": 1, "reduction": r} for r in ("add", "mul", "min", "max"))
    ),
    Case("ScatterElements", [PLAIN, ints(3, 0, 2).reshape(1, 3, 1), (1, 3, 1)], {"axis": 1}),
    *(
        Case("ScatterND", [PLAIN, ints(1, 3, 1, 3, 0, -1).reshape(3, 2), (3, 7)], {"reduction": r})
        for r in ("add", "mul", "min", "max")
    ),
    Case("ScatterND", [PLAIN, ints(1, 3, 0, -1).reshape(2, 2), (2, 7)]),
    Case("OneHot", [(PLACES, 2, 3), ints(4), normal(2)], {"axis": 1}),
    Case("ReverseSequence", [PLAIN, ints(3, 1)], {"batch_axis": 0, "time_axis": 1}),
    Case("MaxPool", [IMAGE], {"kernel_shape": [2, 3], "pads": [1, 1, 0, 1]}, outputs=2),
    Case("MaxPool", [IMAGE], {"kernel_shape": [2, 2], "storage_order": 1}, outputs=2),
    Case("MaxUnpool", [(1, 2, 2, 3), UNPOOL], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    *(
        Case("AveragePool", [IMAGE], {"kernel_shape": [3, 4], "strides": [2, 3], **attributes})
        for attributes in [{"pads": [1, 2, 1, 1], "count_include_pad": 1, "ceil_mode": 1}]
    ),
    *(Case("LpPool", [IMAGE], {"kernel_shape": [2, 3], "p": p}) for p in (1, 2, 3)),
    *(Case("GlobalLpPool", [IMAGE], {"p": p}) for p in (1, 2, 3)),
    Case("Gemm", [(3, 20), (20, 33), (33,)], {"alpha": 0.5, "beta": 2.0}),
    Case("Gemm", [(20, 3), (33, 20), (3, 1)], {"transA": 1, "transB": 1}),
    *(Case("MatMul", shapes) for shapes in ([(20,), (2, 20, 9)], [(2, 3, 20), (20,)])),
    Case("MatMul", [(20,), (20,)]),
    Case("BatchNormalization", [(2, 6, 5), (6,), (6,), (6,), (6,)], positive=True),
    *(Case("LayerNormalization", [PLAIN, (5, 7), (7,)], {"axis": 1}, outputs=3) for _ in [0]),
    Case("GroupNormalization", [IMAGE, normal(6), normal(6)], {"num_groups": 3}, opset=23),
    Case("RMSNormalization", [PLAIN, normal(5, 7)], {"axis": 1}, opset=23),
    *(Case("LpNormalization", [PLAIN], {"axis": 1, "p": p}) for p in (1, 2)),
    Case("LRN", [IMAGE], {"size": 5, "alpha": 0.01, "bias": 2.0}),
    Case("Col2Im", [(2, 3 * 6, 12), ints(4, 6), ints(2, 3)]),
    Case("ConvTranspose", [IMAGE, (6, 4, 3, 2), (8,)], {"strides": [2, 1], "group": 2}),
    Case("ConvTranspose", [IMAGE, (6, 4, 3, 2)], {"dilations": [2, 3], "pads": [1, 2, 0, 1]}),
    Case(
        "ConvTranspose", [IMAGE, normal(6, 4, 2, 2)], {"strides": [3, 3], "output_shape": [27, 21]}
    ),
    *(
        Case("Resize", [(1, 5, 6, 7), NONE, NONE, ints(1, 5, *size)], {"mode": mode, **attributes})
        for size in ((4, 3), (9, 2))
        for mode in ("linear", "cubic")
        for attributes in ({"antialias": 1}, {"antialias": 1, "exclude_outside": 1})
    ),
    *(
        Case(
            "Resize",
            [(1, 5, 6, 7), region, NONE, ints(4, 6)],
            {"mode": mode, "axes": [2, 3], **crop},
        )
        for region in [np.array([0.2, -0.3, 0.9, 1.2], np.float32)]
        for mode in ("nearest", "linear", "cubic")
        for crop in [
            {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 9.0}
        ]
    ),
    *(
        Case(
            "Resize",
            [(1, 5, 6, 7), NONE, NONE, ints(4, 9)],
            {"axes": [2, 3], "keep_aspect_ratio_policy": p},
        )
        for p in ("not_larger", "not_smaller")
    ),
    *(
        Case("GridSample", [(2, 3, 4, 5), (2, 3, 4, 2)], attributes)
        for attributes in (
            {"mode": mode, "padding_mode": padding, "align_corners": corners}
            for mode in ("nearest", "linear", "cubic")
            for padding in ("zeros", "border", "reflection")
            for corners in (0, 1)
        )
    ),
    Case("GridSample", [(1, 2, 3, 4, 5), (1, 2, 3, 4, 3)], {"padding_mode": "reflection"}),
    *(Case("AffineGrid", [(2, 2, 3), ints(2, 3, 4, 5)], {"align_corners": a}) for a in (0, 1)),
    Case("AffineGrid", [(2, 3, 4), ints(2, 3, 4, 5, 6)]),
    Case("MatMulInteger", [("uint8", 2, 3, 20), bytes_of(20, 9), np.uint8(7), bytes_of(9)]),
    Case("MatMulInteger", [("uint8", 3, 20), ("int8", 20, 9), NONE, np.int8(-3)]),
    *(
        Case(
            "QLinearMatMul",
            [("uint8", 3, 20), *quantised(0.2, 7), b, *quantised(0.1, 9), *quantised(3.0, 99)],
        )
        for b in (("uint8", 20, 9), bytes_of(20, 9))
    ),
    Case(
        "ConvInteger",
        [("uint8", 1, 6, 9, 7), bytes_of(8, 6, 3, 3), np.uint8(7), np.uint8(9)],
        {"pads": [1, 1, 0, 2]},
    ),
    Case("ConvInteger", [("uint8", 1, 6, 9, 7), ("uint8", 8, 3, 3, 3)], {"group": 2}),
    *(
        Case(
            "QLinearConv",
            [
                ("uint8", 1, 6, 9, 7),
                *quantised(0.2, 7),
                w,
                scale,
                np.full(8, zero, np.uint8),
                *quantised(3.0, 99),
                ints(*range(8)).astype(np.int32),
            ],
            {"pads": [1, 0, 1, 2], "strides": [1, 2]},
        )
        for w in (bytes_of(8, 6, 3, 3), ("uint8", 8, 6, 3, 3))
        for scale, zero in [(np.linspace(0.1, 0.2, 8, dtype=np.float32), np.uint8(50))]
    ),
    *(
        Case(
            "DeformConv",
            [(2, 6, 7, 8), (4, 3, 3, 2), (2, 36, 6, 8), (4,), (2, 18, 6, 8)],
            attributes,
        )
        for attributes in [{"group": 2, "offset_group": 3, "pads": [1, 0, 0, 1]}]
    ),
    Case("Conv", [IMAGE, normal(8, 6, 3, 3)], {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    *(Case(op, [IMAGE]) for op in ("Celu", "Sinh", "Cosh", "Asinh", "Hardmax")),
    Case("Atanh", [FRACTION]),
    Case("Acosh", [np.array([1, 1.5, 7], np.float32)]),
    *(Case(f"Bitwise{op}", [PLACES, PLACES]) for op in ("And", "Or", "Xor")),
    Case("BitwiseNot", [PLACES]),
    *(
        Case("BitShift", [np.uint8([200, 7, 1]), np.uint8([1, 3, 7])], {"direction": direction})
        for direction in ("LEFT", "RIGHT")
    ),
    Case("CumSum", [PLAIN, np.int64(1)], {"reverse": 1, "exclusive": 1}),
    Case("TopK", [PLAIN, ints(3)], {"axis": 1}, outputs=2),
    Case("TopK", [PLAIN, ints(2)], {"largest": 0}, outputs=2),
    Case("Trilu", [PLAIN, np.int64(1)]),
    Case("Trilu", [PLAIN, np.int64(-2)], {"upper": 0}),
    Case("QuantizeLinear", [PLAIN, np.float32(0.03), np.uint8(100)]),
    Case("QuantizeLinear", [PLAIN, np.full(5, 0.2, np.float32), np.arange(5).astype(np.int8)]),
    Case("DequantizeLinear", [np.arange(-9, 9).astype(np.int8), np.float32(0.1), np.int8(3)]),
    Case("ConstantOfShape", [ints(2, 3)]),
    Case("EyeLike", [FRACTION]),
    Case("Range", [np.int64(1), np.int64(9), np.int64(3)]),
    *(Case(op, [PLAIN]) for op in ("Shape", "Size")),
    Case(
        "LSTM",
        [
            SEQUENCE,
            *(weights(2, 36, n) for n in (7, 9)),
            normal(2, 72),
            NONE,
            *STATES,
            normal(2, 27),
        ],
        {"hidden_size": 9, "direction": "bidirectional"},
        outputs=3,
    ),
    *(
        Case(
            "GRU",
            [SEQUENCE, *(weights(1, 48, n) for n in (7, 16)), normal(1, 96)],
            {"hidden_size": 16, "direction": "reverse", "linear_before_reset": linear},
            outputs=2,
        )
        for linear in (0, 1)
    ),
    Case("RNN", [SEQUENCE, weights(1, 9, 7), weights(1, 9, 9)], {"hidden_size": 9}, outputs=2),
]
# Newer than ONNX Runtime; the standard's backend tests have them.
UNKNOWN_TO_ONNXRUNTIME = {"BitCast", "CumProd"}


def build(*cases: Case) -> tuple[Any, dict[str, np.ndarray]]:
    """Return one model that holds every case side by side, and its inputs."""
    nodes, inputs, constants, results = [], {}, {}, []
    for number, case in enumerate(cases):
        names = []
        for i, entry in enumerate(case.inputs):
            name = f"i{number}_{i}"
            names.append("" if entry is NONE else name)
            if isinstance(entry, tuple) and entry[0] in ("int8", "uint8"):
                inputs[name] = RANDOM.integers(0, 100, entry[1:]).astype(entry[0])
            elif entry is PLACES or (isinstance(entry, tuple) and entry[0] is PLACES):
                shape = (2, 3) if entry is PLACES else entry[1:]
                inputs[name] = RANDOM.integers(-3, 3, shape)
            elif entry is UNPOOL:
                inputs[name] = ints(5, 3, 9, 17, 16, 23, 24, 26, 28, 47, 40, 43).reshape(1, 2, 2, 3)
            elif entry is PLAIN_BOOL:
                inputs[name] = normal(*PLAIN) > 0
            elif entry is FRACTION:
                inputs[name] = np.clip(normal(*entry) / 3, -0.99, 0.99)
            elif isinstance(entry, tuple):
                array = normal(*entry)
                inputs[name] = np.abs(array) + 0.1 if case.positive else array
            elif entry is not NONE:
                constants[name] = np.asarray(entry)
        outputs = [f"o{number}_{i}" for i in range(case.outputs)]
        results += outputs
        nodes.append(
            helper.make_node(case.op, names, outputs, name=f"node{number}", **case.attributes)
        )
    opset = max(case.opset for case in cases)
    return graph_model(nodes, inputs, results, constants, opset), inputs


@pytest.mark.parametrize("case", CASES, ids=str)
def test_operator_equals_onnxruntime(case: Case) -> None:
    model, inputs = build(case)
    got = run_model(model, inputs)
    want = exported(model, inputs).golden[0].outputs
    assert got.keys() == want.keys()
    for name, array in want.items():
        assert_close(got[name], array, case.length, f"{case} {name}")


@pytest.mark.parametrize("target", ["rasp4", "rasp2"])
@pytest.mark.parametrize("opset", [20, 23])
def test_operators_equal_onnxruntime_under_emulation(target: str, opset: int) -> None:
    cases = [case for case in CASES if case.opset == opset]
    model, inputs = build(*cases)
    got = open_session(compile_model(model, inputs, target), None).run(inputs)
    want = exported(model, inputs).golden[0].outputs
    for number, case in enumerate(cases):
        for i in range(case.outputs):
            name = f"o{number}_{i}"
            assert_close(got[name], want[name], case.length, f"{case} {name}")


def test_every_converter_is_tested() -> None:
    assert {case.op for case in CASES} == {*CONVERTERS, "DeformConv"} - UNKNOWN_TO_ONNXRUNTIME

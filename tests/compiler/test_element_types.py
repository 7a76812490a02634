"""A network in half and in double precision, from a file to an artifact that every CPU verifies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import edgeconv
from edgeconv.errors import UnsupportedModelError

DRAW = np.random.default_rng(0)
TYPES = {"float16": onnx.TensorProto.FLOAT16, "float64": onnx.TensorProto.DOUBLE}


def network(path: Path, dtype: str) -> Path:
    """Write a network with every operator that sums, each in the layouts that it can have."""
    constants: dict[str, np.ndarray] = {}

    def weight(*shape: int) -> str:
        name = f"w{len(constants)}"
        scale = np.sqrt(np.prod(shape[1:]))
        constants[name] = (DRAW.standard_normal(shape) / scale).astype(dtype)
        return name

    def positive(count: int) -> str:
        name = weight(count)
        constants[name] = np.abs(constants[name]) + np.asarray(0.5, dtype)
        return name

    node = helper.make_node
    same = {"pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", ["x", weight(16, 3, 3, 3), weight(16)], ["stem"], **same),
        node("BatchNormalization", ["stem", *(positive(16) for _ in range(4))], ["norm"]),
        node("Relu", ["norm"], ["active"]),
        node("Conv", ["active", weight(16, 1, 3, 3)], ["depthwise"], group=16, **same),
        node("Tanh", ["depthwise"], ["tanh"]),
        node("Conv", ["tanh", weight(24, 16, 1, 1), weight(24)], ["pointwise"]),
        node("Conv", ["pointwise", weight(6, 8, 3, 3)], ["grouped"], group=3, strides=[2, 2]),
        node("ConvTranspose", ["grouped", weight(6, 5, 2, 2)], ["wide"], strides=[2, 2]),
        node("MaxPool", ["wide"], ["largest"], kernel_shape=[2, 2]),
        node("AveragePool", ["largest"], ["mean"], kernel_shape=[3, 3], **same),
        node("Sigmoid", ["mean"], ["sigmoid"]),
        node("InstanceNormalization", ["sigmoid", positive(5), weight(5)], ["instance"]),
        node("GlobalAveragePool", ["instance"], ["pooled"]),
        node("Flatten", ["pooled"], ["row"]),
        node("Gemm", ["row", weight(5, 9), weight(9)], ["gemm"]),
        node("LayerNormalization", ["gemm", weight(9), weight(9)], ["layer"]),
        node("MatMul", ["layer", weight(9, 7)], ["product"]),
        node("Softmax", ["product"], ["chances"]),
        node("Transpose", ["product"], ["column"]),
        node("MatMul", ["column", "product"], ["outer"]),
        node("ReduceSum", ["outer"], ["total"]),
    ]
    graph = helper.make_graph(
        nodes,
        dtype,
        [helper.make_tensor_value_info("x", TYPES[dtype], [1, 3, 11, 10])],
        [helper.make_empty_tensor_value_info(name) for name in ("instance", "chances", "total")],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    path.write_bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())
    return path


@pytest.mark.parametrize("target", ["host", "rasp4", "rasp2"])
@pytest.mark.parametrize("dtype", TYPES)
def test_network_equals_its_reference(tmp_path: Path, dtype: str, target: str) -> None:
    artifact = edgeconv.compile(network(tmp_path / f"{dtype}.onnx", dtype), target=target)
    assert {tensor.dtype for tensor in artifact.plan.outputs} == {dtype}
    report = artifact.verify()
    report.raise_if_failed()
    # Sums of halves, or of doubles with weights in single precision, would be far beyond.
    assert max(output.tolerance for output in report.outputs) < 200 * np.finfo(dtype).eps


def test_what_has_single_digits_only_is_refused_in_double(tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TYPES["float64"], [3])
    node = helper.make_node("Erf", ["x"], ["y"])
    y = helper.make_tensor_value_info("y", TYPES["float64"], [3])
    graph = helper.make_graph([node], "erf", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    (tmp_path / "erf.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UnsupportedModelError, match="double precision"):
        edgeconv.compile(tmp_path / "erf.onnx")

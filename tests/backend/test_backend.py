"""The backend's interface; `test_onnx_backend.py` runs the ONNX standard's own tests through it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from edgeconv import backend
from edgeconv.errors import UnsupportedModelError, UsageError

FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


def model(nodes, inputs, outputs, opset: int = 20) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    return onnx.shape_inference.infer_shapes(model)


def test_a_prepared_model_runs_again_with_other_shapes_and_settings() -> None:
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    inputs = {"x": (FLOAT, ["a", "b"]), "shape": (INT64, [2])}
    prepared = backend.prepare(model(nodes, inputs, ["y"]))
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    for array, shape in ((x, [4, 3]), (x + 1, [4, 3]), (x, [-1, 2]), (x[:2], [1, 8])):
        (result,) = prepared.run([array, np.array(shape)])
        np.testing.assert_array_equal(result, array.reshape(shape))


def test_run_model_returns_outputs_in_order() -> None:
    nodes = [helper.make_node("Neg", ["x"], ["n"]), helper.make_node("Abs", ["n"], ["a"])]
    x = np.array([1, -2], np.float32)
    outputs = backend.run_model(model(nodes, {"x": (FLOAT, [2])}, ["n", "a"]), [x])
    np.testing.assert_array_equal(outputs, [-x, np.abs(x)])


def test_run_node() -> None:
    node = helper.make_node("ReduceSum", ["x"], ["z"], keepdims=0)
    (result,) = backend.run_node(node, [np.ones((2, 3), np.float32)], opset_version=18)
    np.testing.assert_array_equal(result, np.float32(6))


def test_an_operator_without_converter_is_computed_by_its_definition() -> None:
    x = np.random.default_rng(0).standard_normal((3, 5), np.float32)
    target = np.array([1, 0, 4])
    node = helper.make_node("SoftmaxCrossEntropyLoss", ["x", "target"], ["loss"])
    (got,) = backend.run_node(node, [x, target], opset_version=20)
    logarithms = x - np.log(np.exp(x).sum(1, keepdims=True))
    np.testing.assert_allclose(got, -logarithms[np.arange(3), target].mean(), rtol=1e-5)


def test_devices() -> None:
    assert backend.supports_device("CPU")
    assert backend.supports_device("CPU:0")
    assert not backend.supports_device("CUDA")
    with pytest.raises(UsageError, match="CUDA"):
        backend.prepare(model([], {}, []), "CUDA")


def test_what_is_refused() -> None:
    nodes = [helper.make_node("NonZero", ["x"], ["y"])]
    prepared = backend.prepare(model(nodes, {"x": (FLOAT, [2])}, ["y"]))
    with pytest.raises(UnsupportedModelError, match="not known before"):
        prepared.run([np.ones(2, np.float32)])
    with pytest.raises(UsageError, match="2 inputs were given"):
        prepared.run([np.ones(2, np.float32)] * 2)
    with pytest.raises(UsageError, match="cannot have the shape"):
        prepared.run([np.ones(3, np.float32)])


@pytest.mark.parametrize("shape", [(2, 3, 4, 3), (2, 3)])
def test_slopes_of_an_old_prelu_lie_along_the_channels(shape: tuple[int, ...]) -> None:
    slopes = np.array([0.1, 0.2, 0.3], np.float32)
    graph = helper.make_graph(
        [helper.make_node("PRelu", ["x", "slopes"], ["y"])],
        "prelu",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)],
        [onnx.numpy_helper.from_array(slopes, "slopes")],
    )
    old = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 6)], ir_version=4)
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    (got,) = backend.run_model(old, [x])
    aligned = slopes.reshape(3, *[1] * (len(shape) - 2))
    np.testing.assert_array_equal(got, np.where(x < 0, x * aligned, x))

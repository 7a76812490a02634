"""Shapes without elements are refused before anything runs, and the message names the layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import edgeconv
from edgeconv.errors import UnsupportedModelError, UsageError


@pytest.mark.parametrize("kernel", [4, 5, 9])
@pytest.mark.parametrize("op", ["Conv", "MaxPool", "AveragePool"])
def test_a_window_larger_than_its_padded_input(op: str, kernel: int, tmp_path: Path) -> None:
    convolves = op == "Conv"
    node = helper.make_node(op, ["x", "w"] if convolves else ["x"], ["y"], name="wide")
    if not convolves:
        node.attribute.append(helper.make_attribute("kernel_shape", [kernel, kernel]))
    weight = numpy_helper.from_array(np.ones((4, 3, kernel, kernel), np.float32), "w")
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 3, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)],
        [weight] if convolves else [],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(UnsupportedModelError, match=rf"y \({op} wide\).*no elements"):
        edgeconv.export(tmp_path / "net.onnx")


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (1, 3, 0, 8)])
def test_an_example_without_elements(shape: tuple[int, ...]) -> None:
    module = torch.nn.Conv2d(3, 4, 3, padding=2)
    with pytest.raises(UsageError, match="every dimension must be 1 or more"):
        edgeconv.export(module, [torch.zeros(shape)])


def test_an_output_without_elements() -> None:
    class Nothing(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :0] * 2

    with pytest.raises(UnsupportedModelError, match="no elements"):
        edgeconv.export(Nothing(), [torch.zeros(1, 3, 4, 4)])

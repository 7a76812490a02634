"""Transposed convolutions with an output padding of a stride or more, as PyTorch allows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import edgeconv
from edgeconv.exporter import relative_error
from edgeconv.exporter.graph import attribute
from edgeconv.verify import verify

KINDS = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


@st.composite
def layers(draw: st.DrawFn) -> tuple[nn.Module, torch.Tensor]:
    rank = draw(st.integers(1, 3))
    stride = draw(st.integers(1, 3))
    dilation = draw(st.integers(stride + 1, stride + 3))
    groups = draw(st.sampled_from([1, 2]))
    layer = KINDS[rank](
        2 * groups,
        3 * groups,
        draw(st.integers(1, 3)),
        stride=stride,
        padding=draw(st.integers(0, 2)),
        output_padding=draw(st.integers(stride, dilation - 1)),
        groups=groups,
        dilation=dilation,
    )
    sizes = [draw(st.integers(4, 6)) for _ in range(rank)]
    return layer.eval(), torch.randn(2, 2 * groups, *sizes)


@given(layers())
@settings(max_examples=25, deadline=None)
def test_onnx_runtime_takes_the_export_and_agrees(case: tuple[nn.Module, torch.Tensor]) -> None:
    # `export` raises where ONNX Runtime refuses the model, or differs from PyTorch.
    layer, x = case
    (node,) = edgeconv.export(layer, x).model.graph.node
    strides = attribute(node, "strides", None)
    assert all(e < s for e, s in zip(attribute(node, "output_padding", None), strides, strict=True))


@pytest.mark.parametrize("target", ["host", "rasp4"])
def test_an_artifact_computes_what_pytorch_does(target: str) -> None:
    layer = nn.ConvTranspose2d(4, 6, 3, dilation=(3, 2), output_padding=(2, 1), padding=(0, 1))
    artifact = edgeconv.compile(layer.eval(), torch.randn(1, 4, 5, 6), target=target)
    (_, outputs), *_ = artifact.golden_cases()
    assert outputs["output"].shape == (1, 6, 13, 9)
    assert verify(artifact).passed


def test_a_file_that_onnx_runtime_refuses_is_exported(tmp_path: Path) -> None:
    weight = np.random.default_rng(1).standard_normal((1, 1, 2, 2), np.float32)
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], dilations=[2, 2])
    node.attribute.append(helper.make_attribute("output_padding", [1, 1]))
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 7, 7])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "net.onnx")
    exported = edgeconv.export(tmp_path / "net.onnx")
    (case, *_) = exported.golden
    want = torch.nn.functional.conv_transpose2d(
        torch.from_numpy(case.inputs["x"]), torch.from_numpy(weight), dilation=2, output_padding=1
    )
    assert relative_error(case.outputs["y"], want.numpy()) < 1e-6
    # Nothing refers to the weights without zeros any more.
    assert [list(tensor.dims) for tensor in exported.model.graph.initializer] == [[1, 1, 3, 3]]

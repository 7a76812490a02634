"""Pools that round up where ONNX's shape inference counts a window too many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import edgeconv
from edgeconv.exporter import reference_values

# Size, kernel, strides and pads: a last window inside the padding, alone or next to an axis
# where it hangs over.
CASES = [
    ((6, 6), (1, 1), (1, 3), (0, 0, 0, 0)),
    ((3, 4), (1, 3), (3, 2), (0, 0, 0, 0)),
    ((4, 7), (2, 3), (3, 3), (1, 1, 1, 0)),
    ((6, 6), (2, 2), (4, 4), (0, 0, 1, 1)),
]


def pooled_twice(op: str, case: tuple[tuple[int, ...], ...], counted: int) -> onnx.ModelProto:
    size, kernel, strides, pads = case
    attributes = {"kernel_shape": kernel, "strides": strides, "pads": pads, "ceil_mode": 1}
    if op == "AveragePool":
        attributes["count_include_pad"] = counted
    outputs = ["y", "places"] if op == "MaxPool" else ["y"]
    nodes = [
        helper.make_node(op, ["x"], outputs, name="pool", **attributes),
        helper.make_node("AveragePool", ["y"], ["z"], kernel_shape=[1, 1], strides=[1, 3]),
    ]
    nodes[1].attribute.append(helper.make_attribute("ceil_mode", 1))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, *size])],
        [
            helper.make_tensor_value_info(
                name, TensorProto.INT64 if name == "places" else TensorProto.FLOAT, [None] * 4
            )
            for name in [*outputs, "z"]
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("op", "counted"), [("MaxPool", 0), ("AveragePool", 0), ("AveragePool", 1), ("LpPool", 0)]
)
def test_the_export_computes_the_same(
    op: str, counted: int, case: tuple[tuple[int, ...], ...], tmp_path: Path
) -> None:
    model = pooled_twice(op, case, counted)
    x = np.random.default_rng(1).standard_normal((2, 3, *case[0]), np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [value.name for value in session.get_outputs()]
    wanted = dict(zip(names, session.run(names, {"x": x}), strict=True))
    onnx.save(model, tmp_path / "net.onnx")
    exported = edgeconv.export(tmp_path / "net.onnx")
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in exported.model.graph.output
    }
    assert shapes == {name: list(value.shape) for name, value in wanted.items()}
    for name, value in reference_values(exported.model, {"x": x}, names).items():
        np.testing.assert_array_equal(value, wanted[name])

"""NaN, infinity and large logits come out as PyTorch and ONNX Runtime give them, on every CPU."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from onnx_graphs import compile_model, exported, graph_model, run_model

from edgeconv.devices import open_session

NAN, INF = float("nan"), float("inf")
VALUES = np.array([NAN, INF, -INF, 0, -2, 3, NAN, 7, 1, 2, 3, 4, -INF, -INF, 5, NAN], np.float32)
LOGITS = np.array([1e4, -1e4, 9999, 150, 0, -INF, 200, 1e4], np.float32)
LOW, HIGH = np.float32(-1), np.float32(2)


def model():
    """One model with every operator that selects, bounds or normalises."""
    node = helper.make_node
    nodes = [
        node("Relu", ["x"], ["relu"]),
        node("Clip", ["x", "low", "high"], ["clip"]),
        node("Clip", ["x", "low"], ["clip_low"]),
        node("Max", ["x", "reversed"], ["max"]),
        node("Min", ["x", "reversed"], ["min"]),
        node("LeakyRelu", ["x"], ["leaky"]),
        node("MaxPool", ["image"], ["pool"], kernel_shape=[2, 2]),
        node("ReduceMax", ["image", "rows"], ["reduce_max"]),
        node("ReduceMin", ["image", "rows"], ["reduce_min"]),
        node("ReduceSum", ["image", "rows"], ["reduce_sum"]),
        node("Softmax", ["logits"], ["softmax"]),
        node("IsNaN", ["x"], ["is_nan"]),
        node("IsInf", ["x"], ["is_inf"]),
        node("TopK", ["finite", "two"], ["values", "places"], axis=-1),
    ]
    inputs = {
        "x": VALUES,
        "reversed": VALUES[::-1].copy(),
        "image": VALUES.reshape(1, 1, 4, 4),
        "logits": LOGITS.reshape(1, 8),
        "finite": np.array([[INF, 1, -INF, 1]], np.float32),
    }
    constants = {"low": LOW, "high": HIGH, "rows": np.array([3]), "two": np.array([2])}
    outputs = [name for each in nodes for name in each.output]
    return graph_model(nodes, inputs, outputs, constants), inputs


@pytest.mark.parametrize("target", ["host", "rasp4", "rasp2"])
def test_special_values_equal_onnxruntime(target: str) -> None:
    network, inputs = model()
    if target == "host":
        got = run_model(network, inputs)
    else:
        got = open_session(compile_model(network, inputs, target), None).run(inputs)
    want = exported(network, inputs).golden[0].outputs
    # ONNX Runtime bounds by the greatest finite number; PyTorch and the definition do not.
    want["clip_low"] = np.maximum(VALUES, LOW)
    # ONNX Runtime's own pooling and reductions drop NaN; PyTorch's, and those here, keep it.
    rows = VALUES.reshape(1, 1, 4, 4)
    want["pool"] = np.lib.stride_tricks.sliding_window_view(rows, (2, 2), (2, 3)).max((4, 5))
    want["reduce_max"], want["reduce_min"] = rows.max(3, keepdims=True), rows.min(3, keepdims=True)
    for name, array in want.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-6, err_msg=name)
    assert np.isnan(got["relu"]).sum() == 3

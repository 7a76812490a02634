"""Tensors that lie inside others in memory, by what the plan shows of them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_graphs import assert_close, compile_model, exported, graph_model, run_model

from edgeconv.plan import Plan, Step

RANDOM = np.random.default_rng(5)


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape, np.float32)


def check(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> Plan:
    got = run_model(model, inputs)
    for name, want in exported(model, inputs).golden[0].outputs.items():
        assert_close(got[name], want, 4000, name)
    return compile_model(model, inputs).plan


def pads(plan: Plan) -> list[Step]:
    return [step for step in plan.steps if step.family == "pad"]


@pytest.mark.parametrize("channels", [16, 20])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_what_is_padded_is_written_where_it_is_read(rank: int, channels: int) -> None:
    inputs = {"x": normal(2, 16, *(7, 6, 5)[:rank])}
    wide = {"dilations": [2] * rank, "pads": [2] * rank + [3] * rank}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["v"]),
        # Two borders of different width, and readers without any.
        helper.make_node("Conv", ["v", "w3"], ["b"], pads=[1] * rank + [0] * rank, name="narrow"),
        helper.make_node("Conv", ["v", "w3"], ["wide"], **wide, name="wide"),
        helper.make_node("Conv", ["b", "w3"], ["c"], pads=[2] * rank + [1] * rank, name="second"),
        helper.make_node("Add", ["c", "v"], ["sum"]),
        helper.make_node("MaxPool", ["v"], ["pool"], kernel_shape=[2] * rank),
    ]
    constants = {
        "w1": normal(channels, 16, *(1,) * rank),
        "w3": normal(channels, channels, *(3,) * rank),
    }
    model = graph_model(nodes, inputs, ["sum", "wide", "pool"], constants)
    plan = check(model, inputs)
    assert [step.inputs for step in pads(plan)] == [()] * 3
    for step in pads(plan):
        (border,) = (plan.buffers[index] for index in step.outputs)
        assert border.frame
    assert sum(bool(buffer.frame) for buffer in plan.buffers) >= 5


def test_what_has_to_lie_in_a_row_is_copied() -> None:
    inputs = {"x": normal(1, 16, 6, 6)}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["v"]),
        # A pointwise convolution takes pixels in one row.
        helper.make_node("Conv", ["v", "w1"], ["y"]),
        helper.make_node("Conv", ["v", "w3"], ["z"], pads=[1] * 4),
    ]
    constants = {"w1": normal(16, 16, 1, 1), "w3": normal(16, 16, 3, 3)}
    plan = check(graph_model(nodes, inputs, ["y", "z"], constants), inputs)
    (pad,) = pads(plan)
    assert len(pad.inputs) == 1
    assert not any(buffer.frame for buffer in plan.buffers)

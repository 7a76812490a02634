"""Graph passes, by what the plan shows of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import helper
from onnx_graphs import assert_close, compile_model, exported, graph_model, run_model
from torch import nn

import edgeconv
from edgeconv.devices import open_session

RANDOM = np.random.default_rng(3)
X = RANDOM.standard_normal((2, 16, 12, 12), np.float32)


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape, np.float32)


def check(model, inputs, length: int = 4000) -> None:
    got = run_model(model, inputs)
    for name, want in exported(model, inputs).golden[0].outputs.items():
        assert_close(got[name], want, length, name)


def steps(model, inputs) -> list[str]:
    return [step.family for step in compile_model(model, inputs).plan.steps]


def conv(x: str, w: str, y: str, **attributes) -> object:
    return helper.make_node("Conv", [x, w], [y], name=f"conv_{y}", **attributes)


def test_batch_norm_and_activation_become_part_of_the_convolution() -> None:
    nodes = [
        conv("x", "w", "a", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["a", "s", "t", "m", "v"], ["b"], name="norm"),
        helper.make_node("Relu", ["b"], ["y"], name="relu"),
    ]
    constants = {"w": normal(32, 16, 3, 3), "v": np.abs(normal(32)) + 0.1}
    constants |= {name: normal(32) for name in ("s", "t", "m")}
    model = graph_model(nodes, {"x": X}, ["y"], constants)
    check(model, {"x": X})
    plan = compile_model(model, {"x": X}).plan
    (step,) = [step for step in plan.steps if step.family == "conv"]
    assert step.layers == ("conv_a", "norm", "relu")
    assert not any(step.family == "elementwise" for step in plan.steps)


def test_convolution_that_is_read_twice_is_computed_once() -> None:
    nodes = [
        conv("x", "w", "a"),
        helper.make_node("Mul", ["a", "half"], ["b"], name="scale"),
        helper.make_node("Add", ["a", "b"], ["y"], name="add"),
    ]
    constants = {"w": normal(32, 16, 1, 1), "half": np.float32(0.5)}
    model = graph_model(nodes, {"x": X}, ["y"], constants)
    check(model, {"x": X})
    assert steps(model, {"x": X}).count("conv") == 1


def test_residual_joins_the_later_convolution() -> None:
    nodes = [
        conv("x", "w1", "a"),
        conv("a", "w2", "b"),
        helper.make_node("Add", ["b", "a"], ["c"], name="add"),
        helper.make_node("Relu", ["c"], ["y"], name="relu"),
    ]
    constants = {"w1": normal(20, 16, 1, 1), "w2": normal(20, 20, 1, 1)}
    model = graph_model(nodes, {"x": X}, ["y"], constants)
    check(model, {"x": X})
    fused = [step.layers for step in compile_model(model, {"x": X}).plan.steps]
    assert ("conv_b", "add", "relu") in fused


def test_squeeze_and_excite_scales_in_blocks() -> None:
    nodes = [
        conv("x", "w1", "a"),
        helper.make_node("GlobalAveragePool", ["a"], ["p"], name="pool"),
        conv("p", "w2", "q"),
        helper.make_node("Sigmoid", ["q"], ["g"], name="gate"),
        helper.make_node("Mul", ["a", "g"], ["y"], name="scale"),
    ]
    constants = {"w1": normal(24, 16, 1, 1), "w2": normal(24, 24, 1, 1)}
    model = graph_model(nodes, {"x": X}, ["y"], constants)
    check(model, {"x": X})


def test_unequal_channel_blocks_meet() -> None:
    """31 and 4 channels take blocks of unlike width; concatenation and slices mix them."""
    nodes = [
        conv("x", "w1", "a"),
        conv("x", "w2", "b"),
        helper.make_node("Concat", ["a", "b"], ["c"], name="concat", axis=1),
        conv("c", "w3", "d"),
        helper.make_node("Split", ["d", "parts"], ["e", "f"], name="split", axis=1),
        helper.make_node("Mul", ["e", "f"], ["y"], name="mul"),
    ]
    constants = {"w1": normal(31, 16, 1, 1), "w2": normal(4, 16, 1, 1)}
    constants |= {"w3": normal(10, 35, 1, 1), "parts": np.array([5, 5])}
    check(graph_model(nodes, {"x": X}, ["y"], constants), {"x": X})


def test_outputs_that_are_inputs_or_each_other_have_their_own_memory() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["y"], name="relu"),
        helper.make_node("Flatten", ["x"], ["flat"], name="flatten"),
        helper.make_node("Identity", ["y"], ["same"], name="identity"),
    ]
    check(graph_model(nodes, {"x": X}, ["y", "flat", "same"]), {"x": X})


def test_intermediate_value_can_be_an_output_too() -> None:
    nodes = [conv("x", "w", "a"), helper.make_node("Relu", ["a"], ["y"], name="relu")]
    model = graph_model(nodes, {"x": X}, ["y", "a"], {"w": normal(33, 16, 3, 3)})
    check(model, {"x": X})


def test_several_inputs() -> None:
    other = normal(2, 1, 12, 12)
    nodes = [
        helper.make_node("Mul", ["x", "mask"], ["a"], name="mul"),
        conv("a", "w", "b"),
        helper.make_node("Add", ["b", "mask"], ["y"], name="add"),
    ]
    inputs = {"x": X, "mask": other}
    check(graph_model(nodes, inputs, ["y"], {"w": normal(8, 16, 1, 1)}), inputs)


def test_weights_and_bias_computed_at_run_time() -> None:
    """As dynamic convolution has them: one kernel for each image, the batch folded into groups."""
    nodes = [
        helper.make_node("Mul", ["kernels", "gate"], ["w"], name="mix"),
        conv("x", "w", "a", group=2, pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["x", "w", "bias"], ["y"], name="biased", group=2),
        helper.make_node("Relu", ["a"], ["z"], name="relu"),
    ]
    inputs = {"x": normal(1, 32, 9, 11), "gate": normal(12, 1, 1, 1), "bias": normal(12)}
    model = graph_model(nodes, inputs, ["y", "z"], {"kernels": normal(12, 16, 3, 3)})
    check(model, inputs)


def test_pooled_features_are_spread_and_joined_in_blocks() -> None:
    nodes = [
        conv("x", "w1", "a"),
        helper.make_node("GlobalAveragePool", ["a"], ["p"], name="pool"),
        conv("p", "w2", "q"),
        helper.make_node("Expand", ["q", "shape"], ["e"], name="expand"),
        helper.make_node("Concat", ["a", "e"], ["c"], axis=1, name="join"),
        conv("c", "w3", "y"),
    ]
    constants = {"w1": normal(32, 16, 1, 1), "w2": normal(32, 32, 1, 1)}
    constants |= {"w3": normal(16, 64, 1, 1), "shape": np.array([2, 32, 12, 12])}
    model = graph_model(nodes, {"x": X}, ["y"], constants)
    check(model, {"x": X})
    # The input is laid out in blocks and the output is not.
    assert steps(model, {"x": X}).count("layout") <= 2


@pytest.mark.parametrize("target", ["host", "rasp4"])
@pytest.mark.parametrize("activation", [nn.SiLU(), nn.Hardswish(), nn.GELU()], ids=str)
def test_activations_that_read_their_input_twice_join_the_convolution(
    activation: nn.Module, target: str
) -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), activation, nn.Conv2d(8, 4, 1)).eval()
    artifact = edgeconv.compile(network, torch.randn(1, 3, 9, 9), target=target)
    assert open_session(artifact).self_test().passed
    families = [step.family for step in artifact.plan.steps]
    assert "elementwise" not in families
    assert families.count("conv") == 2


def test_a_result_that_leads_to_two_kernels_is_made() -> None:
    """x * sigmoid(x) is one kernel, unless x or its sigmoid is read elsewhere."""
    nodes = [
        conv("x", "w", "a"),
        helper.make_node("Sigmoid", ["a"], ["s"], name="sigmoid"),
        helper.make_node("Mul", ["a", "s"], ["m"], name="mul"),
        helper.make_node("GlobalAveragePool", ["s"], ["p"], name="pool"),
        helper.make_node("Mul", ["m", "p"], ["y"], name="scale"),
    ]
    check(graph_model(nodes, {"x": X}, ["y"], {"w": normal(8, 16, 1, 1)}), {"x": X})

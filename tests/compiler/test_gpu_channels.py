"""Joining and splitting channels on a GPU, where the parts do not fill blocks of four."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from gpu_checks import find_no_fault
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_graphs import Arrays, assert_close, compile_for_gpu, exported, graph_model

from edgeconv.artifact import Artifact
from edgeconv.devices import open_session

counts = st.lists(st.integers(1, 9), min_size=2, max_size=4)
sizes = st.lists(st.integers(1, 6), min_size=1, max_size=3)


def build(parts: list[int], size: list[int]) -> tuple[onnx.ModelProto, Arrays]:
    """Pointwise layers of so many channels and a plain tensor, joined; split again, each used.

    One part is an output, one is read by a convolution, the others element by element.
    """
    random = np.random.default_rng(2)
    whole, kernel = sum(parts), [1] * len(size)
    inputs: Arrays = {"x": random.standard_normal((2, 8, *size), np.float32)}
    inputs["plain"] = random.standard_normal((2, parts[-1], *size), np.float32)
    constants: Arrays = {"sizes": np.array(parts, np.int64)}
    nodes = []
    for i, part in enumerate(parts[:-1]):
        constants[f"w{i}"] = random.standard_normal((part, 8, *kernel), np.float32)
        nodes.append(helper.make_node("Conv", ["x", f"w{i}"], [f"c{i}"]))
    names = [f"c{i}" for i in range(len(parts) - 1)]
    nodes.append(helper.make_node("Concat", [*names, "plain"], ["joined"], axis=1))
    nodes.append(helper.make_node("Relu", ["joined"], ["relu"]))
    constants["v"] = random.standard_normal((whole, whole, *kernel), np.float32)
    nodes.append(helper.make_node("Conv", ["relu", "v"], ["mixed"]))
    split = [f"s{i}" for i in range(len(parts))]
    nodes.append(helper.make_node("Split", ["mixed", "sizes"], split, axis=1))
    constants["u"] = random.standard_normal((5, parts[1], *kernel), np.float32)
    nodes.append(helper.make_node("Conv", ["s1", "u"], ["y1"]))
    outputs = ["s0", "y1"]
    for i in range(2, len(parts)):
        nodes.append(helper.make_node("Sigmoid", [f"s{i}"], [f"y{i}"]))
        outputs.append(f"y{i}")
    return graph_model(nodes, inputs, outputs, constants), inputs


def check(parts: list[int], size: list[int], target: str) -> Artifact:
    model, inputs = build(parts, size)
    artifact = compile_for_gpu(model, inputs, target)
    want = exported(model, inputs).golden[0].outputs
    got = open_session(artifact, "opencl").run(inputs)
    for name, value in want.items():
        assert_close(got[name], value, 8 + 2 * sum(parts), f"{name} of {parts}, {size}")
    return artifact


@pytest.mark.parametrize("parts", [[5, 7, 3], [4, 8, 4], [4, 6], [1, 2, 1, 9]], ids=str)
def test_parts_are_joined_and_taken_in_one_kernel_each(parts: list[int]) -> None:
    steps = check(parts, [3, 5], "mali-g610").plan.steps
    # The plain input becomes blocked for no reader, only the input of the layers does.
    assert sum(step.family == "layout" for step in steps) <= 2


@settings(max_examples=6, deadline=None)
@given(counts, sizes, st.sampled_from(["android-opencl", "mali-g52", "adreno-740"]))
def test_any_parts(parts: list[int], size: list[int], target: str) -> None:
    check(parts, size, target)


def test_kernels_stay_within_their_tensors() -> None:
    model, inputs = build([5, 7, 3], [3, 5])
    find_no_fault(compile_for_gpu(model, inputs, "android-opencl"))

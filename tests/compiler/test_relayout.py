"""Changes between plain and blocked tensors; every value is compared exactly."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_graphs import Arrays, compile_model, exported, graph_model, run_library, run_model

from edgeconv.compiler.link import Emit
from edgeconv.compiler.pipeline import compile_exported
from edgeconv.devices import open_session
from edgeconv.target import load_target

HOST = load_target("host")
# Vectors that this machine has.
WIDTHS = [bits for bits in (128, 256, 512) if bits <= HOST.cpu.vector_bits]


class Case(NamedTuple):
    batch: int
    channels: int
    size: tuple[int, ...]


def whole(*shape: int) -> np.ndarray:
    """Small whole numbers, whose sums and products do not round."""
    drawn = np.random.default_rng(sum(shape)).integers(-8, 8, shape)
    return drawn.astype(np.float32)


def build(cases: list[Case]) -> tuple[onnx.ModelProto, Arrays, Arrays]:
    """Return a model with changes of each tensor in both directions, inputs and results.

    A depthwise convolution takes and makes blocked tensors. What is added to its result becomes
    blocked as it is added; a factor of fewer axes makes the product plain.
    """
    nodes, inputs, constants, want = [], {}, {}, {}
    for i, (batch, channels, size) in enumerate(cases):
        x, p = whole(batch, channels, *size), whole(batch, channels, *size)[::-1] + 1
        factor, ones = whole(channels, *(1,) * len(size)), np.ones((channels, 1, *(1,) * len(size)))
        inputs |= {f"x{i}": x, f"p{i}": np.ascontiguousarray(p), f"f{i}": factor}
        constants[f"w{i}"] = ones.astype(np.float32)
        nodes += [
            helper.make_node("Conv", [f"x{i}", f"w{i}"], [f"c{i}"], group=channels),
            helper.make_node("Add", [f"c{i}", f"p{i}"], [f"sum{i}"]),
            helper.make_node("Mul", [f"sum{i}", f"f{i}"], [f"product{i}"]),
        ]
        want |= {f"c{i}": x, f"sum{i}": x + p, f"product{i}": (x + p) * factor}
    return graph_model(nodes, inputs, list(want), constants), inputs, want


def check(got: Arrays, want: Arrays) -> None:
    for name, array in want.items():
        np.testing.assert_array_equal(got[name], array, name)


CASES = st.builds(
    Case,
    st.integers(1, 3),
    st.integers(2, 70),
    st.lists(st.integers(1, 24), min_size=1, max_size=3).map(tuple),
)


@settings(max_examples=8, deadline=None)
@given(cases=st.lists(CASES, min_size=3, max_size=6))
def test_drawn_shapes(cases: list[Case]) -> None:
    model, inputs, want = build(cases)
    check(run_model(model, inputs), want)


AWKWARD = [
    Case(1, 96, (7, 7)),
    Case(2, 30, (5, 9)),
    Case(1, 13, (4,)),
    Case(1, 20, (3, 5, 7)),
    # One vector of pixels, or less.
    Case(2, 40, (2, 4)),
    Case(1, 19, (7,)),
    Case(3, 12, (1, 3)),
    Case(1, 100, (1, 1)),
    # Several tasks for threads, of which the last has less to do.
    Case(1, 37, (61, 53)),
    Case(1, 8, (4, 33, 29)),
    Case(2, 64, (32, 32)),
]


def test_awkward_shapes() -> None:
    model, inputs, want = build(AWKWARD)
    check(run_model(model, inputs), want)


@pytest.mark.parametrize("target", ["rasp4", "rasp5", "rasp2"])
def test_awkward_shapes_under_emulation(target: str) -> None:
    model, inputs, want = build(AWKWARD)
    check(open_session(compile_model(model, inputs, target)).run(inputs, threads=3), want)


@pytest.mark.parametrize(
    ("size", "axes"),
    [
        ((19,), 1),
        ((6, 9), 2),
        ((6, 9), 1),
        ((7, 7), 1),
        ((4, 8), 1),
        ((3, 4, 5), 3),
        ((6, 7, 9), 1),
    ],
)
@pytest.mark.parametrize("channels", [16, 20])
@pytest.mark.parametrize("bits", WIDTHS)
def test_tensors_in_the_middle_of_padded_ones(
    bits: int, channels: int, size: tuple[int, ...], axes: int
) -> None:
    rank = len(size)
    along = np.array([1] * axes + [0] * (rank - axes))  # the first of the spatial axes are padded
    x, weight = whole(2, channels, *size), whole(channels, channels, *(along + 1))
    same = np.eye(channels, dtype=np.float32).reshape(channels, channels, *(1,) * rank)
    wide = {"pads": [*(along * 2), *along], "dilations": along + 1}
    nodes = [
        # What is blocked is padded; what is made plain lies in a padded tensor.
        helper.make_node("Conv", ["x", "weight"], ["y"], **wide),
        helper.make_node("Conv", ["x", "same"], ["v"]),
        helper.make_node("Conv", ["v", "weight"], ["z"], **wide),
    ]
    constants = {"weight": weight, "same": same}
    model, inputs = graph_model(nodes, {"x": x}, ["y", "v", "z"], constants), {"x": x}
    target = replace(HOST, cpu=replace(HOST.cpu, vector_bits=bits))
    artifact = compile_exported(exported(model, inputs), target, emit=Emit.LIB)
    assert any(buffer.frame for buffer in artifact.plan.buffers)
    got = run_library(artifact, inputs)
    np.testing.assert_array_equal(got["v"], x)
    np.testing.assert_array_equal(got["y"], got["z"])
    np.testing.assert_array_equal(got["y"], exported(model, inputs).golden[0].outputs["y"])

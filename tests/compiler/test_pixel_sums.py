"""Means over pixels, whose kernel reads sums that the image's kernel made beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt, prod

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_graphs import Arrays, compile_model, compile_with_and_without, graph_model, run_library

from edgeconv.artifact import Artifact
from edgeconv.devices import open_session
from edgeconv.plan import Step

LAYERS = ("dense", "dilated", "pointwise", "depthwise", "grouped", "pool", "elementwise")
# The longest sum that is taken in one go.
LONG_SUM = 128


@dataclass(frozen=True)
class Case:
    """A layer that makes an image, whose mean is wanted.

    Attributes:
        layer: what makes it.
        added: whether something is added to it in the same kernel.
        reader: what else reads it: "conv" with a border, "join", which puts it beside another,
            or "" for nothing.
    """

    layer: str
    size: tuple[int, ...]
    channels: int
    batch: int = 1
    stride: int = 1
    activation: str = "Relu"
    added: bool = False
    reader: str = ""

    def nodes(self, p: str) -> tuple[list[onnx.NodeProto], Arrays, Arrays, list[str]]:
        """Return nodes, inputs, constants and outputs, all with the prefix `p`."""
        random = np.random.default_rng(self.channels)
        rank = len(self.size)
        side = 1 if self.layer == "pointwise" else 3
        dilation = 2 if self.layer == "dilated" else 1
        groups = {"depthwise": self.channels, "grouped": 4}.get(self.layer, 1)
        shape = (self.channels, self.channels // groups, *(side,) * rank)
        window = {
            "pads": [side // 2 * dilation] * 2 * rank,
            "strides": [self.stride] * rank,
            "kernel_shape": [side] * rank,
            "dilations": [dilation] * rank,
        }
        constants = {
            f"{p}first": random.standard_normal((self.channels, 3, *(1,) * rank), np.float32),
            f"{p}w": random.standard_normal(shape, np.float32) / side**rank,
            f"{p}b": random.standard_normal(self.channels, np.float32),
        }
        outputs = [f"{p}mean", f"{p}image"]
        nodes = [helper.make_node("Conv", [f"{p}x", f"{p}first"], [f"{p}a"])]
        if self.layer == "elementwise":
            nodes.append(helper.make_node("MaxPool", [f"{p}a"], [f"{p}m"], **window))
            # Also read by another, so that the pool does not take in what follows.
            outputs.append(f"{p}q")
            nodes.append(helper.make_node("MaxPool", [f"{p}m"], [f"{p}q"], kernel_shape=[1] * rank))
            nodes.append(helper.make_node("Sigmoid", [f"{p}m"], [f"{p}c"]))
        elif self.layer == "pool":
            nodes.append(helper.make_node("AveragePool", [f"{p}a"], [f"{p}c"], **window))
        else:
            operands = [f"{p}a", f"{p}w", f"{p}b"]
            nodes.append(helper.make_node("Conv", operands, [f"{p}c"], group=groups, **window))
        image = f"{p}c"
        if self.added:
            nodes.append(helper.make_node("MaxPool", [f"{p}a"], [f"{p}r"], **window))
            nodes.append(helper.make_node("Add", [image, f"{p}r"], [f"{p}s"]))
            image = f"{p}s"
        if self.activation:
            nodes.append(helper.make_node(self.activation, [image], [f"{p}i"]))
            image = f"{p}i"
        nodes.append(helper.make_node("GlobalAveragePool", [image], [f"{p}mean"]))
        # A copy that shows the image, but is made from it.
        nodes.append(helper.make_node("MaxPool", [image], [f"{p}image"], kernel_shape=[1] * rank))
        if self.reader == "join":
            nodes.append(helper.make_node("Concat", [f"{p}a2", image], [f"{p}j"], axis=1))
            nodes.insert(
                -1, helper.make_node("MaxPool", [image], [f"{p}a2"], kernel_shape=[1] * rank)
            )
        if self.reader:
            read, wide = (f"{p}j", 2) if self.reader == "join" else (image, 1)
            constants[f"{p}v"] = random.standard_normal(
                (5, self.channels * wide, *(3,) * rank), np.float32
            )
            nodes.append(helper.make_node("Conv", [read, f"{p}v"], [f"{p}z"], pads=[1] * 2 * rank))
            outputs.append(f"{p}z")
        inputs = {f"{p}x": random.standard_normal((self.batch, 3, *self.size), np.float32)}
        return nodes, inputs, constants, outputs


def compiled(cases: Sequence[Case], target: str = "host") -> tuple[Artifact, Artifact, Arrays]:
    """Return the cases side by side, with sums and without, and the inputs."""
    return compile_with_and_without("sum_pixels", cases, target)


def summing(artifact: Artifact) -> list[Step]:
    """Return the steps with sums as a second result."""
    return [step for step in artifact.plan.steps if len(step.outputs) == 2]


def check(got: Arrays, separate: Arrays) -> None:
    """Compare with what comes out without sums, and means with those in double precision.

    Sums in runs are as exact as those of `schedules/cpu/generic.py`.
    """
    for name, array in got.items():
        if not name.endswith("mean"):
            np.testing.assert_array_equal(array, separate[name], name)
            continue
        image = got[name.removesuffix("mean") + "image"].astype(np.float64)
        axes = tuple(range(2, image.ndim))
        want = image.mean(axes, keepdims=True)
        terms = max(LONG_SUM, 2 * isqrt(prod(image.shape[2:])))
        bound = np.finfo(np.float32).eps * (terms + 2)
        for means in (array, separate[name]):
            beyond = np.abs(means - want) - bound * np.abs(image).mean(axes, keepdims=True)
            assert beyond.max() <= 0, name


SIZES = st.one_of(
    st.tuples(st.integers(1, 300)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 9)),
)
CASES = st.builds(
    Case,
    layer=st.sampled_from(LAYERS),
    size=SIZES,
    channels=st.sampled_from([4, 8, 12, 16, 20, 32, 40, 64]),
    batch=st.integers(1, 3),
    stride=st.integers(1, 2),
    activation=st.sampled_from(["", "Relu", "Sigmoid", "HardSwish"]),
    added=st.booleans(),
    reader=st.sampled_from(["", "conv", "join"]),
)


@settings(deadline=None, max_examples=5)
@given(st.lists(CASES, min_size=4, max_size=4))
def test_drawn_means(cases: list[Case]) -> None:
    artifact, separate, inputs = compiled(cases)
    assert not summing(separate)
    got, wanted = run_library(artifact, inputs), run_library(separate, inputs)
    check(got, wanted)
    for name, array in run_library(artifact, inputs, threads=2).items():
        np.testing.assert_array_equal(array, got[name], name)


# Tiles that do not divide an image, parts that do not, one pixel, several tasks, much of a border.
AWKWARD = [
    Case("dense", (13, 11), 20, batch=2, added=True),
    Case("dense", (57, 31), 32, reader="conv"),
    Case("dilated", (19, 23), 24, reader="join"),
    Case("pointwise", (29, 31), 40, reader="conv"),
    Case("pointwise", (58, 57), 64, batch=2, added=True),
    Case("depthwise", (33, 47), 36, stride=2),
    Case("depthwise", (113, 112), 16, reader="join"),
    Case("grouped", (28, 29), 64, activation="HardSwish"),
    Case("pool", (9, 14), 12, added=True),
    Case("elementwise", (7, 7), 20),
    Case("dense", (1, 1), 16),
    Case("pointwise", (1, 1), 16),
    Case("dense", (301,), 16),
    Case("depthwise", (4, 6, 5), 20, batch=2),
    Case("dense", (3, 5, 9), 16),
]


def test_awkward_means() -> None:
    artifact, separate, inputs = compiled(AWKWARD)
    check(run_library(artifact, inputs, threads=3), run_library(separate, inputs))


@pytest.mark.parametrize("target", ["rasp4", "rasp2"])
def test_awkward_means_under_emulation(target: str) -> None:
    artifact, separate, inputs = compiled(AWKWARD, target)
    got, wanted = (open_session(a).run(inputs, threads=3) for a in (artifact, separate))
    check(got, wanted)


@pytest.mark.parametrize("size", [(7, 7), (28, 28), (57, 43)], ids=str)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("target", ["host", "rasp4"])
def test_images_are_summed_where_they_are_made(
    target: str, layer: str, size: tuple[int, ...]
) -> None:
    artifact, _, _ = compiled([Case(layer, size, 32, added=layer == "dense")], target)
    (step,) = summing(artifact)
    image, sums = (artifact.plan.buffers[index] for index in step.outputs)
    assert 4 * sums.bytes <= image.bytes


def test_what_no_kernel_makes_in_blocks_is_read_as_before() -> None:
    # The network's own input, and an image whose lanes are columns.
    x = np.ones((1, 3, 9, 9), np.float32)
    pool = {"kernel_shape": [3, 3]}
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["y"]),
        helper.make_node("MaxPool", ["x"], ["p"], **pool),
        helper.make_node("GlobalAveragePool", ["p"], ["z"]),
    ]
    artifact = compile_model(graph_model(nodes, {"x": x}, ["y", "z"]), {"x": x})
    assert not summing(artifact)


def test_what_is_read_otherwise_than_by_its_sum_is_read_as_before() -> None:
    # Squares of the image are summed, not the image.
    case = Case("dense", (9, 9), 16)
    nodes, inputs, constants, _ = case.nodes("")
    nodes = nodes[:-2]
    image = nodes[-1].output[0]
    nodes.append(helper.make_node("ReduceSumSquare", [image, "axes"], ["y"]))
    constants["axes"] = np.array([2, 3])
    assert not summing(compile_model(graph_model(nodes, inputs, ["y"], constants), inputs))

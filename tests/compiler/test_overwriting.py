"""Results that are written over an operand, by what the plan shows and by what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_graphs import Arrays, assert_close, compile_model, exported, graph_model

from edgeconv.artifact import Artifact
from edgeconv.compiler import pipeline
from edgeconv.plan import Buffer, Space, Step
from edgeconv.runtime import Model
from edgeconv.target import load_target

RANDOM = np.random.default_rng(11)
# Products of one output, at most.
LENGTH = 27 * 40
LAYERS = ("dense", "depthwise", "grouped", "pool", "elementwise")


def overwriting(artifact: Artifact) -> list[Step]:
    """Return the steps whose result lies where an operand lay."""
    plan = artifact.plan

    def spans(indices: tuple[int, ...]) -> set[tuple[int, int]]:
        buffers = (plan.buffers[index] for index in indices)
        return {(b.offset, b.bytes) for b in buffers if b.space is Space.ARENA}

    return [step for step in plan.steps if spans(step.inputs) & spans(step.outputs)]


@dataclass(frozen=True)
class Case:
    """A layer of `channels` channels, to whose result another tensor is added.

    Attributes:
        layer: what stands before the sum.
        kernel: side of its window.
        activation: what follows the sum.
        reader: "conv" reads the sum with a border, "pool" without.
        also: what else reads the tensor that is added: the layer, or something later.
    """

    layer: str
    size: tuple[int, ...]
    channels: int
    kernel: int
    activation: str
    reader: str
    also: str = ""
    bias: bool = True

    def nodes(self, p: str) -> tuple[list[onnx.NodeProto], Arrays, Arrays, list[str]]:
        """Return nodes, inputs, constants and outputs, all with the prefix `p`."""
        rank, side = len(self.size), self.kernel
        groups = {"depthwise": self.channels, "grouped": 4}.get(self.layer, 1)
        shape = (self.channels, self.channels // groups, *(side,) * rank)
        constants = {
            f"{p}w{i}": RANDOM.standard_normal((self.channels, 3, *(1,) * rank), np.float32)
            for i in range(2)
        }
        pads = [side // 2] * 2 * rank
        added = f"{p}r"
        nodes = [
            helper.make_node("Conv", [f"{p}x", f"{p}w0"], [f"{p}a"]),
            helper.make_node("Relu", [f"{p}a"], [added]),
            helper.make_node("Conv", [f"{p}x", f"{p}w1"], [f"{p}h"]),
        ]
        read = added if self.also == "layer" else f"{p}h"
        if self.layer == "elementwise":
            nodes.append(helper.make_node("Sigmoid", [read], [f"{p}c"]))
        elif self.layer == "pool":
            window = {"kernel_shape": [side] * rank, "pads": pads}
            nodes.append(helper.make_node("AveragePool", [read], [f"{p}c"], **window))
        else:
            constants[f"{p}w"] = RANDOM.standard_normal(shape, np.float32) / side**rank
            constants[f"{p}b"] = RANDOM.standard_normal(self.channels, np.float32)
            operands = [read, f"{p}w", f"{p}b"][: 3 if self.bias else 2]
            nodes.append(helper.make_node("Conv", operands, [f"{p}c"], pads=pads, group=groups))
        nodes.append(helper.make_node("Add", [f"{p}c", added], [f"{p}s"]))
        last = f"{p}s"
        if self.activation:
            nodes.append(helper.make_node(self.activation, [last], [f"{p}y"]))
            last = f"{p}y"
        border = {"kernel_shape": [3] * rank, "pads": [1] * 2 * rank}
        if self.reader == "conv":
            constants[f"{p}v"] = RANDOM.standard_normal((4, self.channels, *(3,) * rank), np.float32)
            nodes.append(helper.make_node("Conv", [last, f"{p}v"], [f"{p}z"], **border))
        else:
            nodes.append(helper.make_node("MaxPool", [last], [f"{p}z"], **border))
        outputs = [f"{p}z"]
        if self.also == "later":
            nodes.append(helper.make_node("MaxPool", [added], [f"{p}q"], **border))
            outputs.append(f"{p}q")
        inputs = {f"{p}x": RANDOM.standard_normal((1, 3, *self.size), np.float32)}
        return nodes, inputs, constants, outputs


def compiled(cases: Sequence[Case], target: str = "host") -> tuple[Artifact, Artifact, Arrays]:
    """Return the cases side by side, written over operands and not, and the inputs."""
    parts = [case.nodes(f"n{i}_") for i, case in enumerate(cases)]
    nodes = [node for part in parts for node in part[0]]
    inputs = {name: array for part in parts for name, array in part[1].items()}
    constants = {name: array for part in parts for name, array in part[2].items()}
    model = graph_model(nodes, inputs, [name for part in parts for name in part[3]], constants)

    def untouched(graph):
        return graph

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "free_operands", untouched)
        separate = compile_model(model, inputs, target)
    return compile_model(model, inputs, target), separate, inputs


def run(artifact: Artifact, inputs: Arrays, threads: int) -> Arrays:
    """Return what comes out of a second run, for which nothing of the first may be left."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "graph.edge"
        artifact.save(path)
        with Model(path, threads=threads) as model:
            model.run(inputs)
            return model.run(inputs)


SIZES = st.one_of(
    st.tuples(st.integers(1, 40)),
    st.tuples(st.integers(1, 14), st.integers(1, 30)),
    st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 9)),
)
CASES = st.builds(
    Case,
    layer=st.sampled_from(LAYERS),
    size=SIZES,
    channels=st.sampled_from([4, 8, 12, 16, 20, 32, 40]),
    kernel=st.sampled_from([1, 3]),
    activation=st.sampled_from(["", "Relu", "Sigmoid", "HardSwish"]),
    reader=st.sampled_from(["conv", "pool"]),
    also=st.sampled_from(["", "", "layer", "later"]),
    bias=st.booleans(),
)


@settings(deadline=None, max_examples=5)
@given(st.lists(CASES, min_size=6, max_size=6))
def test_results_are_the_same_wherever_they_are_written(cases: list[Case]) -> None:
    artifact, separate, inputs = compiled(cases)
    assert artifact.plan.arena_lower_bound <= separate.plan.arena_lower_bound
    wanted = run(separate, inputs, threads=1)
    for threads in (1, 2, 3):
        got = run(artifact, inputs, threads)
        for name, want in wanted.items():
            np.testing.assert_array_equal(got[name], want, name)


@pytest.mark.parametrize("size", [(33,), (7, 9), (8, 8), (5, 6, 7)], ids=str)
@pytest.mark.parametrize("layer", LAYERS)
def test_a_sum_is_written_over_what_is_added(layer: str, size: tuple[int, ...]) -> None:
    artifact, separate, inputs = compiled([Case(layer, size, 16, 3, "Relu", "pool")])
    assert not overwriting(separate)
    (step,) = overwriting(artifact)
    assert "Add" in " ".join(step.layers)

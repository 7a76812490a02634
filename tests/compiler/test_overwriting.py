"""Results that are written over an operand, by what the plan shows and by what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_graphs import (
    Arrays,
    assert_close,
    compile_model,
    compile_with_and_without,
    exported,
    graph_model,
    run_library,
)

from edgeconv.artifact import Artifact
from edgeconv.devices import open_session
from edgeconv.plan import Space, Step

RANDOM = np.random.default_rng(11)
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
        also: what else reads the tensor that is added: the layer, something later, or, with a
            border, what comes before the layer.
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
        first = (self.channels, 3, *(1,) * rank)
        block = (self.channels, self.channels, *(3,) * rank)
        constants = {f"{p}w{i}": RANDOM.standard_normal(first, np.float32) for i in range(2)}
        pads = [side // 2] * 2 * rank
        border = {"kernel_shape": [3] * rank, "pads": [1] * 2 * rank}
        added = f"{p}r"
        nodes = [
            helper.make_node("Conv", [f"{p}x", f"{p}w0"], [f"{p}a"]),
            helper.make_node("Relu", [f"{p}a"], [added]),
            helper.make_node("Conv", [f"{p}x", f"{p}w1"], [f"{p}h"]),
        ]
        if self.also == "before":
            constants[f"{p}w1"] = RANDOM.standard_normal(block, np.float32) / 3**rank
            nodes[-1] = helper.make_node("Conv", [added, f"{p}w1"], [f"{p}h"], **border)
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
        if self.reader == "conv":
            constants[f"{p}v"] = RANDOM.standard_normal(block, np.float32)
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
    return compile_with_and_without("free_operands", cases, target)


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
    also=st.sampled_from(["", "before", "layer", "later"]),
    bias=st.booleans(),
)


@settings(deadline=None, max_examples=4)
@given(st.lists(CASES, min_size=4, max_size=4))
def test_results_are_the_same_wherever_they_are_written(cases: list[Case]) -> None:
    artifact, separate, inputs = compiled(cases)
    assert artifact.plan.arena_lower_bound <= separate.plan.arena_lower_bound
    wanted = run_library(separate, inputs)
    for threads in (1, 2):
        got = run_library(artifact, inputs, threads)
        for name, want in wanted.items():
            np.testing.assert_array_equal(got[name], want, name)


@pytest.mark.parametrize("size", [(33,), (7, 9), (8, 8), (5, 6, 7)], ids=str)
@pytest.mark.parametrize("layer", LAYERS)
def test_a_sum_is_written_over_what_is_added(layer: str, size: tuple[int, ...]) -> None:
    artifact, separate, _ = compiled([Case(layer, size, 16, 3, "Relu", "pool")])
    assert not overwriting(separate)
    (step,) = overwriting(artifact)
    assert "Add" in " ".join(step.layers)


@pytest.mark.parametrize("size", [(5, 7), (7, 9)], ids=str)
def test_a_sum_with_a_border_is_written_over_what_has_the_same(size: tuple[int, ...]) -> None:
    artifact, _, _ = compiled([Case("dense", size, 16, 3, "Relu", "conv", "before")])
    (step,) = overwriting(artifact)
    assert artifact.plan.buffers[step.outputs[0]].frame


@pytest.mark.parametrize("also", ["layer", "later"])
@pytest.mark.parametrize("layer", ["dense", "depthwise", "pool"])
def test_what_is_read_otherwise_is_not_written_over(layer: str, also: str) -> None:
    artifact, _, _ = compiled([Case(layer, (8, 8), 16, 3, "Relu", "pool", also)])
    assert not overwriting(artifact)


ATTRIBUTES = {
    "MaxPool": {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
    "Concat": {"axis": 1},
}


def chain(*links: str, outputs: Sequence[str], shape: tuple[int, ...]) -> Artifact:
    """Compile nodes, such as "s = Add x u", of the inputs x, u and v; check what comes out."""
    nodes, inputs = [], {}
    for link in links:
        result, _, op, *operands = link.split()
        nodes.append(helper.make_node(op, operands, [result], **ATTRIBUTES.get(op, {})))
        for name in {"x", "u", "v"}.intersection(operands):
            inputs[name] = RANDOM.standard_normal(shape, np.float32)
    model = graph_model(nodes, inputs, outputs)
    artifact = compile_model(model, inputs)
    wanted = exported(model, inputs).golden[0].outputs
    for name, got in run_library(artifact, inputs, threads=2).items():
        assert_close(got, wanted[name], 1, name)
    return artifact


@pytest.mark.parametrize("shape", [(1, 16, 6, 6), (2, 3, 5, 7)], ids=str)
def test_inputs_and_outputs_of_the_network_belong_to_the_caller(shape: tuple[int, ...]) -> None:
    # What is added is an input; an output; and the sum is an output.
    for links, outputs in (
        (("a = MaxPool x", "s = Add a u", "y = MaxPool s", "z = Add y v"), ["z"]),
        (("a = MaxPool x", "b = MaxPool u", "s = Add a b", "y = MaxPool s"), ["y", "a", "b"]),
        (("a = MaxPool x", "b = MaxPool u", "s = Add a b"), ["s"]),
    ):
        assert not overwriting(chain(*links, outputs=outputs, shape=shape))


@pytest.mark.parametrize("shape", [(1, 16, 6, 6), (2, 3, 5, 7)], ids=str)
def test_results_follow_each_other_in_one_place(shape: tuple[int, ...]) -> None:
    links = ("a = MaxPool x", "b = MaxPool u", "s = Add a b", "c = MaxPool v", "t = Add s c")
    artifact = chain(*links, "y = MaxPool t", outputs=["y"], shape=shape)
    assert len(overwriting(artifact)) == 2
    places = {artifact.plan.buffers[step.outputs[0]].offset for step in overwriting(artifact)}
    assert len(places) == 1


def test_a_part_of_a_joined_tensor_stays() -> None:
    links = ("a = MaxPool x", "b = MaxPool u", "s = Add b a", "j = Concat a s", "y = MaxPool j")
    assert not overwriting(chain(*links, outputs=["y"], shape=(1, 16, 6, 6)))


@pytest.mark.parametrize("target", ["rasp4", "rasp2"])
def test_boards_write_over_operands_too(target: str) -> None:
    sizes = [(7, 9), (33,), (3, 4, 5), (9, 9), (6, 5)]
    cases = [
        Case(layer, size, 20, 3, activation, "pool")
        for layer, size, activation in zip(
            LAYERS, sizes, ("Relu", "", "Sigmoid", "HardSwish", "Relu"), strict=True
        )
    ]
    artifact, separate, inputs = compiled(cases, target)
    assert len(overwriting(artifact)) == len(cases)
    got, want = (open_session(a).run(inputs, threads=2) for a in (artifact, separate))
    for name, array in want.items():
        np.testing.assert_array_equal(got[name], array, name)

"""Tensors that lie inside others in memory, by what the plan shows of them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_graphs import assert_close, compile_model, exported, graph_model, run_model

from edgeconv.artifact import Artifact
from edgeconv.compiler.graph import Frame
from edgeconv.compiler.link import Emit
from edgeconv.compiler.passes import memories
from edgeconv.compiler.pipeline import compile_exported
from edgeconv.errors import NumericError
from edgeconv.plan import Plan, Step
from edgeconv.target import load_target
from edgeconv.verify import verify

# Kernels are of two pixels: those of three are not always padded in memory.
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
        helper.make_node("Conv", ["v", "w2"], ["b"], pads=[1] * rank + [0] * rank, name="narrow"),
        helper.make_node("Conv", ["v", "w2"], ["wide"], **wide, name="wide"),
        helper.make_node("Conv", ["b", "w2"], ["c"], pads=[0] * rank + [1] * rank, name="second"),
        helper.make_node("Add", ["c", "v"], ["sum"]),
        helper.make_node("MaxPool", ["v"], ["pool"], kernel_shape=[2] * rank),
    ]
    constants = {
        "w1": normal(channels, 16, *(1,) * rank),
        "w2": normal(channels, channels, *(2,) * rank),
    }
    model = graph_model(nodes, inputs, ["sum", "wide", "pool"], constants)
    plan = check(model, inputs)
    assert [step.inputs for step in pads(plan)] == [()] * 3
    assert sum(bool(buffer.frame) for buffer in plan.buffers) >= 3


def test_what_has_to_lie_in_a_row_is_copied() -> None:
    inputs = {"x": normal(1, 16, 6, 6)}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["v"]),
        # A pointwise convolution takes pixels in one row.
        helper.make_node("Conv", ["v", "w1"], ["y"]),
        helper.make_node("Conv", ["v", "w3"], ["z"], pads=[1, 1, 0, 0]),
    ]
    constants = {"w1": normal(16, 16, 1, 1), "w3": normal(16, 16, 2, 2)}
    plan = check(graph_model(nodes, inputs, ["y", "z"], constants), inputs)
    (pad,) = pads(plan)
    assert len(pad.inputs) == 1
    assert not any(buffer.frame for buffer in plan.buffers)


@pytest.mark.parametrize("batch", [1, 2])
def test_joined_tensors_are_written_into_the_whole(batch: int) -> None:
    inputs = {"x": normal(batch, 16, 6, 6)}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"]),
        helper.make_node("Conv", ["a", "w3"], ["b"], pads=[1, 1, 0, 0]),
        helper.make_node("Concat", ["a", "b"], ["ab"], axis=1, name="inner"),
        helper.make_node("Conv", ["ab", "w2"], ["c"], pads=[1, 1, 0, 0]),
        helper.make_node("Concat", ["ab", "c"], ["abc"], axis=1, name="outer"),
        helper.make_node("MaxPool", ["abc"], ["y"], kernel_shape=[2, 2]),
    ]
    constants = {
        "w1": normal(16, 16, 1, 1),
        "w3": normal(32, 16, 2, 2),
        "w2": normal(16, 48, 2, 2),
    }
    plan = check(graph_model(nodes, inputs, ["y"], constants), inputs)
    assert [step.family for step in plan.steps if step.family.startswith("concat")] == []
    assert all(not step.inputs for step in pads(plan))
    assert {"inner", "outer"} <= {layer for step in plan.steps for layer in step.layers}


def joining(batch: int) -> tuple[Artifact, onnx.ModelProto]:
    """A network in which `ab` joins `a` and `b`, which are of one size."""
    inputs = {"x": normal(batch, 16, 4, 4)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("MaxPool", ["a"], ["b"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Concat", ["b", "a"], ["ab"], axis=1, name="join"),
        helper.make_node("MaxPool", ["ab"], ["y"], kernel_shape=[2, 2]),
    ]
    model = graph_model(nodes, inputs, ["y"], {"w": normal(16, 16, 1, 1)})
    source, target = exported(model, inputs), load_target("host")
    return compile_exported(source, target, emit=Emit.BUNDLE), model


@pytest.mark.parametrize("batch", [1, 2])
def test_a_joined_tensor_is_verified_once_its_parts_are_written(batch: int) -> None:
    artifact, model = joining(batch)
    report = verify(artifact, model=model, per_layer=True)
    report.raise_if_failed()
    found = {result.value: result for result in report.steps}
    assert found["ab"].step == found["b"].step
    assert "join" in found["ab"].layers
    values = [result.value for result in report.steps]
    assert values.index("b") < values.index("ab") < values.index("y")


@pytest.mark.parametrize("batch", [1, 2])
def test_parts_in_the_place_of_each_other_are_found(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = memories._Memories.frames

    def exchanging(self, padded: list) -> dict[str, Frame]:
        frames = found(self, padded)
        (join,) = {frame.memory for frame in frames.values()}
        one, other = (name for name in frames if name != join)
        return {**frames, one: frames[other], other: frames[one]}

    monkeypatch.setattr(memories._Memories, "frames", exchanging)
    artifact, model = joining(batch)
    report = verify(artifact, model=model, per_layer=True)
    assert {"a", "b"} <= {result.value for result in report.steps if result.passed}
    assert report.first_divergence.value == "ab"
    with pytest.raises(NumericError, match=r"first step to diverge is .*join.*'ab'"):
        report.raise_if_failed()


def test_parts_that_are_read_in_a_row_join_without_a_border() -> None:
    inputs = {"x": normal(1, 16, 6, 6)}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"]),
        helper.make_node("Conv", ["a", "w1"], ["b"]),
        helper.make_node("Concat", ["a", "b"], ["ab"], axis=1),
        helper.make_node("Conv", ["ab", "w2"], ["y"]),
        helper.make_node("Conv", ["ab", "w3"], ["z"], pads=[1, 1, 0, 0]),
    ]
    constants = {
        "w1": normal(16, 16, 1, 1),
        "w2": normal(16, 32, 1, 1),
        "w3": normal(16, 32, 2, 2),
    }
    plan = check(graph_model(nodes, inputs, ["y", "z"], constants), inputs)
    assert [step.family for step in plan.steps if step.family.startswith("concat")] == []
    assert [len(step.inputs) for step in pads(plan)] == [1]
    assert not any(buffer.frame for buffer in plan.buffers)


def test_tensors_that_cannot_move_are_joined_by_copies() -> None:
    inputs = {"x": normal(1, 16, 6, 6)}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"]),
        helper.make_node("Concat", ["a", "a"], ["twice"], axis=1),
        helper.make_node("Concat", ["x", "x"], ["given"], axis=1),
        helper.make_node("Add", ["twice", "given"], ["y"]),
        helper.make_node("Concat", ["a", "a"], ["rows"], axis=2),
    ]
    model = graph_model(nodes, inputs, ["y", "rows"], {"w1": normal(16, 16, 1, 1)})
    plan = check(model, inputs)
    assert any(step.family.startswith("concat") for step in plan.steps)


def cuts(plan: Plan) -> list[Step]:
    return [step for step in plan.steps if "slice" in step.family]


@pytest.mark.parametrize("batch", [1, 2])
def test_channels_are_read_where_they_lie(batch: int) -> None:
    inputs = {"x": normal(batch, 16, 6, 6)}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"]),
        helper.make_node("Split", ["a", "parts"], ["b", "c", "d"], axis=1, name="split"),
        helper.make_node("Slice", ["d", "begin", "end", "axis"], ["e"], name="slice"),
        # One part is padded, and one has two readers, of which one is element-wise.
        helper.make_node("Conv", ["b", "w3"], ["f"], pads=[1, 1, 0, 0]),
        helper.make_node("Conv", ["c", "w3"], ["g"]),
        helper.make_node("Relu", ["c"], ["h"]),
        helper.make_node("MaxPool", ["e"], ["i"], kernel_shape=[2, 2]),
        helper.make_node("MaxPool", ["a"], ["j"], kernel_shape=[2, 2]),
    ]
    constants = {
        "w1": normal(56, 16, 1, 1),
        "w3": normal(16, 16, 2, 2),
        "parts": np.array([16, 16, 24]),
        "begin": np.array([8]),
        "end": np.array([24]),
        "axis": np.array([1]),
    }
    plan = check(graph_model(nodes, inputs, ["f", "g", "h", "i", "j"], constants), inputs)
    assert cuts(plan) == []
    assert [step.inputs for step in pads(plan)] == [()]
    assert {"split", "slice"} <= {layer for step in plan.steps for layer in step.layers}


def test_rows_of_channels_are_read_where_they_lie() -> None:
    """Plain tensors, whose parts are also read as rows of another shape."""
    inputs = {"x": normal(1, 24, 32)}
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["a"]),
        helper.make_node("Split", ["a", "parts"], ["b", "c"], axis=1),
        helper.make_node("Reshape", ["b", "shape"], ["e"]),
        helper.make_node("MatMul", ["e", "c"], ["y"]),
    ]
    constants = {"parts": np.array([8, 16]), "shape": np.array([1, 16, 16])}
    plan = check(graph_model(nodes, inputs, ["y"], constants), inputs)
    assert cuts(plan) == []


def test_what_cannot_be_read_where_it_lies_is_cut_out() -> None:
    inputs = {"x": normal(2, 24, 5, 5)}
    shape = np.array([2, 25, 11])
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        # A part of an input, and of an output; an output; rows with gaps; no channels; a stride.
        helper.make_node("Slice", ["x", "one", "last", "axis1"], ["given"]),
        helper.make_node("Slice", ["a", "one", "last", "axis1"], ["b"]),
        helper.make_node("Slice", ["given", "one", "last", "axis1"], ["c"]),
        helper.make_node("Sigmoid", ["x"], ["s"]),
        helper.make_node("Slice", ["s", "one", "twelve", "axis1"], ["part"]),
        helper.make_node("Reshape", ["part", "shape"], ["rows"]),
        helper.make_node("Softmax", ["rows"], ["d"]),
        helper.make_node("Slice", ["s", "one", "last", "axis3"], ["columns"]),
        helper.make_node("MaxPool", ["columns"], ["e"], kernel_shape=[2, 2]),
        helper.make_node("Slice", ["s", "one", "last", "axis1", "two"], ["odd"]),
        helper.make_node("MaxPool", ["odd"], ["f"], kernel_shape=[2, 2]),
    ]
    constants = {
        **{name: np.array([i]) for name, i in {"one": 1, "two": 2, "twelve": 12}.items()},
        **{"last": np.array([-1]), "axis1": np.array([1]), "axis3": np.array([3])},
        "shape": shape,
    }
    outputs = ["a", "b", "c", "d", "e", "f"]
    check(graph_model(nodes, inputs, outputs, constants), inputs)


def test_parts_of_a_part_join_others() -> None:
    """As ShuffleNet does: one half goes on as it is, beside what the other becomes."""
    inputs = {"x": normal(1, 16, 6, 6)}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"]),
        helper.make_node("Split", ["a", "parts"], ["b", "c"], axis=1),
        helper.make_node("Conv", ["c", "w3"], ["d"], pads=[1, 1, 0, 0]),
        helper.make_node("Concat", ["b", "d"], ["e"], axis=1),
        helper.make_node("MaxPool", ["e"], ["y"], kernel_shape=[2, 2]),
    ]
    constants = {
        "w1": normal(32, 16, 1, 1),
        "w3": normal(16, 16, 2, 2),
        "parts": np.array([16, 16]),
    }
    plan = check(graph_model(nodes, inputs, ["y"], constants), inputs)
    # The half that goes on cannot lie in two tensors at once.
    assert len([s for s in plan.steps if s.family.startswith("concat")]) + len(cuts(plan)) == 1


def test_a_slice_of_other_channels_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = {"x": normal(1, 16, 4, 4)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Split", ["a", "parts"], ["b", "c"], axis=1, name="split"),
        helper.make_node("MaxPool", ["b"], ["y"], kernel_shape=[2, 2]),
        helper.make_node("MaxPool", ["c"], ["z"], kernel_shape=[2, 2]),
    ]
    constants = {"w": normal(32, 16, 1, 1), "parts": np.array([16, 16])}
    model = graph_model(nodes, inputs, ["y", "z"], constants)
    source, target = exported(model, inputs), load_target("host")
    found = memories._Memories._root

    right = compile_exported(source, target, emit=Emit.BUNDLE)
    report = verify(right, model=model, per_layer=True)
    report.raise_if_failed()
    assert {"a", "b", "c"} <= {result.value for result in report.steps}
    assert [s.layers.count("split") for s in right.plan.steps if "split" in s.layers] == [1]

    monkeypatch.setattr(memories._Memories, "_root", lambda self, name: (found(self, name)[0], 0))
    wrong = compile_exported(source, target, emit=Emit.BUNDLE)
    report = verify(wrong, model=model, per_layer=True)
    assert report.first_divergence.value == "c"
    assert "split" in report.first_divergence.layers

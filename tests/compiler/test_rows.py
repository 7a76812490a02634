"""Reductions of neighbours in memory, and normalisation of rows, against double precision."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_graphs import Arrays, assert_close, compile_model, graph_model, run_library, run_model

from edgeconv.compiler.schedules.cpu.reductions import MOST_TERMS, VECTORS
from edgeconv.devices import open_session

RANDOM = np.random.default_rng(3)
REDUCTIONS = {
    "ReduceSum": lambda x: x.sum(-1),
    "ReduceMean": lambda x: x.mean(-1),
    "ReduceSumSquare": lambda x: (x * x).sum(-1),
    "ReduceProd": lambda x: x.prod(-1),
    "ReduceMax": lambda x: x.max(-1),
    "ReduceMin": lambda x: x.min(-1),
}


def reductions(shapes: list[tuple[int, ...]], dtype: str = "float32") -> tuple:
    """Return a model of every reduction of the last axis of every input, inputs and results."""
    nodes, inputs, want = [], {}, {}
    for i, shape in enumerate(shapes):
        x = inputs[f"x{i}"] = RANDOM.uniform(0.5, 1.5, shape).astype(dtype)
        for name, exact in REDUCTIONS.items():
            result = f"{name}{i}"
            nodes.append(helper.make_node(name, [f"x{i}", "axes"], [result], keepdims=0))
            want[result] = exact(x.astype(np.float64))
    model = graph_model(nodes, inputs, list(want), {"axes": np.array([-1], np.int64)})
    return model, inputs, want


def check(got: Arrays, want: Arrays, inputs: Arrays) -> None:
    for name, exact in want.items():
        length = inputs[f"x{name[-1]}"].shape[-1]
        assert_close(got[name], exact.astype(got[name].dtype), length, f"{name} of {length}")


SHAPES = st.tuples(
    st.integers(1, 5), st.integers(1, 9), st.sampled_from([8, 12, 20, 32, 48, 96, 384])
)


@settings(max_examples=3, deadline=None)
@given(shapes=st.lists(SHAPES, min_size=2, max_size=4), threads=st.integers(1, 3))
def test_any_rows_are_reduced(shapes: list[tuple[int, ...]], threads: int) -> None:
    model, inputs, want = reductions(shapes)
    check(run_library(compile_model(model, inputs), inputs, threads), want, inputs)


@pytest.mark.parametrize("target", ["rasp4", "rasp2"])
def test_rows_are_reduced_under_emulation(target: str) -> None:
    model, inputs, want = reductions([(3, 64), (2, 5, 48), (1, 20)])
    check(open_session(compile_model(model, inputs, target), None).run(inputs), want, inputs)


def test_double_precision_and_integers() -> None:
    model, inputs, want = reductions([(3, 64)], "float64")
    for name, got in run_model(model, inputs).items():
        np.testing.assert_allclose(got, want[name], rtol=1e-13)
    nodes = [
        helper.make_node(name, ["x", "axes"], [name], keepdims=0)
        for name in ("ReduceSum", "ReduceMax", "ReduceMin")
    ]
    inputs = {"x": RANDOM.integers(-1000, 1000, (5, 32)).astype(np.int32)}
    model = graph_model(nodes, inputs, [node.output[0] for node in nodes], {"axes": np.array([1])})
    for name, got in run_model(model, inputs).items():
        np.testing.assert_array_equal(got, REDUCTIONS[name](inputs["x"]))


@pytest.mark.parametrize("name", ["ReduceMax", "ReduceMin"])
def test_infinite_rows_and_what_is_not_a_number(name: str) -> None:
    x = RANDOM.standard_normal((6, 64)).astype(np.float32)
    x[1], x[2], x[3, 37], x[4, 63], x[5, 0] = -np.inf, np.inf, np.nan, -np.inf, np.nan
    node = helper.make_node(name, ["x", "axes"], ["y"], keepdims=0)
    model = graph_model([node], {"x": x}, ["y"], {"axes": np.array([1])})
    np.testing.assert_array_equal(run_model(model, {"x": x})["y"], REDUCTIONS[name](x))


class Norm(NamedTuple):
    """A normalisation of an input of that shape, over the axes from `axis` on, or in `groups`."""

    shape: tuple[int, ...]
    axis: int = -1
    groups: int = 0
    scale: tuple[int, ...] = ()  # of another shape than what is normalised
    shift: bool = True


def normalisations(cases: list[Norm]) -> tuple:
    """Return a model of the cases side by side, inputs and results."""
    nodes, inputs, constants, want = [], {}, {}, {}
    for i, case in enumerate(cases):
        x = inputs[f"x{i}"] = (RANDOM.standard_normal(case.shape) * 3 + 5).astype(np.float32)
        axis = case.axis % len(case.shape)
        rows = x.astype(np.float64)
        if case.groups:
            shape: tuple[int, ...] = (case.shape[1],)
            rows = rows.reshape(case.shape[0] * case.groups, -1)
            along: tuple[int, ...] = (1,)
        else:
            shape = case.scale or case.shape[axis:]
            along = tuple(range(axis, len(case.shape)))
        scale = constants[f"s{i}"] = RANDOM.uniform(0.5, 2, shape).astype(np.float32)
        shift = constants[f"b{i}"] = RANDOM.standard_normal(shape).astype(np.float32)
        spread = np.sqrt(rows.var(along, keepdims=True) + 1e-5)
        normal = ((rows - rows.mean(along, keepdims=True)) / spread).reshape(case.shape)
        if case.groups:
            scale, shift = (a.reshape(-1, *(1,) * (len(case.shape) - 2)) for a in (scale, shift))
        want[f"y{i}"] = normal * scale + (shift if case.shift or case.groups else 0)
        operands = [f"x{i}", f"s{i}", *([f"b{i}"] if case.shift or case.groups else [])]
        kind, options = "LayerNormalization", {"axis": case.axis}
        if case.groups == case.shape[1]:
            kind, options = "InstanceNormalization", {}
        elif case.groups:
            kind, options = "GroupNormalization", {"num_groups": case.groups}
        nodes.append(helper.make_node(kind, operands, [f"y{i}"], epsilon=1e-5, **options))
    return graph_model(nodes, inputs, list(want), constants, opset=21), inputs, want


NORMS = [
    Norm((2, 7, 96)),
    Norm((5, 20), shift=False),
    Norm((3, 49)),
    Norm((2, 4, 6, 16), axis=2),
    Norm((3, 5, 32), axis=1, scale=(32,)),
    Norm((3, 5, 32), scale=(1,)),
    Norm((2, 8, 6, 10), groups=2),
    Norm((1, 6, 8, 8), groups=6),
    Norm((2, 6, 8, 8), groups=6),
    Norm((1, 2, 160, 192), groups=2),
]


def check_norms(got: Arrays, want: Arrays) -> None:
    for case, (name, exact) in zip(NORMS, want.items(), strict=True):
        error = np.abs(got[name] - exact).max() / np.abs(exact).max()
        assert error < 1e-5, f"{case}: {error:.2g}"


@pytest.mark.parametrize("threads", [1, 2])
def test_norms_on_this_machine(threads: int) -> None:
    model, inputs, want = normalisations(NORMS)
    check_norms(run_library(compile_model(model, inputs), inputs, threads), want)


@pytest.mark.parametrize("target", ["rasp4", "rasp2", "mali-g610"])
def test_norms_on_other_targets(target: str) -> None:
    model, inputs, want = normalisations(NORMS)
    check_norms(open_session(compile_model(model, inputs, target), None).run(inputs), want)


def test_scale_and_shift_are_in_the_kernel() -> None:
    model, inputs, _ = normalisations([Norm((1, 7, 96)), Norm((1, 6, 8, 8), groups=6)])
    families = [step.family for step in compile_model(model, inputs).plan.steps]
    assert families == ["standardised", "standardised"]


def test_long_rows_are_summed_in_runs() -> None:
    """Terms of one sign, of which a lane of all would sum thousands."""
    x = RANDOM.uniform(0.1, 1.1, (2, 16 * VECTORS * MOST_TERMS * 6)).astype(np.float32)
    node = helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0)
    model = graph_model([node], {"x": x}, ["y"], {"axes": np.array([1])})
    got, want = run_model(model, {"x": x})["y"], x.astype(np.float64).mean(1)
    assert np.abs(got / want - 1).max() < 4 * np.finfo(np.float32).eps

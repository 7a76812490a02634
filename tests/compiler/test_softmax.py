"""Softmax over any axis, against double precision, and exponential functions over their range."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_graphs import compile_model, graph_model, run_model

from edgeconv.devices import open_session

NAN, INF = math.nan, math.inf
SPECIAL = [NAN, INF, -INF, 0.0, 1e-30, -1e-30, 1e30, -1e30, 88.7, 88.8, -87.0, -100.0]


@settings(max_examples=8, deadline=None)
@given(shape=st.lists(st.integers(1, 37), min_size=1, max_size=3), data=st.data())
def test_softmax_over_any_axis(shape: list[int], data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = np.random.default_rng(len(shape)).standard_normal(shape, np.float32) * 5
    model = graph_model([helper.make_node("Softmax", ["x"], ["y"], axis=axis)], {"x": x}, ["y"])
    powers = np.exp((x - x.max(axis, keepdims=True)).astype(np.float64))
    want = powers / powers.sum(axis, keepdims=True)
    np.testing.assert_allclose(run_model(model, {"x": x})["y"], want, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize(("rows", "columns"), [(4, 8), (5, 7), (1, 3)])
def test_logits_of_relative_position_are_added_in_the_kernel(rows: int, columns: int) -> None:
    random = np.random.default_rng(0)
    shape = (2, 3, rows * columns)
    inputs = {
        "x": random.standard_normal(shape, np.float32),
        "a": random.standard_normal((2, 3, rows, 1), np.float32),
        "b": random.standard_normal((2, 3, 1, columns), np.float32),
    }
    nodes = [
        helper.make_node("Add", ["b", "a"], ["pairs"]),
        helper.make_node("Reshape", ["pairs", "shape"], ["flat"]),
        helper.make_node("Add", ["flat", "x"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"]),
    ]
    model = graph_model(nodes, inputs, ["y"], {"shape": np.array(shape)})
    (step,) = compile_model(model, inputs).plan.steps
    assert step.family == "softmax"
    logits = inputs["x"].astype(np.float64) + (inputs["a"] + inputs["b"]).reshape(shape)
    want = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(run_model(model, inputs)["y"], want, rtol=2e-6)


@pytest.mark.parametrize("target", ["host", "rasp4"])
@pytest.mark.parametrize("axis", [0, 1])
def test_special_values_spread_over_their_rows(axis: int, target: str) -> None:
    rows = np.random.default_rng(1).standard_normal((5, 45)).astype(np.float32)
    for row, (value, place) in enumerate([(NAN, 3), (NAN, 44), (INF, 33), (-INF, 17)]):
        rows[row, place] = value
    x = np.ascontiguousarray(rows if axis else rows.T)
    model = graph_model([helper.make_node("Softmax", ["x"], ["y"], axis=axis)], {"x": x}, ["y"])
    if target == "host":
        got = run_model(model, {"x": x})["y"]
    else:
        got = open_session(compile_model(model, {"x": x}, target)).run({"x": x})["y"]
    got = got if axis else got.T
    assert np.isnan(got[:3]).all()
    powers = np.exp(rows[3:].astype(np.float64))
    np.testing.assert_allclose(got[3:], powers / powers.sum(1, keepdims=True), rtol=1e-6)


def test_elements_far_below_the_maximum() -> None:
    x = -np.linspace(0, 120, 2403, dtype=np.float32)[None]
    model = graph_model([helper.make_node("Softmax", ["x"], ["y"])], {"x": x}, ["y"])
    got = run_model(model, {"x": x})["y"]
    powers = np.exp(x.astype(np.float64))
    want = powers / powers.sum()
    # What would be denormal may be 0.
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1.2e-38)
    assert not got[0, x[0] < -105].any()


# Digits that are lost, in units of the last place of single precision, and the exact function.
FUNCTIONS = {
    "Exp": (1.0, math.exp, 87.0),
    "Tanh": (1.5, math.tanh, 10.0),
    "Erf": (1.5, math.erf, 5.0),
    "Sigmoid": (3.0, lambda x: 1 / (1 + math.exp(-x)), 80.0),
}


def functions() -> tuple[object, dict[str, np.ndarray]]:
    """One model with every function on values over its range, and on special ones."""
    inputs = {"special": np.array(SPECIAL, np.float32)}
    nodes = []
    for op, (_, _, reach) in FUNCTIONS.items():
        small = np.float32(10.0) ** np.linspace(-30, 0, 301, dtype=np.float32)
        wide = np.linspace(-reach, reach, 4099, dtype=np.float32)
        inputs[op.lower()] = np.concatenate([wide, small, -small])
        nodes.append(helper.make_node(op, [op.lower()], [f"{op}_y"]))
        nodes.append(helper.make_node(op, ["special"], [f"{op}_special"]))
    outputs = [node.output[0] for node in nodes]
    return graph_model(nodes, inputs, outputs), inputs


def check(got: dict[str, np.ndarray], inputs: dict[str, np.ndarray]) -> None:
    for op, (units, exact, _) in FUNCTIONS.items():
        want = np.array([exact(x) for x in inputs[op.lower()].astype(np.float64)])
        error = np.abs(got[f"{op}_y"] - want) / np.spacing(np.abs(want).astype(np.float32))
        assert error.max() <= units, f"{op}: {error.max():.2f} units in the last place"
    limits = {"Exp": (INF, 0), "Tanh": (1, -1), "Erf": (1, -1), "Sigmoid": (1, 0)}
    for op, (high, low) in limits.items():
        special = got[f"{op}_special"]
        np.testing.assert_array_equal(special[:3], np.array([NAN, high, low], np.float32), op)
        np.testing.assert_array_equal(special[6:8], np.array([high, low], np.float32), op)
    # Beyond 88.72 there is no number; what is left below -87.3 has fewer digits.
    assert np.isfinite(got["Exp_special"][8])
    assert np.isposinf(got["Exp_special"][9])
    assert 0 <= got["Exp_special"][11] <= 1e-43


def test_functions_on_this_machine() -> None:
    model, inputs = functions()
    check(run_model(model, inputs), inputs)


@pytest.mark.parametrize("target", ["rasp4", "rasp2"])
def test_functions_under_emulation(target: str) -> None:
    model, inputs = functions()
    check(open_session(compile_model(model, inputs, target), None).run(inputs), inputs)

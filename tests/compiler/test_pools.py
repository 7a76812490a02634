"""Pools of plain tensors, whose lanes are columns of an image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from onnx import helper
from onnx_graphs import Arrays, compile_model, graph_model, run_model

from edgeconv.devices import open_session


class Case(NamedTuple):
    channels: int
    size: tuple[int, int]
    kernel: int
    stride: int
    pads: tuple[int, int, int, int]


def windows(x: np.ndarray, case: Case, fill: float) -> np.ndarray:
    top, left, bottom, right = case.pads
    borders = [(0, 0), (0, 0), (top, bottom), (left, right)]
    padded = np.pad(x, borders, constant_values=fill)
    every = sliding_window_view(padded, (case.kernel,) * 2, (2, 3))
    return every[:, :, :: case.stride, :: case.stride]


def build(cases: list[Case]) -> tuple[onnx.ModelProto, Arrays, Arrays]:
    """Return a model with a maximum and a mean of every case, its inputs and results."""
    nodes, inputs, want = [], {}, {}
    for i, case in enumerate(cases):
        drawn = np.random.default_rng(i).integers(-99, 99, (2, case.channels, *case.size))
        x = inputs[f"x{i}"] = drawn.astype(np.float32)
        x[0, 0, 0, case.size[1] // 2] = np.nan
        window = {
            "kernel_shape": [case.kernel] * 2,
            "strides": [case.stride] * 2,
            "pads": case.pads,
        }
        nodes += [
            helper.make_node("MaxPool", [f"x{i}"], [f"max{i}"], **window),
            helper.make_node("AveragePool", [f"x{i}"], [f"mean{i}"], **window),
        ]
        want[f"max{i}"] = windows(x, case, -np.inf).max((-1, -2))
        count = windows(np.ones_like(x), case, 0).sum((-1, -2))
        want[f"mean{i}"] = windows(x, case, 0).sum((-1, -2)) / count
    return graph_model(nodes, inputs, list(want)), inputs, want


def check(got: Arrays, want: Arrays) -> None:
    for name, array in want.items():
        # Sums of whole numbers do not round, means do.
        np.testing.assert_allclose(
            got[name], array, rtol=0 if name.startswith("max") else 1e-6, err_msg=name
        )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    kernel = draw(st.integers(1, 4))
    pad = st.integers(0, kernel - 1)
    size = st.integers(kernel, 41)
    return Case(
        draw(st.integers(1, 5)),
        (draw(size), draw(size)),
        kernel,
        draw(st.integers(1, 3)),
        (draw(pad), draw(pad), draw(pad), draw(pad)),
    )


@settings(max_examples=8, deadline=None)
@given(drawn=st.lists(cases(), min_size=2, max_size=5))
def test_drawn_pools(drawn: list[Case]) -> None:
    model, inputs, want = build(drawn)
    check(run_model(model, inputs), want)


AWKWARD = [
    Case(3, (57, 61), 3, 2, (1, 1, 1, 1)),
    Case(2, (30, 31), 3, 1, (1, 1, 1, 1)),
    Case(5, (9, 8), 2, 2, (0, 1, 0, 1)),
    Case(1, (7, 19), 4, 3, (3, 0, 2, 1)),
    # Several bands for threads.
    Case(8, (112, 113), 3, 2, (1, 1, 0, 0)),
]


def test_awkward_pools() -> None:
    model, inputs, want = build(AWKWARD)
    check(run_model(model, inputs), want)


def test_awkward_pools_under_emulation() -> None:
    model, inputs, want = build(AWKWARD)
    check(open_session(compile_model(model, inputs, "rasp4")).run(inputs, threads=3), want)

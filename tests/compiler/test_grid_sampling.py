"""GridSample on CPUs: in blocks and without, against ONNX Runtime and PyTorch."""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_graphs import Arrays, assert_close, compile_model, exported, graph_model, run_model
from torch.nn.functional import grid_sample

from edgeconv.devices import open_session
from edgeconv.target import load_target

MODES = {"nearest": "nearest", "linear": "bilinear", "cubic": "bicubic"}
PADDINGS = ["zeros", "border", "reflection"]
NAN, INF = float("nan"), float("inf")


class Case(NamedTuple):
    batch: int
    channels: int
    size: tuple[int, ...]
    places: tuple[int, ...]
    mode: str
    padding: str
    align_corners: int

    @property
    def attributes(self) -> dict[str, Any]:
        return {
            "mode": self.mode,
            "padding_mode": self.padding,
            "align_corners": self.align_corners,
        }


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def build(cases: list[Case]) -> tuple[onnx.ModelProto, Arrays]:
    """Return a model that samples each tensor as it comes, and as a convolution leaves it.

    A third of the places lie outside, some of them far.
    """
    nodes, inputs, constants, outputs = [], {}, {}, []
    for i, case in enumerate(cases):
        ones = np.ones((case.channels, 1, *(1,) * len(case.size)), np.float32)
        constants[f"w{i}"] = ones * np.float32(1.5)
        inputs[f"x{i}"] = normal(i, case.batch, case.channels, *case.size)
        inputs[f"g{i}"] = normal(i + 1, case.batch, *case.places, len(case.size))
        inputs[f"g{i}"][:, :1] *= 9
        nodes += [
            helper.make_node("Conv", [f"x{i}", f"w{i}"], [f"c{i}"], group=case.channels),
            helper.make_node("GridSample", [f"x{i}", f"g{i}"], [f"plain{i}"], **case.attributes),
            helper.make_node("GridSample", [f"c{i}", f"g{i}"], [f"s{i}"], **case.attributes),
            helper.make_node("Sigmoid", [f"s{i}"], [f"blocked{i}"]),
        ]
        outputs += [f"plain{i}", f"blocked{i}"]
    return graph_model(nodes, inputs, outputs, constants), inputs


def run(model: onnx.ModelProto, inputs: Arrays, target: str) -> Arrays:
    if target == "host":
        return run_model(model, inputs)
    return open_session(compile_model(model, inputs, target), None).run(inputs)


def check(model: onnx.ModelProto, inputs: Arrays, target: str) -> None:
    got = run(model, inputs, target)
    for name, want in exported(model, inputs).golden[0].outputs.items():
        assert_close(got[name], want, 64, name)


def axes(most: int) -> st.SearchStrategy[int]:
    return st.integers(1, most)


PLANES = st.tuples(st.tuples(axes(9), axes(9)), st.tuples(axes(12), axes(12)))
VOLUMES = st.tuples(st.tuples(axes(4), axes(5), axes(6)), st.tuples(axes(3), axes(5), axes(7)))


@st.composite
def cases(draw: Any) -> Case:
    size, places = draw(st.one_of(PLANES, PLANES, VOLUMES))
    # ONNX Runtime has no cubic interpolation of volumes.
    modes = st.sampled_from(list(MODES) if len(size) == 2 else ["nearest", "linear"])
    padding = st.sampled_from(PADDINGS)
    sizes = draw(st.integers(1, 3)), draw(st.integers(1, 70))
    return Case(*sizes, size, places, draw(modes), draw(padding), draw(st.integers(0, 1)))


@settings(max_examples=12, deadline=None)
@given(cases())
def test_samples_equal_onnxruntime(case: Case) -> None:
    model, inputs = build([case])
    check(model, inputs, "host")


def test_the_last_bands_of_a_batch_overlap_those_before_them() -> None:
    pixels = load_target("host").lanes + 1
    check(*build([Case(4, 20, (3, 5), (1, pixels), "linear", "zeros", 0)]), "host")


@pytest.mark.parametrize("constant", ["x", "grid"])
def test_constants(constant: str) -> None:
    arrays = {"x": normal(0, 1, 6, 5, 4), "grid": normal(1, 1, 5, 7, 2)}
    constants = {constant: arrays.pop(constant)}
    node = helper.make_node("GridSample", ["x", "grid"], ["y"])
    check(graph_model([node], arrays, ["y"], constants), arrays, "host")


@pytest.mark.parametrize(("target", "step"), [("rasp4", 1), ("rasp2", 4)])
def test_samples_equal_onnxruntime_on_arm(target: str, step: int) -> None:
    sizes = [(1, 5, (6, 7), (5, 9)), (2, 1, (4, 5), (3, 7)), (3, 16, (3, 8), (4, 4))]
    planes = [
        Case(*sizes[i % 3], mode, padding, i % 2)
        for i, (mode, padding) in enumerate(product(MODES, PADDINGS))
    ]
    volume = Case(1, 9, (3, 4, 5), (2, 3, 7), "linear", "zeros", 0)
    model, inputs = build([volume, *planes][::step])
    check(model, inputs, target)


@pytest.mark.parametrize("mode", MODES)
def test_between_convolutions_nothing_changes_its_layout(mode: str) -> None:
    """What follows element by element is computed in the same kernel."""
    x, grid, w = normal(0, 1, 32, 6, 7), normal(1, 1, 5, 8, 2), normal(2, 32, 32, 1, 1)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("GridSample", ["a", "grid"], ["b"], mode=mode),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "w"], ["y"]),
    ]
    model = graph_model(nodes, {"x": x, "grid": grid}, ["y"], {"w": w})
    families = [step.family for step in compile_model(model, {"x": x, "grid": grid}).plan.steps]
    first, last = families.index("grid_sample"), len(families) - 1 - families[::-1].index("layout")
    assert "layout" not in families[first - 1 : last]
    assert "elementwise" not in families


@pytest.mark.parametrize("target", ["host", "rasp4"])
@pytest.mark.parametrize("channels", [1, 16])
def test_infinity_outside_of_what_is_read_adds_nothing(channels: int, target: str) -> None:
    """The border, where a corner outside is moved to, holds what would spoil a product."""
    x, grid = normal(0, 1, channels, 5, 6), normal(1, 1, 9, 9, 2)
    x[:, :, 0], x[:, :, :, -1] = INF, NAN
    grid[0, 0] = 3
    inputs = {"x": x, "grid": grid}
    for mode, name in MODES.items():
        node = helper.make_node("GridSample", ["x", "grid"], ["y"], mode=mode)
        model = graph_model([node], inputs, ["y"])
        got = run(model, inputs, target)["y"]
        tensors = torch.from_numpy(x), torch.from_numpy(grid)
        want = grid_sample(*tensors, name, "zeros", align_corners=False).numpy()
        assert (want[:, :, 0] == 0).all()
        assert 0 < np.isfinite(want).sum() < want.size
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5, err_msg=mode)


@pytest.mark.parametrize("target", ["host", "rasp4"])
@pytest.mark.parametrize("channels", [1, 16])
def test_places_that_are_not_numbers_spoil_no_others(channels: int, target: str) -> None:
    x, grid = normal(0, 1, channels, 5, 6), normal(1, 1, 4, 9, 2)
    grid[0, 1, ::2, 0], grid[0, 2, ::3, 1] = NAN, NAN
    lost, inputs = np.isnan(grid[0]).any(-1), {"x": x, "grid": grid}
    for padding in PADDINGS:
        node = helper.make_node("GridSample", ["x", "grid"], ["y"], padding_mode=padding)
        model = graph_model([node], inputs, ["y"])
        got = run(model, inputs, target)["y"]
        want = exported(model, inputs).golden[0].outputs["y"]
        assert np.isnan(got[:, :, lost]).all()
        assert_close(got[:, :, ~lost], want[:, :, ~lost], 64, padding)


def test_few_places_of_a_large_image_are_read_where_they_are() -> None:
    x, grid = normal(0, 1, 24, 40, 50), normal(1, 1, 1, 7, 2)
    node = helper.make_node("GridSample", ["x", "grid"], ["y"])
    model = graph_model([node], {"x": x, "grid": grid}, ["y"])
    assert len(compile_model(model, {"x": x, "grid": grid}).plan.steps) == 1

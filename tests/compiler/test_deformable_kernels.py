"""Deformable convolution where shapes, groups and offsets are awkward; `fuzz` draws others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_graphs import (
    Arrays,
    assert_close,
    compile_model,
    graph_model,
    run_model,
    with_caches,
)

from edgeconv.devices import open_session
from edgeconv.ops.deform_conv import deform_conv2d


@dataclass(frozen=True)
class Case:
    batch: int
    channels: int
    outputs: int
    size: tuple[int, int]
    kernel: tuple[int, int] = (3, 3)
    groups: int = 1
    offset_groups: int = 1
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    masked: bool = True
    computed: bool = False  # weights are an input
    spread: float = 2.0

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    @property
    def windows(self) -> list[int]:
        axes = zip(self.size, self.padding, self.dilation, self.kernel, self.stride, strict=True)
        return [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in axes]

    def draw(self) -> Arrays:
        random = np.random.default_rng(self.channels)
        moves = self.offset_groups * self.taps
        shapes = {
            "X": (self.batch, self.channels, *self.size),
            "W": (self.outputs, self.channels // self.groups, *self.kernel),
            "offset": (self.batch, 2 * moves, *self.windows),
            "B": (self.outputs,),
            "mask": (self.batch, moves, *self.windows),
        }
        arrays = {name: random.standard_normal(shape, np.float32) for name, shape in shapes.items()}
        arrays["offset"] *= self.spread
        if not self.masked:
            del arrays["mask"]
        return arrays

    def want(self, arrays: Arrays) -> np.ndarray:
        names = {"X": "x", "W": "weight", "offset": "offset", "B": "bias", "mask": "mask"}
        tensors = {names[name]: torch.from_numpy(array) for name, array in arrays.items()}
        geometry = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        return deform_conv2d(**tensors, **geometry).numpy()


def build(cases: list[Case], drawn: list[Arrays]):
    nodes, inputs, constants = [], {}, {}
    for i, (case, arrays) in enumerate(zip(cases, drawn, strict=True)):
        fixed = () if case.computed else ("W", "B")
        for name, array in arrays.items():
            (constants if name in fixed else inputs)[f"{name}{i}"] = array
        attributes = {"strides": case.stride, "dilations": case.dilation, "pads": case.padding * 2}
        attributes |= {"group": case.groups, "offset_group": case.offset_groups}
        names = [f"{name}{i}" for name in arrays]
        nodes.append(helper.make_node("DeformConv", names, [f"Y{i}"], f"deform{i}", **attributes))
    outputs = [f"Y{i}" for i in range(len(cases))]
    return graph_model(nodes, inputs, outputs, constants), inputs


def check(cases: list[Case], drawn: list[Arrays], got: Arrays) -> None:
    for i, (case, arrays) in enumerate(zip(cases, drawn, strict=True)):
        length = case.taps * case.channels // case.groups
        assert_close(got[f"Y{i}"], case.want(arrays), length, str(case))


AWKWARD = [
    Case(1, 32, 32, (14, 14)),
    Case(2, 17, 10, (13, 11)),
    Case(1, 32, 64, (9, 9), groups=2, offset_groups=2),
    Case(2, 12, 6, (7, 5), groups=2, offset_groups=3, masked=False),
    Case(1, 16, 32, (15, 16), stride=(2, 1), dilation=(1, 2), padding=(1, 2)),
    Case(1, 32, 32, (12, 12), groups=32, offset_groups=4),
    Case(2, 6, 6, (5, 7), groups=6, offset_groups=3, masked=False),
    Case(1, 3, 5, (1, 1), kernel=(1, 1), padding=(0, 0)),
    Case(1, 16, 16, (9, 9), spread=50.0),
    Case(1, 6, 4, (5, 4), groups=2, computed=True),
]


def test_awkward_cases_on_this_machine() -> None:
    drawn = [case.draw() for case in AWKWARD]
    model, inputs = build(AWKWARD, drawn)
    check(AWKWARD, drawn, run_model(model, inputs))


@pytest.mark.parametrize("target", ["rasp4", "rasp2"])
def test_awkward_cases_under_emulation(target: str) -> None:
    drawn = [case.draw() for case in AWKWARD]
    model, inputs = build(AWKWARD, drawn)
    check(AWKWARD, drawn, open_session(compile_model(model, inputs, target), None).run(inputs))


LONG = [
    Case(1, 64, 160, (14, 13)),
    Case(2, 32, 24, (9, 11), stride=(2, 1)),
    Case(1, 64, 32, (12, 7), groups=2, offset_groups=2, masked=False),
    Case(1, 128, 16, (6, 21), kernel=(1, 1), padding=(0, 0)),
]


@pytest.mark.parametrize("l2_kib", [None, 64])
@pytest.mark.parametrize("target", ["rasp4", "rasp2"])
def test_runs_of_channels(target: str, l2_kib: int | None) -> None:
    """Of an image at once, and in bands that threads share."""
    drawn = [case.draw() for case in LONG]
    model, inputs = build(LONG, drawn)
    artifact = compile_model(model, inputs, with_caches(target, 3, l2_kib))
    check(LONG, drawn, open_session(artifact).run(inputs))


def test_a_run_of_channels_meets_all_tiles_before_the_next() -> None:
    case = Case(1, 64, 160, (14, 13))
    model, inputs = build([case], [case.draw()])
    few, all_ = (
        compile_model(model, inputs, target).plan.scratch_bytes
        for target in (with_caches("rasp4", 3), with_caches("rasp4", 1024))
    )
    # The sums of a panel wait.
    assert few > all_


GROUPS = [(1, 1), (1, 4), (2, 1), (2, 2), (4, 2), (12, 3)]


@settings(max_examples=6, deadline=None)
@given(
    size=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    groups=st.sampled_from(GROUPS),
    outputs=st.sampled_from([12, 24]),
    masked=st.booleans(),
)
def test_any_geometry(groups: tuple[int, int], **geometry) -> None:
    case = Case(1, 12, groups=groups[0], offset_groups=groups[1], **geometry)
    drawn = [case.draw()]
    model, inputs = build([case], drawn)
    check([case], drawn, run_model(model, inputs))


@pytest.mark.parametrize("groups", [1, 8])
def test_what_lies_outside_is_zero_whatever_stands_at_the_border(groups: int) -> None:
    case = Case(1, 8, 8, (4, 5), groups=groups)
    arrays = case.draw()
    arrays["X"][:, :, 0, 0] = np.nan
    arrays["X"][:, :, 3, 4] = np.inf
    places = [np.nan, np.inf, -np.inf, 1e30, -1e30, -1.0, -0.5, 0.0, 3.0, 4.0]
    arrays["offset"].reshape(-1)[:360] = np.resize(places, 360)
    model, inputs = build([case], [arrays])
    got, want = run_model(model, inputs)["Y0"], case.want(arrays)
    finite = np.isfinite(want)
    np.testing.assert_array_equal(np.isfinite(got), finite)
    assert 0 < finite.sum() < finite.size
    np.testing.assert_allclose(got[finite], want[finite], atol=1e-4)


def test_a_wide_layer_is_sampled_in_bands() -> None:
    """All of its columns are 9 MiB."""
    case = Case(1, 64, 16, (64, 64))
    drawn = [case.draw()]
    model, inputs = build([case], drawn)
    plan = compile_model(model, inputs, "rasp4").plan
    assert plan.scratch_bytes < 2**20
    check([case], drawn, run_model(model, inputs))

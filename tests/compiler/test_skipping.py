"""Direct convolutions that leave out taps which read nothing but padding."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_graphs import assert_close, compile_model, graph_model, run_model
from tvm import tirx
from tvm.sym import Analyzer

import edgeconv
from edgeconv.compiler.compute.skipping import Skip
from edgeconv.compiler.schedules import skipping
from edgeconv.compiler.schedules.machine import Machine, tile_counts
from edgeconv.compiler.schedules.skipping import skipping_tile
from edgeconv.devices import open_session
from edgeconv.target import load_target


@st.composite
def axes(draw, most: int = 40) -> tuple[Skip, int]:
    """Return an axis and its padding after."""
    extent, taps = draw(st.integers(1, most)), draw(st.integers(2, 4))
    stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 20))
    before, after = draw(st.integers(0, 24)), draw(st.integers(0, 24))
    reach = dilation * (taps - 1) + 1
    after = max(after, reach - extent - before)
    outputs = (extent + before + after - reach) // stride + 1
    return Skip(extent, outputs, taps, stride, dilation, before, draw(st.integers(1, 8))), after


@given(axes())
def test_what_is_skipped_is_padding_and_what_is_read_is_there(drawn) -> None:
    skip, _ = drawn
    before, after = skip.margins
    met = 0
    for start in range(0, skip.outputs, skip.run):
        for tap in range(skip.taps):
            places = [skip.place(start + i, tap) for i in range(skip.run)]
            if any(0 <= place < skip.extent for place in places):
                assert skip.span(start, tap) in skip.spans
            if skip.span(start, tap) in skip.spans:
                met += 1
                assert all(-before <= place < skip.extent + after for place in places)
    assert skip.runs == pytest.approx(met / skip.taps)


@given(axes())
def test_every_output_finds_what_it_meets_among_the_taps_met(drawn) -> None:
    skip, _ = drawn
    some = False
    for output in range(skip.outputs):
        first = int(Analyzer().simplify(tirx.IntImm("int32", 0) + skip.first(output)))
        meets = [0 <= skip.place(output, tap) < skip.extent for tap in range(skip.taps)]
        inside = range(first, first + skip.met)
        assert {tap for tap, met in enumerate(meets) if met} <= set(inside)
        some |= not all(tap < skip.taps and meets[tap] for tap in inside)
    assert skip.leaves_some == some


def always(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Make convolutions skip taps where they can; return the tiles they took."""
    taken: list[object] = []

    def recorded(*arguments, **keywords):
        tile = skipping_tile(*arguments, **keywords)
        taken.append(tile)
        return tile

    monkeypatch.setattr(skipping, "WORTHWHILE", math.inf)
    monkeypatch.setattr(skipping, "few_pixels", lambda size: False)
    for module in ("passes.layout.convolutions.operands", "schedules.winograd"):
        monkeypatch.setattr(f"edgeconv.compiler.{module}.skipping_tile", recorded)
    return taken


@st.composite
def convolutions(draw) -> tuple[list[tuple[Skip, int]], int, int, int]:
    """Return the spatial axes, input channels, output channels and groups."""
    groups = draw(st.sampled_from([1, 1, 2]))
    per_group = draw(st.sampled_from([24, 32, 40]))
    outs = draw(st.sampled_from([8, 16, 24]))
    rank = draw(st.integers(1, 3))
    spatial = draw(st.lists(axes(most=(24, 12, 5)[rank - 1]), min_size=rank, max_size=rank))
    return spatial, groups * per_group, groups * outs, groups


def check(cases, target: str) -> None:
    """Run layers side by side, each with a bias and Relu, and compare with PyTorch."""
    random = np.random.default_rng(0)
    nodes, inputs, constants, want = [], {}, {}, {}
    for i, (spatial, channels, outs, groups) in enumerate(cases):
        skips = [skip for skip, _ in spatial]
        shape = (1, channels, *(skip.extent for skip in skips))
        kernel = (outs, channels // groups, *(skip.taps for skip in skips))
        x = inputs[f"x{i}"] = random.standard_normal(shape, np.float32)
        w = constants[f"w{i}"] = random.standard_normal(kernel, np.float32)
        b = constants[f"b{i}"] = random.standard_normal(outs, np.float32)
        before, after = [skip.before for skip in skips], [after for _, after in spatial]
        steps = [skip.stride for skip in skips], [skip.dilation for skip in skips]
        nodes.append(
            helper.make_node(
                "Conv",
                [f"x{i}", f"w{i}", f"b{i}"],
                [f"c{i}"],
                group=groups,
                strides=steps[0],
                dilations=steps[1],
                pads=[*before, *after],
            )
        )
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"y{i}"]))
        sides = [n for pair in zip(before[::-1], after[::-1], strict=True) for n in pair]
        padded = torch.nn.functional.pad(torch.from_numpy(x), sides)
        function = getattr(torch.nn.functional, f"conv{len(skips)}d")
        y = function(
            padded, torch.from_numpy(w), torch.from_numpy(b), *steps[:1], 0, steps[1], groups
        )
        assert y.shape[2:] == tuple(skip.outputs for skip in skips)
        want[f"y{i}"] = y.relu().numpy()
    model = graph_model(nodes, inputs, list(want), constants)
    if target == "host":
        got = run_model(model, inputs)
    else:
        got = open_session(compile_model(model, inputs, target), None).run(inputs)
    for i, (spatial, channels, _, groups) in enumerate(cases):
        length = channels // groups * math.prod(skip.taps for skip, _ in spatial)
        assert_close(got[f"y{i}"], want[f"y{i}"], length, str(cases[i]))


@settings(max_examples=8, deadline=None)
@given(cases=st.lists(convolutions(), min_size=3, max_size=3))
def test_results_are_those_of_padded_convolutions(cases) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        taken = always(monkeypatch)
        check(cases, "host")
        assert any(taken)


def square(side: int, dilation: int, **geometry: int) -> list[tuple[Skip, int]]:
    axis = Skip(side, side, 3, 1, dilation, dilation)
    return [(replace(axis, **geometry), dilation)] * 2


@pytest.mark.parametrize("target", ["rasp4", "rasp2"])
def test_results_under_emulation(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    taken = always(monkeypatch)
    uneven = [(Skip(9, 11, 3, 1, 6, 11), 3), (Skip(14, 9, 2, 2, 9, 2), 10)]
    cases = [(square(13, 6), 16, 16, 1), (uneven, 32, 24, 2), (square(7, 9), 40, 8, 1)]
    check(cases, target)
    assert all(taken)
    assert len(taken) >= len(cases)


@pytest.mark.parametrize("name", ["rasp4", "rasp2", "rasp5"])
def test_the_model_counts_what_is_left(name: str) -> None:
    machine = Machine.of(load_target(name))
    block = machine.lanes
    shape = {"block": block, "in_block": block, "depth": 9 * 320}

    def cost(side: int, dilation: int) -> float | None:
        axis = Skip(side, side, 3, 1, dilation, dilation)
        tile = skipping_tile([axis, axis], tile_counts(256 // block), machine, **shape)
        return None if tile is None else tile.cost

    assert cost(33, 1) is None
    far, farther = cost(33, 12), cost(33, 18)
    assert far is not None
    assert farther is not None
    assert farther < 0.8 * far


def test_the_far_taps_of_aspp_are_skipped() -> None:
    """Where they are near, Winograd's algorithm on the image's phases takes less time."""

    def families(dilation: int) -> list[str]:
        layer = torch.nn.Conv2d(320, 256, 3, padding=dilation, dilation=dilation, bias=False)
        artifact = edgeconv.compile(layer.eval(), (torch.zeros(1, 320, 33, 33),), target="rasp4")
        return [step.name for step in artifact.plan.steps]

    assert any("mosaic" in name for name in families(6))
    assert not any("mosaic" in name for name in families(18))

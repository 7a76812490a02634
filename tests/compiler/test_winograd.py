"""Winograd convolution against float64: exact transforms, bounded errors, awkward shapes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_graphs import compile_model, graph_model, run_library, run_model, with_caches

from edgeconv.compiler.compute import toom_cook
from edgeconv.compiler.compute.winograd import Tiling
from edgeconv.compiler.passes.layout.convolutions import dilated, winograd
from edgeconv.compiler.schedules.cpu.runs import Products
from edgeconv.compiler.schedules.machine import Machine, register_tile
from edgeconv.compiler.schedules.winograd import Layer
from edgeconv.devices import open_session
from edgeconv.target import Target, load_target

numbers = st.fractions(min_value=-4, max_value=4, max_denominator=16)
DIRECT = {2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}


def product(matrix, vector):
    return [sum((a * b for a, b in zip(row, vector, strict=True)), Fraction(0)) for row in matrix]


EVERY = [(m, stride) for m in toom_cook.SIZES for stride in toom_cook.STRIDES]


@pytest.mark.parametrize(("m", "stride"), EVERY)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_transforms_convolve_exactly(m: int, stride: int, data: st.DataObject) -> None:
    side = toom_cook.tile_side(m, stride)
    tile = data.draw(st.lists(numbers, min_size=side, max_size=side))
    kernel = data.draw(st.lists(numbers, min_size=3, max_size=3))
    want = [sum(tile[i * stride + k] * kernel[k] for k in range(3)) for i in range(m)]
    spread = product(toom_cook.weight_transform(m, stride), kernel)
    inputs = product(toom_cook.input_transform(m, stride), tile)
    products = [a * b for a, b in zip(spread, inputs, strict=True)]
    assert product(toom_cook.output_transform(m, stride), products) == want
    # Expressions use floats, which hold every coefficient of A and B.
    inputs = toom_cook.evaluated(tile, m, stride)
    products = [float(a) * float(b) for a, b in zip(spread, inputs, strict=True)]
    got = toom_cook.interpolated(products, m, stride)
    np.testing.assert_allclose(got, np.array(want, float), rtol=0, atol=1e-11)


@pytest.mark.parametrize(("m", "stride"), EVERY)
def test_coefficients_of_activations_are_exact_in_single_precision(m: int, stride: int) -> None:
    for matrix in (toom_cook.input_transform(m, stride), toom_cook.output_transform(m, stride)):
        for coefficient in (c for row in matrix for c in row):
            assert Fraction(float(np.float32(coefficient))) == coefficient


def forced(
    monkeypatch: pytest.MonkeyPatch,
    m: int,
    rows: int,
    across: int | None = None,
    *,
    parted: bool = False,
) -> list[Tiling]:
    """Make every layer that fits take tiles of `m` in chunks of that size; return what it took.

    The channels are `parted` by block, or computed together.
    """
    taken = []

    def always(layer: Layer, sizes: list[int], machine: Machine, budget: float):
        height, width = -(-layer.height // m), -(-layer.width // m)
        chunk = min(rows, height), min(across or width, width)
        tile = register_tile(
            chunk[0] * chunk[1],
            [1] if parted else layer.counts,
            machine,
            block=layer.out_block,
            in_block=layer.in_block,
        )
        parts = layer.out_blocks if parted else 1
        taken.append(Tiling(m, *chunk, tile.columns, layer.stride, parts))
        return taken[-1], tile

    monkeypatch.setattr(winograd, "choose", always)
    return taken


def layers(cases, seed: int = 0):
    """Return one model with a layer per (input, weight, pads, groups), inputs and float64 results.

    Every layer adds a bias and a second input, and ends in Relu, all in its epilogue.
    """
    random = np.random.default_rng(seed)
    nodes, inputs, constants, want = [], {}, {}, {}
    for i, (x, w, pads, groups, *options) in enumerate(cases):
        rank = x.ndim - 2
        before, after = pads[:rank], pads[rank:]
        geometry = dict.fromkeys(("dilation", "stride"), (1,) * rank) | dict(*options)
        sides = [side for pair in zip(before[::-1], after[::-1], strict=True) for side in pair]
        padded = torch.nn.functional.pad(torch.from_numpy(x).double(), sides)
        exact = DIRECT[rank](
            padded, torch.from_numpy(w).double(), groups=groups, **geometry
        ).numpy()
        bias = random.standard_normal(len(w), np.float32)
        other = random.standard_normal(exact.shape, np.float32)
        constants |= {f"w{i}": w, f"b{i}": bias}
        inputs |= {f"x{i}": x, f"r{i}": other}
        nodes += [
            helper.make_node(
                "Conv",
                [f"x{i}", f"w{i}", f"b{i}"],
                [f"c{i}"],
                pads=pads,
                group=groups,
                dilations=geometry["dilation"],
                strides=geometry["stride"],
            ),
            helper.make_node("Add", [f"c{i}", f"r{i}"], [f"s{i}"]),
            helper.make_node("Relu", [f"s{i}"], [f"y{i}"]),
        ]
        sums = exact + bias.reshape(-1, *[1] * rank) + other
        want[f"y{i}"] = np.maximum(sums, 0)
    return graph_model(nodes, inputs, list(want), constants), inputs, want


def assert_within_tolerance(cases, got, want) -> None:
    """Errors are within what `exporter.tolerance` gives the convolution and the two sums."""
    for i, (_, w, *_) in enumerate(cases):
        exact, result = want[f"y{i}"], got[f"y{i}"]
        assert result.shape == exact.shape
        allowed = np.finfo(np.float32).eps * (w[0].size ** 0.5 + 2)
        error = np.abs(result - exact).max() / np.abs(exact).max()
        assert error <= allowed, f"layer {i} {w.shape}: {error:.3g} is beyond {allowed:.3g}"


def case(x_shape, out_channels, pads, groups=1, depth=()):
    random = np.random.default_rng(0)
    x = random.standard_normal(x_shape, np.float32)
    w = random.standard_normal((out_channels, x_shape[1] // groups, *depth, 3, 3), np.float32)
    return x, w, pads, groups


def strided(*arguments, **keywords):
    return (*case(*arguments, **keywords), {"stride": (2, 2)})


AWKWARD = [
    case((1, 16, 1, 1), 16, (1, 1, 1, 1)),
    case((2, 19, 3, 5), 7, (0, 0, 0, 0)),
    case((1, 20, 7, 9), 24, (1, 2, 0, 1)),
    case((1, 32, 14, 7), 48, (2, 0, 1, 2)),
    case((1, 64, 6, 23), 64, (1, 1, 1, 1), groups=2),
    case((1, 17, 4, 5, 6), 20, (1, 1, 1, 1, 1, 1), depth=(3,)),
    case((2, 16, 3, 9, 4), 16, (0, 1, 0, 0, 1, 2), depth=(1,)),
    strided((1, 16, 3, 3), 16, (0, 0, 0, 0)),
    strided((1, 16, 6, 10), 16, (0, 0, 0, 0)),
    strided((2, 19, 6, 11), 7, (1, 1, 1, 1)),
    strided((1, 32, 28, 14), 48, (2, 0, 1, 2)),
    strided((1, 64, 9, 37), 64, (1, 1, 1, 1), groups=2),
    (*case((1, 17, 4, 5, 6), 20, (1, 1, 1, 1, 1, 1), depth=(3,)), {"stride": (1, 2, 2)}),
]


@pytest.mark.parametrize(
    ("m", "rows", "across"), [(2, 1, 3), (2, 3, None), (4, 1, 2), (4, 2, None)]
)
def test_awkward_shapes(
    monkeypatch: pytest.MonkeyPatch, m: int, rows: int, across: int | None
) -> None:
    taken = forced(monkeypatch, m, rows, across)
    model, inputs, want = layers(AWKWARD)
    assert_within_tolerance(AWKWARD, run_model(model, inputs), want)
    assert len(taken) == len(AWKWARD)


@pytest.mark.parametrize(("m", "rows"), [(2, 3), (4, 9)])
def test_awkward_shapes_in_parts(monkeypatch: pytest.MonkeyPatch, m: int, rows: int) -> None:
    taken = forced(monkeypatch, m, rows, parted=True)
    model, inputs, want = layers(AWKWARD)
    assert_within_tolerance(AWKWARD, run_model(model, inputs), want)
    assert any(tiling.parts > 1 for tiling in taken)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_odd_number_of_blocks_in_two_parts(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """Of weights, not of the result, there is one block more, so that the parts are equal."""
    taken = []

    def always(layer: Layer, sizes: list[int], machine: Machine, budget: float):
        assert layer.out_blocks % 2
        assert 2 in layer.padded_counts
        tile = register_tile(9, [2], machine, block=layer.out_block, in_block=layer.in_block)
        taken.append((Tiling(4, 3, 3, tile.columns, layer.stride, parts=2), tile))
        return taken[-1]

    monkeypatch.setattr(winograd, "choose", always)
    lanes = load_target("host").lanes
    cases = [
        case((batch, 40, 11, 10), blocks * lanes - missing, (1, 1, 1, 1))
        for batch, blocks, missing in [(1, 3, 0), (1, 3, lanes - 1), (2, 7, 5)]
    ]
    model, inputs, want = layers(cases)
    got = run_library(compile_model(model, inputs), inputs, threads)
    assert_within_tolerance(cases, got, want)
    assert len(taken) == len(cases)


@pytest.mark.parametrize("target", ["rasp4", "rasp2"])
def test_awkward_shapes_under_emulation(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    taken = forced(monkeypatch, 4, 2)
    model, inputs, want = layers(AWKWARD)
    got = open_session(compile_model(model, inputs, target), None).run(inputs)
    assert_within_tolerance(AWKWARD, got, want)
    assert len(taken) == len(AWKWARD)


LONG = [
    case((1, 64, 9, 21), 24, (1, 1, 1, 1)),
    case((2, 96, 8, 17), 40, (1, 0, 1, 2), groups=2),
    case((1, 48, 4, 9, 11), 20, (1, 1, 1, 1, 1, 1), depth=(3,)),
    case((1, 32, 3, 10, 9), 16, (0, 1, 1, 0, 1, 1), depth=(2,)),
    strided((1, 80, 13, 19), 32, (1, 1, 1, 1)),
]


@pytest.mark.parametrize("target", ["rasp4", "rasp2"])
def test_runs_of_channels(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    forced(monkeypatch, 2, 3)
    runs, choice = [], winograd.choose

    def noted(layer: Layer, sizes: list[int], machine: Machine, budget: float):
        tiling, tile = choice(layer, sizes, machine, budget)
        products = Products(
            layer.channels,
            layer.taps,
            layer.in_block,
            tile.blocks * layer.out_block,
            tiling.columns,
            tiling.tiles // tiling.columns,
        )
        runs.append(products.run(machine))
        return tiling, tile

    monkeypatch.setattr(winograd, "choose", noted)
    model, inputs, want = layers(LONG)
    got = open_session(compile_model(model, inputs, with_caches(target, 3)), None).run(inputs)
    assert_within_tolerance(LONG, got, want)
    assert len(runs) == len(LONG)
    assert all(runs)


@st.composite
def videos(draw):
    """Return a layer along whose first axis taps may meet the image, or padding only."""
    extent, taps = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    stride, dilation = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    before, after = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    after = max(after, dilation * (taps - 1) + 1 - extent - before)
    channels, groups = draw(st.sampled_from([(40, 1), (32, 2), (64, 2)]))
    x, w, *_ = case((draw(st.integers(1, 2)), channels, extent, 5, 7), 32, (), groups, (taps,))
    pads, step = (before, 1, 1, after, 1, 1), draw(st.integers(1, 2))
    return x, w, pads, groups, {"stride": (stride, step, step), "dilation": (dilation, 1, 1)}


@pytest.mark.parametrize(
    "target",
    ["host", "rasp4", "rasp2", with_caches("rasp4", 3)],
    ids=["host", "rasp4", "rasp2", "small cache"],
)
@given(cases=st.lists(videos(), min_size=6, max_size=6))
@settings(max_examples=3, deadline=None)
def test_planes_that_meet_padding(target: str | Target, cases) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        taken = forced(monkeypatch, 2, 2)
        model, inputs, want = layers(cases)
        compiled = compile_model(model, inputs, target)
    for threads in (1, 2) if target == "host" else (1,):
        if target == "host":
            got = run_library(compiled, inputs, threads)
        else:
            got = open_session(compiled, None).run(inputs)
        assert_within_tolerance(cases, got, want)
    assert len(taken) == len(cases)


@pytest.mark.parametrize("planes", [2, 4])
def test_taps_of_planes_beyond_the_image_are_not_multiplied(
    monkeypatch: pytest.MonkeyPatch, planes: int
) -> None:
    """Infinite weights would make NaN of the zeros there."""
    forced(monkeypatch, 2, 2)
    x, w, *_ = case((1, 32, planes, 6, 6), 16, (), depth=(3,))
    w[:, :, 0] = np.inf
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=(1,) * 6)
    model = graph_model([node], {"x": x}, ["y"], {"w": w})
    got = run_model(model, {"x": x})["y"]
    assert np.isfinite(got[:, :, 0]).all()
    assert not np.isfinite(got[:, :, 1:]).any()


def test_two_planes_keep_two_taps(monkeypatch: pytest.MonkeyPatch) -> None:
    forced(monkeypatch, 2, 2)
    scratch = []
    for depth, pads in [((3,), (1,) * 6), ((2,), (0, 1, 1, 1, 1, 1)), ((1,), (0, 1, 1, 0, 1, 1))]:
        cases = [case((1, 32, 2, 6, 6), 16, pads, depth=depth)]
        model, inputs, _ = layers(cases)
        scratch.append(compile_model(model, inputs).plan.scratch_bytes)
    three, two, one = scratch
    assert three == two > one


def test_many_chunks_are_shared_between_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    forced(monkeypatch, 4, 1)
    cases = [case((1, 16, 45, 11), 32, (1, 1, 1, 1))]
    model, inputs, want = layers(cases)
    assert_within_tolerance(cases, run_model(model, inputs), want)


@pytest.mark.parametrize("target", ["host", "rasp4"])
def test_phases_of_dilated_convolutions_side_by_side(
    monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    taken = forced(monkeypatch, 4, 1)
    monkeypatch.setattr(dilated, "direct_cost", lambda *layer: float("inf"))
    cases = [
        (*case((1, 16, 5, 13), 16, (2, 2, 2, 2)), {"dilation": (2, 2)}),
        (*case((2, 20, 7, 4), 24, (3, 1, 3, 1)), {"dilation": (3, 1)}),
        (*case((1, 16, 3, 9), 16, (5, 6, 5, 6)), {"dilation": (5, 6)}),
    ]
    model, inputs, want = layers(cases)
    if target == "host":
        got = run_model(model, inputs)
    else:
        got = open_session(compile_model(model, inputs, target), None).run(inputs)
    assert_within_tolerance(cases, got, want)
    assert len(taken) == len(cases)


STENCILS = {
    "centre": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
    "corner": [[1, 0, 0], [0, 0, 0], [0, 0, 0]],
    "last": [[0, 0, 0], [0, 0, 0], [0, 0, 1]],
    "box": [[1, 1, 1], [1, 1, 1], [1, 1, 1]],
    "edge": [[1, 0, -1], [2, 0, -2], [1, 0, -1]],
}


@pytest.mark.parametrize(("target", "channels"), [("host", 16), ("host", 64), ("rasp4", 4)])
def test_errors_stay_within_the_tolerance_of_a_direct_sum(
    monkeypatch: pytest.MonkeyPatch, target: str, channels: int
) -> None:
    """Whatever the weights: where larger tiles would err more, smaller ones are taken."""

    def largest(layer: Layer, sizes: list[int], machine: Machine, budget: float):
        tile = register_tile(
            4, layer.counts, machine, block=layer.out_block, in_block=layer.in_block
        )
        taken.append(max(sizes))
        return Tiling(taken[-1], 2, 3, tile.columns, layer.stride), tile

    taken: list[int] = []
    monkeypatch.setattr(winograd, "choose", largest)
    random = np.random.default_rng(3)
    x = random.standard_normal((1, channels, 30, 26), np.float32)
    mixing = random.standard_normal((16, channels, 1, 1), np.float32)
    weights = [
        random.standard_normal((16, channels, 3, 3), np.float32),
        *(mixing * np.array(stencil, np.float32) for stencil in STENCILS.values()),
    ]
    cases = [
        (inputs, w, (1, 1, 1, 1), 1, {"stride": (stride, stride)})
        for w in weights
        for inputs in (x, np.abs(x), np.maximum(x, 0))
        for stride in toom_cook.STRIDES
    ]
    model, inputs, want = layers(cases)
    if target == "host":
        got = run_model(model, inputs)
    else:
        got = open_session(compile_model(model, inputs, target), None).run(inputs)
    assert_within_tolerance(cases, got, want)
    assert set(taken) == {2, 4}


def test_amplification_tells_kernels_apart() -> None:
    mixing = np.random.default_rng(0).standard_normal((8, 32, 1, 1))
    amounts = {
        name: toom_cook.amplification(mixing * np.array(stencil, float), 4)
        for name, stencil in STENCILS.items()
    }
    assert amounts["centre"] < winograd.MAX_AMPLIFICATION < min(amounts["corner"], amounts["last"])
    assert toom_cook.amplification(mixing * np.array(STENCILS["last"], float), 2) < 4
    assert toom_cook.amplification(np.zeros((4, 4, 3, 3)), 4) == 0


def test_what_is_not_finite_stays_so_and_spreads_over_tiles_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forced(monkeypatch, 4, 2)
    x, w, pads, _ = case((1, 16, 20, 20), 16, (1, 1, 1, 1))
    x[0, 3, 9, 9], x[0, 4, 0, 19], x[0, 5, 19, 0] = np.nan, np.inf, -np.inf
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=pads)
    got = run_model(graph_model([node], {"x": x}, ["y"], {"w": w}), {"x": x})["y"]
    direct = torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(w), padding=1)
    assert not np.isfinite(got[~np.isfinite(direct.numpy())]).any()
    far = np.ones((20, 20), bool)
    far[4:12, 4:12] = far[:4, 16:] = far[16:, :4] = False
    np.testing.assert_allclose(got[:, :, far], direct.numpy()[:, :, far], atol=1e-4)

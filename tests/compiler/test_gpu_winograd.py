"""Winograd convolution on a GPU's kernels, by this machine's OpenCL driver and oclgrind."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from gpu_checks import find_no_fault
from hypothesis import given
from hypothesis import strategies as st
from onnx_graphs import compile_for_gpu, exported
from test_winograd import AWKWARD, STENCILS, assert_within_tolerance, case, layers

import edgeconv
from edgeconv.artifact import Artifact
from edgeconv.compiler.link import Emit
from edgeconv.compiler.passes.layout.convolutions import gpu_winograd
from edgeconv.compiler.pipeline import compile_exported
from edgeconv.compiler.schedules.gpu import winograd_choice
from edgeconv.compiler.schedules.gpu.machine import GpuMachine, machine_of
from edgeconv.compiler.schedules.gpu.winograd_choice import Offer, WinogradPlan
from edgeconv.compiler.schedules.winograd import Layer
from edgeconv.devices import open_session
from edgeconv.errors import NumericError, UsageError
from edgeconv.plan import Backend, Space, Step
from edgeconv.precision import Precision
from edgeconv.target import load_target

TARGETS = ("mali-g52", "mali-g610", "adreno-740", "videocore-7", "android-opencl")
# Those of `AWKWARD` that have stride 1.
AWKWARD_HERE = [
    *(entry for entry in AWKWARD if len(entry) == 4),
    case((1, 5, 9, 11), 3, (1, 1, 1, 1)),
    case((3, 8, 13, 5), 30, (0, 2, 1, 0)),
]


def everything(offers: Mapping[str, Offer], _: float) -> dict[str, WinogradPlan]:
    """Take all plans, whatever they add to the traffic."""
    return {name: offer.plan for name, offer in offers.items()}


def forced(monkeypatch: pytest.MonkeyPatch, m: int) -> list[Layer]:
    """Make every layer that fits take tiles of `m`; return those that did."""
    taken = []

    def always(layer: Layer, sizes: Sequence[int], machine: GpuMachine, *_: int, in_half: bool):
        taken.append(layer)
        # The last of several: with the most rows of tiles beyond the image.
        return winograd_choice.candidates(layer, m, machine, in_half=in_half)[-1]

    monkeypatch.setattr(gpu_winograd, "choose", always)
    monkeypatch.setattr(gpu_winograd, "within", everything)
    return taken


def steps_of(artifact: Artifact) -> list[Step]:
    """Return the steps between input and output of a Winograd convolution."""
    return [step for step in artifact.plan.steps if step.family == "winograd"]


@pytest.mark.parametrize(("target", "m"), [("android-opencl", 4), ("adreno-740", 2)])
def test_awkward_shapes(monkeypatch: pytest.MonkeyPatch, target: str, m: int) -> None:
    taken = forced(monkeypatch, m)
    model, inputs, want = layers(AWKWARD_HERE)
    artifact = compile_for_gpu(model, inputs, target)
    assert all(step.backend is Backend.OPENCL for step in artifact.plan.steps)
    assert_within_tolerance(AWKWARD_HERE, open_session(artifact, "opencl").run(inputs), want)
    assert len(taken) == len(AWKWARD_HERE)


def test_kernels_stay_within_their_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [case((2, 5, 3, 5), 7, (0, 1, 1, 0)), case((1, 8, 6, 9), 12, (1, 1, 1, 1))]
    for m in (2, 4):
        forced(monkeypatch, m)
        model, inputs, _ = layers(cases)
        find_no_fault(compile_for_gpu(model, inputs, "android-opencl"))


def test_errors_stay_within_the_tolerance_of_a_direct_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the weights: where larger tiles would err more, smaller ones are taken."""
    taken: list[int] = []

    def largest(layer: Layer, sizes: Sequence[int], machine: GpuMachine, *_: int, in_half: bool):
        taken.append(max(sizes))
        return winograd_choice.candidates(layer, taken[-1], machine)[0]

    monkeypatch.setattr(gpu_winograd, "choose", largest)
    monkeypatch.setattr(gpu_winograd, "within", everything)
    random = np.random.default_rng(3)
    x = random.standard_normal((1, 16, 30, 26), np.float32)
    mixing = random.standard_normal((16, 16, 1, 1), np.float32)
    weights = [
        random.standard_normal((16, 16, 3, 3), np.float32),
        *(mixing * np.array(stencil, np.float32) for stencil in STENCILS.values()),
    ]
    cases = [(inputs, w, (1, 1, 1, 1), 1) for w in weights for inputs in (x, np.abs(x))]
    model, inputs, want = layers(cases)
    got = open_session(compile_for_gpu(model, inputs, "mali-g610"), "opencl").run(inputs)
    assert_within_tolerance(cases, got, want)
    assert set(taken) == {2, 4}


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.MIXED])
@pytest.mark.parametrize("m", [2, 4])
def test_tiles_are_not_rounded_to_half(
    monkeypatch: pytest.MonkeyPatch, m: int, precision: Precision
) -> None:
    forced(monkeypatch, m)
    x, *options = case((1, 32, 14, 13), 32, (1, 1, 1, 1))
    model, inputs, want = layers([(x.astype(np.float16).astype(np.float32), *options)])
    target = load_target("mali-g610")
    artifact = compile_exported(
        exported(model, inputs), target, precision=precision, emit=Emit.BUNDLE
    )
    got = open_session(artifact, "opencl").run(inputs)["y0"]
    # What is rounded are the sum, what is added to it and the result, not the image, of halves.
    rounded = 2 * (np.abs(want["y0"]) + np.abs(inputs["r0"]))
    assert (np.abs(got - want["y0"]) <= 2.0**-11 * rounded + 1e-4).all()
    _, products = steps_of(artifact)
    buffers = artifact.plan.buffers
    assert "float16" in {buffer.dtype for buffer in buffers}
    assert {buffers[i].dtype for i in (*products.inputs, *products.outputs)} == {"float32"}


def test_values_near_the_end_of_half_precision_do_not_overflow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forced(monkeypatch, 4)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(8, 16, 3, padding=1), torch.nn.Conv2d(16, 8, 3, padding=1)
    ).eval()
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 8, 16, 16), np.float32))
    # The end is 65504; other inputs that are verified reach half as far again at most.
    with torch.no_grad():
        factor = 4e4 / float(net[0](x).abs().max())
        net[0].weight *= factor
        net[0].bias *= factor
        net[1].weight /= factor
    artifact = edgeconv.compile(net, (x,), target="mali-g610", precision="fp16")
    assert len(steps_of(artifact)) == 4
    assert artifact.verify().passed


def in_half_arithmetic(
    net: torch.nn.Module, x: torch.Tensor, target: str, precision: str = "fp16"
) -> Artifact:
    return edgeconv.compile(
        net.eval(), (x,), target=target, precision=precision, half_arithmetic=True
    )


@pytest.mark.parametrize("target", ["mali-g610", "adreno-740"])
@pytest.mark.parametrize("relu", [False, True])
def test_tiles_of_2x2_are_multiplied_in_half_precision(
    monkeypatch: pytest.MonkeyPatch, target: str, relu: bool
) -> None:
    forced(monkeypatch, 2)
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(44, 32, 3, padding=1)
    # A part of the weights is as badly conditioned as any.
    with torch.no_grad():
        conv.weight[:8, :, 1:] = 0
        conv.weight[:8, :, :, 1:] = 0
    net = torch.nn.Sequential(torch.nn.ReLU() if relu else torch.nn.Tanh(), conv)
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 44, 13, 14), np.float32))
    artifact = in_half_arithmetic(net, x, target)
    tiles, products = steps_of(artifact)
    buffers = artifact.plan.buffers
    assert {buffers[i].dtype for i in (*products.inputs, *products.outputs)} == {"float16"}
    assert (tiles.half_run, products.half_run) == (0, 32)
    assert 1.7 < products.amplification < 2 + 2**0.5
    report = artifact.verify()
    assert report.passed, report.to_json()
    for result in report.outputs:
        assert result.tolerance / 40 < result.metrics.max_rel


def test_tiles_of_4x4_are_not_multiplied_in_half_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forced(monkeypatch, 4)
    net = torch.nn.Sequential(torch.nn.Tanh(), torch.nn.Conv2d(32, 32, 3))
    artifact = in_half_arithmetic(net, torch.ones(1, 32, 14, 14), "mali-g610")
    _, products = steps_of(artifact)
    assert products.half_run == 0
    buffers = artifact.plan.buffers
    assert {buffers[i].dtype for i in (*products.inputs, *products.outputs)} == {"float32"}


def test_tiles_of_what_mixed_keeps_are_in_single_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forced(monkeypatch, 2)
    net = torch.nn.Sequential(*(torch.nn.Conv2d(16, 16, 3) for _ in range(3)))
    with torch.no_grad():
        net[0].weight *= 1e6
        net[1].weight *= 1e-6
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 16, 12, 12), np.float32))
    artifact = in_half_arithmetic(net, x, "mali-g610", "mixed")
    runs = [step.half_run for step in steps_of(artifact)]
    assert runs == [0, 0, 0, 0, 0, 16]
    assert artifact.verify().passed


def test_tiles_that_overflow_are_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    forced(monkeypatch, 2)
    net = torch.nn.Conv2d(16, 16, 3, bias=False)
    with torch.no_grad():
        net.weight *= 1e-3
    x = 4e4 * torch.tensor([1.0, 1.0, -1.0, -1.0]).repeat(1, 16, 12, 3)
    artifact = edgeconv.compile(
        net.eval(),
        (x,),
        target="mali-g610",
        golden_inputs=[{"input": x.numpy()}],
        precision="fp16",
        half_arithmetic=True,
    )
    with pytest.raises(NumericError, match=r"or a part of its sums, is beyond 65504"):
        artifact.verify().raise_if_failed()


def layer(size: int, channels: int, outs: int) -> Layer:
    return Layer(1, size, size, 1, 1, channels, channels // 4, 4, outs // 4, 4)


def chosen(target: str, *shape: int, in_half: bool = False) -> int:
    """Return the size of the tiles that are chosen; 0 for a direct convolution."""
    machine = machine_of(load_target(target))
    assert isinstance(machine, GpuMachine)
    stored_bytes = 2 if in_half else 4
    plan = winograd_choice.choose(layer(*shape), (2, 4), machine, stored_bytes, in_half=in_half)
    assert plan is None or plan.in_half == (in_half and plan.tiling.m == 2)
    return 0 if plan is None else plan.tiling.m


@pytest.mark.parametrize("target", TARGETS)
def test_many_channels_of_large_images_are_needed(target: str) -> None:
    assert chosen(target, 64, 128, 128) == chosen(target, 28, 256, 256) == 4
    assert chosen(target, 56, 4, 4) == 0


def test_what_memory_delivers_decides() -> None:
    # The Adreno computes four times as much for each byte as the Mali-G57.
    assert chosen("mali-g57", 56, 64, 64) == 4
    assert chosen("adreno-740", 56, 64, 64) == 0


def test_tiles_of_halves_pay_where_those_of_floats_move_too_much() -> None:
    assert chosen("adreno-740", 28, 128, 128, in_half=True) == 2
    assert chosen("adreno-740", 28, 128, 128) == 4
    assert chosen("mali-g610", 64, 256, 256, in_half=True) == 4


def test_work_and_traffic_of_a_chosen_layer_are_those_of_the_model() -> None:
    """The products are 36 for 16 outputs, where a direct convolution has 9 for one."""

    class Residual(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(channels, channels, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (self.conv(x) + x).relu()

    channels = 64
    x = torch.zeros(1, channels, 56, 56)
    artifact = edgeconv.compile(Residual().eval(), (x,), target="mali-g610", traffic=math.inf)
    # The bias, the sum and Relu are in the kernel that transforms back.
    families = [step.family for step in artifact.plan.steps]
    assert [f for f in families if f != "layout"] == ["winograd", "winograd", "conv"]
    _, products = steps_of(artifact)
    buffers = artifact.plan.buffers
    _, weights = (buffers[i] for i in products.inputs)
    (multiplied,) = (buffers[i] for i in products.outputs)
    assert weights.space is Space.WEIGHTS
    assert np.prod(weights.shape) == 36 * channels**2
    assert np.prod(multiplied.shape) * 16 == 36 * channels * 56 * 56


ANY = WinogradPlan(winograd_choice.Tiling(2, 1, 1, 1), winograd_choice.Tile(1, 1))
some_offers = st.lists(st.tuples(st.floats(1, 1e9), st.floats(1, 1e9)), max_size=8).map(
    lambda pairs: {str(i): Offer(ANY, *pair) for i, pair in enumerate(pairs)}
)


@given(offers=some_offers, budget=st.floats(0, 1e10))
def test_the_budget_is_kept_and_used(offers: dict[str, Offer], budget: float) -> None:
    taken = winograd_choice.within(offers, budget)
    left = budget - sum(offers[name].added for name in taken)
    assert left >= -1e-6 * budget
    assert all(offer.added > left - 1e-6 * budget for n, offer in offers.items() if n not in taken)
    assert winograd_choice.within(offers, math.inf).keys() == offers.keys()


def test_those_that_gain_most_for_a_byte_come_first() -> None:
    offers = {"a": Offer(ANY, 9, 4), "b": Offer(ANY, 4, 1), "c": Offer(ANY, 8, 3)}
    assert list(winograd_choice.within(offers, 4)) == ["b", "c"]


@pytest.mark.parametrize("traffic", [0.5, -math.inf, math.nan])
def test_less_traffic_than_convolutions_need_is_refused(traffic: float) -> None:
    with pytest.raises(UsageError, match=f"traffic={traffic}: must be 1 or more"):
        edgeconv.compile("zoo:resnet18/tiny", target="mali-g610", traffic=traffic)

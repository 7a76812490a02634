"""Kernels of a GPU that find their operands, or lay their results out, in another order."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from gpu_checks import find_no_fault
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import edgeconv
from edgeconv.artifact import Artifact
from edgeconv.nn import DeformConv2d
from edgeconv.plan import Backend

MOVING = {"layout", "slice", "permute_dims", "broadcast_to", "strided_slice"}


@dataclass(frozen=True)
class Case:
    """What reads a plain input of so many channels, and what writes a plain output of as many."""

    batch: int
    channels: int
    outs: int
    size: tuple[int, int]

    @property
    def input(self) -> Tensor:
        return torch.randn(self.batch, self.channels, *self.size)


class Ends(nn.Module):
    """Every way to convolve and to pool, from an input to an output."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        c, o = case.channels, case.outs
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(c, o, 3, padding=1),
                nn.Conv2d(c, o, 1),
                nn.Conv2d(c, c, 3, padding=1, groups=c),
                nn.Conv2d(2 * c, 2 * o, 3, padding=1, groups=2),
                nn.ConvTranspose2d(c, o, 2, stride=2),
                nn.MaxPool2d(3, 1, 1),
                nn.AvgPool2d(2, 1, 1),
            ]
        )

    def forward(self, x: Tensor, twice: Tensor) -> list[Tensor]:
        return [
            torch.sigmoid(layer(twice if layer is self.layers[3] else x)) for layer in self.layers
        ]


class Attention(nn.Module):
    """Matrix products of slices of a convolution's result, transposed, and a convolution of them.

    The image is averaged, so that few channels in one row are multiplied as well.
    """

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.qkv = nn.Conv2d(case.channels, 3 * case.outs, 1)
        self.join = nn.Conv2d(case.outs, case.outs, 3, padding=1)
        self.second = nn.Conv2d(case.channels, case.outs, 1)
        self.last = nn.Linear(case.outs, case.channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        q, k, v = (part.flatten(2) for part in self.qkv(x).chunk(3, 1))
        mixed = torch.softmax(q.transpose(1, 2) @ k, -1) @ v.transpose(1, 2)
        image = mixed.transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:])
        joined = self.join(image)
        means = joined.mean((2, 3))
        return [joined + self.second(x), self.last(means)]


class Shares(nn.Module):
    """Convolutions of slices, at places where no block begins, and their sum with a whole."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        c, o = case.channels, case.outs
        self.first = nn.Conv2d(c, 2 * c + 1, 1)
        self.left = nn.Conv2d(c, o, 3, padding=1)
        self.right = nn.Conv2d(c + 1, c + 1, 3, padding=1, groups=c + 1)
        self.whole = nn.Conv2d(2 * c + 1, o, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        y = torch.relu(self.first(x))
        left, right = y.split([y.shape[1] // 2, y.shape[1] - y.shape[1] // 2], 1)
        return [self.left(left) * self.whole(y), self.right(right)]


def compiled(
    kind: Callable[[Case], nn.Module], case: Case, target: str, precision: str = "fp32"
) -> Artifact:
    torch.manual_seed(0)
    inputs = [case.input]
    if kind is Ends:
        inputs.append(torch.cat([case.input, case.input], 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        artifact = edgeconv.compile(kind(case).eval(), inputs, target=target, precision=precision)
    artifact.verify(device="opencl").raise_if_failed()
    assert {step.backend for step in artifact.plan.steps} == {Backend.OPENCL}
    return artifact


AWKWARD = [Case(2, 5, 7, (5, 6)), Case(2, 8, 3, (3, 1))]
KINDS = [Ends, Attention, Shares]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("case", AWKWARD, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_no_kernel_only_moves_elements(
    kind: Callable[[Case], nn.Module], case: Case, precision: str
) -> None:
    plan = compiled(kind, case, "mali-g610", precision).plan
    assert not MOVING & {step.family for step in plan.steps}


def test_each_layer_is_a_kernel() -> None:
    plan = compiled(Ends, AWKWARD[0], "mali-g610").plan
    assert len(plan.steps) == len(Ends(AWKWARD[0]).layers)


class Means(nn.Module):
    """Means over images, of which there are too many for one work-group."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.first = nn.Conv2d(case.channels, case.outs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.first(x).mean((2, 3), keepdim=True))


def wide_groups(case: Case) -> nn.Module:
    """Groups of more channels than `grouped` takes, and not of whole blocks."""
    return nn.Sequential(nn.Conv2d(case.channels, case.outs, 3, groups=2), nn.Sigmoid())


# Reductions that no rule of their own schedules, as the last layer.
LAST = [
    (wide_groups, Case(2, 18, 14, (12, 13)), ["grouped"]),
    (Means, Case(2, 3, 10, (48, 40)), ["conv", "pool"]),
]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(("kind", "case", "families"), LAST)
def test_a_reduction_writes_a_plain_result(
    kind: Callable[[Case], nn.Module], case: Case, families: list[str], precision: str
) -> None:
    plan = compiled(kind, case, "mali-g610", precision).plan
    assert [step.family for step in plan.steps] == families


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("channels", [5, 6, 8])
def test_sampled_columns_of_any_channels_are_not_stored(channels: int, precision: str) -> None:
    def deformable(case: Case) -> nn.Module:
        layer = DeformConv2d(case.channels, case.outs)
        for parameter in layer.parameters():
            nn.init.normal_(parameter, std=0.2)
        return layer

    plan = compiled(deformable, Case(2, channels, 7, (5, 6)), "mali-g610", precision).plan
    assert [step.family for step in plan.steps] == ["conv", "slice", "pad", "deformable"]


CASES = st.builds(
    Case,
    batch=st.integers(1, 2),
    channels=st.integers(2, 11),
    outs=st.integers(1, 11),
    size=st.tuples(st.integers(2, 9), st.integers(2, 9)),
)


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(KINDS), CASES, st.sampled_from(["android-opencl", "adreno-740"]))
def test_any_ends(kind: Callable[[Case], nn.Module], case: Case, target: str) -> None:
    compiled(kind, case, target)


@pytest.mark.parametrize(("kind", "case"), [*((kind, AWKWARD[0]) for kind in KINDS), LAST[0][:2]])
def test_kernels_stay_within_their_tensors(kind: Callable[[Case], nn.Module], case: Case) -> None:
    find_no_fault(compiled(kind, case, "android-opencl"))

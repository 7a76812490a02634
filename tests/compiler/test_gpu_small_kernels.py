"""Chains of small kernels, which a GPU computes in one launch."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from gpu_checks import find_no_fault
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import edgeconv
from edgeconv.artifact import Artifact
from edgeconv.plan import Backend


class Gate(nn.Module):
    """Scales channels by what two layers make of their means."""

    def __init__(self, channels: int, hidden: int, last: nn.Module, flat: bool) -> None:
        super().__init__()
        self.first = nn.Linear(channels, hidden) if flat else nn.Conv2d(channels, hidden, 1)
        self.second = nn.Linear(hidden, channels) if flat else nn.Conv2d(hidden, channels, 1)
        self.last, self.flat = last, flat

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=not self.flat)
        gate = self.last(self.second(torch.relu(self.first(mean))) / 3)
        return x * (gate[:, :, None, None] if self.flat else gate)


@dataclass(frozen=True)
class Case:
    batch: int
    channels: int
    hidden: int
    height: int
    width: int
    softmax: bool
    flat: bool

    def module(self) -> nn.Module:
        last = nn.Softmax(1) if self.softmax else nn.Sigmoid()
        return Gate(self.channels, self.hidden, last, self.flat)

    def input(self) -> Tensor:
        return torch.randn(self.batch, self.channels, self.height, self.width)


class All(nn.Module):
    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(modules)

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        return [part(x) for part, x in zip(self.parts, inputs, strict=True)]


def compiled(cases: Sequence[Case], target: str, precision: str = "fp32") -> Artifact:
    torch.manual_seed(0)
    network = All([case.module() for case in cases]).eval()
    inputs = [case.input() for case in cases]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return edgeconv.compile(network, inputs, target=target, precision=precision)


CASES = st.builds(
    Case,
    batch=st.integers(1, 3),
    channels=st.integers(1, 40),
    hidden=st.integers(1, 40),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    softmax=st.booleans(),
    flat=st.booleans(),
)
AWKWARD = [
    Case(1, 64, 16, 7, 7, softmax=False, flat=False),
    Case(1, 1, 1, 1, 1, softmax=True, flat=False),
    Case(2, 37, 5, 3, 11, softmax=True, flat=True),
    Case(3, 30, 31, 1, 8, softmax=False, flat=True),
]


@pytest.mark.parametrize("target", ["android-opencl", "adreno-740"])
@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases=st.lists(CASES, min_size=8, max_size=8))
def test_any_gates_equal_pytorch(cases: list[Case], target: str) -> None:
    compiled(cases, target).verify(device="opencl").raise_if_failed()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_gate_is_a_kernel_without_races(precision: str) -> None:
    artifact = compiled(AWKWARD, "android-opencl", precision)
    artifact.verify(device="opencl").raise_if_failed()
    assert {step.backend for step in artifact.plan.steps} == {Backend.OPENCL}
    gates = [step for step in artifact.plan.steps if step.macs]
    assert len(gates) == len(AWKWARD)
    find_no_fault(artifact)


def test_large_layers_keep_launches_of_their_own() -> None:
    large = Case(1, 512, 256, 28, 28, softmax=False, flat=False)
    families = [step.family for step in compiled([large], "mali-g610").plan.steps]
    assert families[:3] == ["pool", "conv", "conv"]


class Spread(nn.Module):
    """A layer's spread and largest value, as single numbers, and the layer divided by one."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 5, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y = self.layer(x)
        return y.std(), torch.sqrt(y.abs().max()), y / (y.var() + 1)


@pytest.mark.parametrize("target", ["mali-g610", "adreno-660"])
def test_single_numbers(target: str) -> None:
    artifact = edgeconv.compile(Spread().eval(), (torch.zeros(1, 3, 12, 11),), target=target)
    artifact.verify(per_layer=True).raise_if_failed()
    assert {step.backend for step in artifact.plan.steps} == {Backend.OPENCL}
    find_no_fault(artifact)

"""Direct convolutions whose weights exceed the caches take a run of channels at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import edgeconv
from edgeconv.artifact import Artifact
from edgeconv.devices import open_session
from edgeconv.target import Target, load_target


def small_caches(name: str) -> Target:
    target = load_target(name)
    return replace(target, cpu=replace(target.cpu, l1d_kib=4, l2_kib=16))


def compiled(conv: nn.Module, shape: tuple[int, ...], target: Target) -> Artifact:
    inputs = (torch.randn(shape, generator=torch.Generator().manual_seed(1)),)
    network = nn.Sequential(conv, nn.SiLU()).eval()
    return edgeconv.compile(network, inputs, target=target, threads=2)


# The convolution, none that Winograd's algorithm takes, and the shape of its input.
LAYERS = {
    "dilated": (nn.Conv2d(64, 40, 3, padding=2, dilation=2, stride=2), (1, 64, 5, 201)),
    "batch": (nn.Conv2d(48, 32, 3, stride=2, padding=1), (2, 48, 7, 215)),
    "odd output channels": (nn.Conv2d(80, 33, (2, 5), padding=(1, 2)), (1, 80, 3, 101)),
    "line": (nn.Conv1d(96, 32, 7, padding=3, stride=2), (2, 96, 231)),
    "volume": (nn.Conv3d(32, 24, (3, 1, 3), padding=(1, 0, 1), stride=2), (1, 32, 3, 2, 207)),
    "no bias": (nn.Conv2d(128, 64, 5, bias=False, padding=2), (1, 128, 2, 113)),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("target", ["host", "rasp4", "rasp2"])
def test_runs_of_channels_sum_to_the_same(target: str, name: str) -> None:
    artifact = compiled(*LAYERS[name], small_caches(target))
    # The sums wait between runs.
    assert artifact.plan.scratch_bytes > 0
    assert open_session(artifact).self_test().passed


def test_weights_that_stay_near_are_taken_whole() -> None:
    assert compiled(*LAYERS["dilated"], load_target("host")).plan.scratch_bytes == 0


def test_channels_that_fill_no_blocks_are_taken_whole() -> None:
    conv = nn.Conv2d(70, 40, 3, padding=2, dilation=2, stride=2)
    artifact = compiled(conv, (1, 70, 5, 201), small_caches("host"))
    assert artifact.plan.scratch_bytes == 0
    assert open_session(artifact).self_test().passed

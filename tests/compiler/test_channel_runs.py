"""Direct convolutions whose weights exceed the caches take a run of channels at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from tvm import te

import edgeconv
from edgeconv.artifact import Artifact
from edgeconv.compiler.compute.conv import conv_blocked
from edgeconv.compiler.compute.window import Window
from edgeconv.compiler.schedules.cpu.accumulate import PASSES, STREAM
from edgeconv.compiler.schedules.machine import Machine
from edgeconv.compiler.schedules.registry import apply_rule
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


# Rows of so few tiles that ARM cores take all rows together: several in a tile, one, and batches.
NARROW = {
    "several rows": (nn.Conv2d(32, 160, 3, stride=2, padding=1), (1, 32, 31, 9)),
    "one row": (nn.Conv2d(48, 136, (3, 2), stride=2, padding=1), (2, 48, 27, 25)),
    "transposed": (nn.ConvTranspose2d(64, 40, 4, stride=2, padding=1), (1, 64, 12, 13)),
}


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("target", ["rasp4", "rasp2"])
def test_narrow_images_sum_to_the_same(target: str, name: str) -> None:
    artifact = compiled(*NARROW[name], small_caches(target))
    assert artifact.plan.scratch_bytes > 0
    assert open_session(artifact).self_test().passed


ARM = Machine.of(load_target("rasp4"))


@pytest.mark.parametrize(
    ("panels", "size", "machine", "runs"),
    [
        (8, (4, 7), ARM, True),
        (7, (4, 7), ARM, False),
        (8, (3, 7), ARM, False),
        (8, (4, 7), replace(ARM, l1_bytes=160 << 10), False),
        (8, (8, 7), replace(ARM, lane_fma=False, l2_bytes=128 << 10), False),
    ],
    ids=["runs", "few tasks", "few tiles", "near", "x86"],
)
def test_images_share_runs_where_that_pays(
    panels: int, size: tuple[int, int], machine: Machine, runs: bool
) -> None:
    data = te.placeholder((1, 64, size[0] + 2, size[1] + 2, 4), "float32", "x")
    weight = te.placeholder((panels, 3, 3, 256, 2, 4), "float32", "w")
    window = Window((3, 3), (1, 1), (0, 0), (0, 0), (1, 1))
    result = conv_blocked(data, weight, window, groups=1, size=size)
    script = apply_rule(te.create_prim_func([data, weight, result]), machine).script()
    assert (f'"{PASSES}"' not in script) == runs
    # A run does not read its weights front to back, and must not ask for them so.
    assert (f'"{STREAM}"' not in script) == runs


def test_weights_that_stay_near_are_taken_whole() -> None:
    assert compiled(*LAYERS["dilated"], load_target("host")).plan.scratch_bytes == 0


def test_channels_that_fill_no_blocks_are_taken_whole() -> None:
    conv = nn.Conv2d(70, 40, 3, padding=2, dilation=2, stride=2)
    artifact = compiled(conv, (1, 70, 5, 201), small_caches("host"))
    assert artifact.plan.scratch_bytes == 0
    assert open_session(artifact).self_test().passed

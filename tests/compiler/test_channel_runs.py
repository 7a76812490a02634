"""Direct convolutions whose weights exceed the caches take a run of channels at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from tvm import te

import edgeconv
from edgeconv.artifact import Artifact
from edgeconv.compiler.compute.conv import conv_blocked
from edgeconv.compiler.compute.window import Window
from edgeconv.compiler.passes.packing import pack_conv_weight
from edgeconv.compiler.schedules.cpu.accumulate import PASSES, STREAM
from edgeconv.compiler.schedules.cpu.runs import channel_run
from edgeconv.compiler.schedules.machine import Machine, RegisterTile
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
X86 = replace(ARM, lane_fma=False, l2_bytes=128 << 10)
TILE = RegisterTile(columns=7, blocks=2, cost=1.0)


@pytest.mark.parametrize(
    ("panels", "size", "machine", "run"),
    [
        # Half of the first-level cache holds the weights of 56 channels, 9 taps of 8 outputs each.
        (8, (4, 7), ARM, 32),
        (1, (1, 28), ARM, 32),
        (7, (4, 7), ARM, 0),
        (8, (3, 7), ARM, 0),
        (8, (4, 7), replace(ARM, l1_bytes=160 << 10), 0),
        (8, (8, 7), X86, 0),
        (8, (1, 28), X86, 32),
    ],
    ids=["image", "row", "few tasks", "few tiles", "near", "image on x86", "row on x86"],
)
def test_runs_pass_by_rows_or_images_where_that_pays(
    panels: int, size: tuple[int, int], machine: Machine, run: int
) -> None:
    found = channel_run(
        size,
        (3, 3),
        256,
        TILE,
        machine,
        block=4,
        in_block=4,
        panels=panels,
        batch=1,
        skips=False,
    )
    assert found == run


@pytest.mark.parametrize("run", [0, 32])
def test_a_run_does_not_ask_for_weights_ahead(run: int) -> None:
    """It reads the same ones for every tile."""
    size = (4, 7)
    data = te.placeholder((1, 64, 6, 9, 4), "float32", "x")
    shape = (8, 256 // run, 3, 3, run, 2, 4) if run else (8, 3, 3, 256, 2, 4)
    weight = te.placeholder(shape, "float32", "w")
    window = Window((3, 3), (1, 1), (0, 0), (0, 0), (1, 1))
    result = conv_blocked(data, weight, window, groups=1, size=size, run=run)
    script = apply_rule(te.create_prim_func([data, weight, result]), ARM).script()
    assert (f'"{STREAM}"' in script) == (f'"{PASSES}"' in script) == (run == 0)


@given(
    channels=st.integers(1, 6),
    run=st.integers(1, 4),
    outs=st.integers(1, 20),
    kernel=st.lists(st.integers(1, 3), min_size=1, max_size=3),
)
def test_the_weights_of_a_run_stand_together(channels, run, outs, kernel) -> None:
    weight = np.arange(outs * channels * run * np.prod(kernel)).reshape(
        outs, channels * run, *kernel
    )
    whole = pack_conv_weight(weight, 4, 2)
    runs = pack_conv_weight(weight, 4, 2, run=run)
    rank = len(kernel)
    assert runs.shape == (len(whole), channels, *kernel, run, 2, 4)
    # Runs back in their place before the channels of each.
    np.testing.assert_array_equal(np.moveaxis(runs, 1, 1 + rank).reshape(whole.shape), whole)


def test_weights_that_stay_near_are_taken_whole() -> None:
    assert compiled(*LAYERS["dilated"], load_target("host")).plan.scratch_bytes == 0


def test_channels_that_fill_no_blocks_are_taken_whole() -> None:
    conv = nn.Conv2d(70, 40, 3, padding=2, dilation=2, stride=2)
    artifact = compiled(conv, (1, 70, 5, 201), small_caches("host"))
    assert artifact.plan.scratch_bytes == 0
    assert open_session(artifact).self_test().passed

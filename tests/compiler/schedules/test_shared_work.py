"""Which kernels threads share: those that one of them does not finish sooner alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import edgeconv
from edgeconv.target import load_target

HOST = load_target("host")
# Layers of 60,000 to 120,000 multiply-adds: 4 to 9 us of a Raspberry Pi 4, 1 to 2 of x86 cores.
LAYERS = {
    "conv": (nn.Conv2d(8, 16, 3, stride=2, padding=1), (1, 8, 15, 15)),
    "depthwise": (nn.Conv2d(32, 32, 5, padding=2, groups=32), (1, 32, 10, 10)),
    "grouped": (nn.Conv2d(32, 32, 3, padding=1, groups=8), (1, 32, 10, 10)),
    "pointwise": (nn.Conv2d(32, 32, 1), (1, 32, 10, 10)),
    "product": (nn.Linear(64, 64), (16, 64)),
}


def shares(name: str, target: str, folder: Path) -> bool:
    """Whether any kernel of a layer has a loop that threads share."""
    layer, shape = LAYERS[name]
    edgeconv.compile(layer.eval(), (torch.randn(shape),), target=target, dump=folder)
    kernels = list(folder.glob("kernels/*.tir.py"))
    assert kernels
    return any("T.parallel(" in kernel.read_text() for kernel in kernels)


@pytest.mark.parametrize("name", LAYERS)
def test_threads_share_what_takes_a_small_core_long_enough(name: str, tmp_path: Path) -> None:
    assert shares(name, "rasp4", tmp_path)


@pytest.mark.skipif(
    not HOST.llvm.triple.startswith("x86") or HOST.cpu.vector_bits < 256, reason="for long vectors"
)
@pytest.mark.parametrize("name", LAYERS)
def test_a_large_core_does_not_wait_for_others(name: str, tmp_path: Path) -> None:
    assert not shares(name, "host", tmp_path)

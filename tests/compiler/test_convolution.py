"""Convolution against PyTorch where shapes and attributes are awkward; `fuzz` draws others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from onnx import helper
from onnx_graphs import assert_close, compile_model, graph_model, run_model

from edgeconv.compiler.passes.layout.convolutions import pointwise_plain
from edgeconv.devices import open_session

FUNCTIONS = {
    1: torch.nn.functional.conv1d,
    2: torch.nn.functional.conv2d,
    3: torch.nn.functional.conv3d,
}


@dataclass(frozen=True)
class Case:
    batch: int
    channels: int
    out_channels: int
    groups: int
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[int, ...]
    bias: bool
    activation: str | None = None

    @property
    def length(self) -> int:
        return self.channels // self.groups * int(np.prod(self.kernel))


def build(cases: list[Case], seed: int = 0):
    """Return one model that holds every case side by side, its inputs and PyTorch's outputs."""
    random = np.random.default_rng(seed)
    nodes, inputs, constants, want = [], {}, {}, {}
    for i, case in enumerate(cases):
        shape = (case.batch, case.channels, *case.size)
        weight_shape = (case.out_channels, case.channels // case.groups, *case.kernel)
        x = inputs[f"x{i}"] = random.standard_normal(shape, np.float32)
        w = constants[f"w{i}"] = random.standard_normal(weight_shape, np.float32)
        names = [f"x{i}", f"w{i}"]
        b = None
        if case.bias:
            b = constants[f"b{i}"] = random.standard_normal(case.out_channels, np.float32)
            names.append(f"b{i}")
        result = f"y{i}" if case.activation is None else f"c{i}"
        nodes.append(
            helper.make_node(
                "Conv",
                names,
                [result],
                name=f"conv{i}",
                group=case.groups,
                strides=case.stride,
                dilations=case.dilation,
                pads=case.pads,
            )
        )
        if case.activation:
            nodes.append(helper.make_node(case.activation, [result], [f"y{i}"], name=f"act{i}"))
        want[f"y{i}"] = reference(case, x, w, b)
    return graph_model(nodes, inputs, list(want), constants), inputs, want


def reference(case: Case, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    rank = len(case.size)
    # torch pads from the last axis to the first.
    pairs = zip(case.pads[:rank][::-1], case.pads[rank:][::-1], strict=True)
    padded = torch.nn.functional.pad(torch.from_numpy(x), [p for pair in pairs for p in pair])
    result = FUNCTIONS[rank](
        padded,
        torch.from_numpy(w),
        None if b is None else torch.from_numpy(b),
        stride=case.stride,
        dilation=case.dilation,
        groups=case.groups,
    )
    return (result.relu() if case.activation == "Relu" else result).numpy()


AWKWARD = [
    Case(2, 40, 48, 1, (5, 5), (2, 2), (1, 1), (1, 1), (0,) * 4, True),
    Case(1, 3, 8, 1, (9, 13), (3, 3), (2, 2), (1, 1), (0, 1, 1, 2), True, "Relu"),
    Case(2, 17, 19, 1, (7, 5), (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), True),
    Case(1, 18, 18, 18, (11, 10), (5, 5), (2, 1), (1, 2), (2, 4, 1, 3), False, "Relu"),
    Case(2, 12, 24, 3, (8, 9), (3, 2), (1, 2), (1, 1), (1, 0, 1, 1), True),
    Case(1, 32, 64, 4, (6, 7), (3, 3), (1, 1), (2, 2), (2, 2, 2, 2), True, "Relu"),
    Case(1, 8, 16, 8, (6, 31), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), True),
    Case(1, 16, 40, 1, (5, 101), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), True),
    Case(1, 5, 7, 1, (37,), (4,), (3,), (2,), (1, 4), True),
    Case(1, 4, 6, 2, (5, 6, 4), (3, 1, 2), (1, 2, 1), (1, 1, 2), (1, 0, 1, 1, 0, 2), True),
    Case(1, 96, 144, 1, (28, 28), (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), True, "Relu"),
    Case(2, 48, 20, 1, (3, 8, 7), (1, 1, 1), (1, 1, 1), (1, 1, 1), (0, 0, 0, 0, 0, 0), True),
    Case(1, 1, 1, 1, (1, 1), (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), False),
    # Depthwise, on widths that no tile divides.
    Case(1, 128, 128, 128, (5, 37), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), True, "Relu"),
    Case(2, 64, 64, 64, (6, 23), (5, 5), (2, 1), (1, 1), (2, 2, 1, 2), True),
    Case(1, 20, 20, 20, (13, 11), (3, 3), (1, 1), (6, 6), (6, 6, 6, 6), False, "Relu"),
    # Two rows at a time, also where neither tiles nor pairs divide the image.
    Case(1, 64, 64, 64, (6, 16), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), True, "Relu"),
    Case(2, 36, 36, 36, (2, 9), (3, 3), (1, 1), (1, 1), (1, 2, 1, 0), True),
    Case(1, 48, 48, 48, (8, 5), (2, 3), (1, 1), (1, 1), (0, 1, 1, 1), False, "Relu"),
    # Many channels, of which pointwise convolutions take a part at a time.
    Case(1, 960, 160, 1, (7, 7), (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), True),
    Case(2, 1000, 70, 1, (9, 5), (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), True, "Relu"),
    Case(1, 576, 33, 1, (11, 13), (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), False),
    # Pixels of which the last tile has fewer; and those that a stride leaves.
    Case(1, 200, 72, 1, (29, 31), (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), True, "Relu"),
    Case(2, 40, 48, 1, (33, 33), (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), False),
    Case(2, 48, 40, 1, (9, 14), (1, 1), (2, 3), (1, 1), (0, 0, 0, 0), True, "Relu"),
    Case(1, 520, 130, 1, (15, 14), (1, 1), (2, 2), (1, 1), (0, 0, 0, 0), True),
    Case(1, 24, 16, 1, (5, 6, 7), (1, 1, 1), (1, 2, 2), (1, 1, 1), (0,) * 6, True),
    Case(2, 32, 20, 1, (41,), (1,), (3,), (1,), (0, 0), False, "Relu"),
    # A stride beyond the kernel that leaves a border out, and one with padding.
    Case(1, 20, 24, 1, (8, 8), (1, 1), (3, 3), (1, 1), (0, 0, 0, 0), False),
    Case(1, 20, 24, 1, (8, 8), (1, 1), (2, 2), (1, 1), (1, 0, 0, 1), True),
    # Along the frames of a video, whose pixels stand in one row.
    Case(
        2, 24, 40, 1, (6, 7, 9), (3, 1, 1), (1, 1, 1), (1, 1, 1), (1, 0, 0, 1, 0, 0), True, "Relu"
    ),
    Case(1, 40, 24, 1, (9, 5, 5), (3, 1, 1), (2, 1, 1), (2, 1, 1), (2, 0, 0, 1, 0, 0), False),
    Case(1, 144, 64, 1, (4, 13, 11), (2, 1, 1), (1, 1, 1), (1, 1, 1), (0,) * 6, True),
    Case(
        2, 17, 19, 1, (5, 3, 8), (5, 1, 1), (1, 1, 1), (1, 1, 1), (2, 0, 0, 2, 0, 0), True, "Relu"
    ),
    Case(1, 16, 16, 1, (3, 6, 5), (3, 1, 1), (1, 1, 1), (1, 1, 1), (1, 0, 1, 1, 0, 1), True),
]


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "blocked"])
def test_awkward_convolutions_on_this_machine(monkeypatch: pytest.MonkeyPatch, plain: bool) -> None:
    """Pointwise ones alone in a network would stay plain."""
    if not plain:
        monkeypatch.setattr(pointwise_plain, "_blocked_cost", lambda *layer: 0.0)
    model, inputs, want = build(AWKWARD)
    got = run_model(model, inputs)
    for i, case in enumerate(AWKWARD):
        assert_close(got[f"y{i}"], want[f"y{i}"], case.length, str(case))


@pytest.mark.parametrize("target", ["rasp4", "rasp2"])
def test_awkward_convolutions_under_emulation(target: str) -> None:
    model, inputs, want = build(AWKWARD)
    got = open_session(compile_model(model, inputs, target), None).run(inputs)
    for i, case in enumerate(AWKWARD):
        assert_close(got[f"y{i}"], want[f"y{i}"], case.length, str(case))

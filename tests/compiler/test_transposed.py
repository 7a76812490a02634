"""Transposed convolution where shapes and attributes are awkward; `fuzz` draws others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from onnx import helper
from onnx_graphs import assert_close, compile_model, exported, graph_model, run_model

from edgeconv.devices import open_session

FUNCTIONS = {
    1: torch.nn.functional.conv_transpose1d,
    2: torch.nn.functional.conv_transpose2d,
    3: torch.nn.functional.conv_transpose3d,
}


@dataclass(frozen=True)
class Case:
    batch: int
    groups: int
    per_group: int
    out_per_group: int
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...]
    extra: tuple[int, ...]
    bias: bool = True

    @property
    def length(self) -> int:
        return self.per_group * int(np.prod(self.kernel))


def build(cases: list[Case]):
    random = np.random.default_rng(1)
    nodes, inputs, constants, want = [], {}, {}, {}
    for i, case in enumerate(cases):
        channels = case.groups * case.per_group
        x = inputs[f"x{i}"] = random.standard_normal((case.batch, channels, *case.size), np.float32)
        shape = (channels, case.out_per_group, *case.kernel)
        w = constants[f"w{i}"] = random.standard_normal(shape, np.float32)
        names, b = [f"x{i}", f"w{i}"], None
        if case.bias:
            b = random.standard_normal(case.groups * case.out_per_group, np.float32)
            constants[f"b{i}"] = b
            names.append(f"b{i}")
        attributes = {"strides": case.stride, "dilations": case.dilation, "group": case.groups}
        attributes |= {"pads": case.padding * 2, "output_padding": case.extra}
        nodes.append(
            helper.make_node("ConvTranspose", names, [f"y{i}"], name=f"up{i}", **attributes)
        )
        want[f"y{i}"] = FUNCTIONS[len(case.size)](
            torch.from_numpy(x),
            torch.from_numpy(w),
            None if b is None else torch.from_numpy(b),
            stride=case.stride,
            padding=case.padding,
            output_padding=case.extra,
            groups=case.groups,
            dilation=case.dilation,
        ).numpy()
    return graph_model(nodes, inputs, list(want), constants), inputs, want


AWKWARD = [
    Case(1, 1, 16, 24, (7, 9), (4, 4), (2, 2), (1, 1), (1, 1), (0, 0)),
    Case(2, 3, 5, 7, (4, 5), (3, 2), (2, 3), (1, 2), (1, 0), (1, 2)),
    Case(1, 8, 1, 1, (6, 6), (3, 3), (2, 2), (1, 1), (1, 1), (1, 1)),
    Case(1, 1, 3, 4, (5, 5), (2, 2), (3, 3), (1, 1), (0, 0), (0, 2)),
    Case(1, 1, 6, 5, (3, 4, 3), (3, 2, 2), (2, 2, 1), (1, 1, 2), (1, 0, 0), (1, 0, 0)),
    Case(1, 1, 4, 4, (9,), (5,), (1,), (2,), (3,), (0,)),
    Case(2, 1, 20, 18, (1, 1), (4, 3), (1, 1), (1, 1), (0, 0), (0, 0)),
    Case(1, 1, 9, 7, (1, 1, 1), (2, 3, 2), (2, 2, 1), (1, 1, 1), (0, 0, 0), (0, 0, 0)),
    Case(1, 1, 9, 7, (1, 1), (4, 4), (2, 2), (1, 1), (1, 1), (0, 0)),
]


def test_awkward_cases_on_this_machine() -> None:
    model, inputs, want = build(AWKWARD)
    got = run_model(model, inputs)
    for i, case in enumerate(AWKWARD):
        assert_close(got[f"y{i}"], want[f"y{i}"], case.length, str(case))


@pytest.mark.parametrize("target", ["rasp4", "rasp2"])
def test_awkward_cases_under_emulation(target: str) -> None:
    model, inputs, want = build(AWKWARD)
    got = open_session(compile_model(model, inputs, target), None).run(inputs)
    for i, case in enumerate(AWKWARD):
        assert_close(got[f"y{i}"], want[f"y{i}"], case.length, str(case))


@pytest.mark.parametrize(
    "attributes",
    [
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"auto_pad": "SAME_LOWER", "strides": [3, 2]},
        {"output_shape": [11, 14], "strides": [2, 2]},
    ],
    ids=str,
)
def test_output_shape_decides_the_padding(attributes: dict[str, object]) -> None:
    x = np.random.default_rng(0).standard_normal((1, 4, 5, 6), np.float32)
    w = np.random.default_rng(1).standard_normal((4, 3, 3, 4), np.float32)
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], name="up", **attributes)
    model = graph_model([node], {"x": x}, ["y"], {"w": w})
    want = exported(model, {"x": x}).golden[0].outputs["y"]
    assert_close(run_model(model, {"x": x})["y"], want, 48)


def test_inserted_zeros_are_never_multiplied() -> None:
    model, inputs, _ = build([AWKWARD[0]])
    plan = compile_model(model, inputs).plan
    assert sum(step.macs for step in plan.steps) == 7 * 9 * 16 * 24 * 16
    convolutions = [step for step in plan.steps if "phase" in step.name and step.family != "pad"]
    assert len(convolutions) == 4

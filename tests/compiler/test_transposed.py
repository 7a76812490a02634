"""Transposed convolution against PyTorch over random shapes and attributes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
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


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rank = draw(st.sampled_from([1, 2, 2, 3]))

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    kernel, stride, dilation = each(1, 4), each(1, 3), each(1, 2)
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = each(2, 7)
    padding = tuple(
        draw(st.integers(0, min(span, (s * (i - 1) + span - 1) // 2)))
        for span, s, i in zip(spans, stride, size, strict=True)
    )
    extra = tuple(draw(st.integers(0, s - 1)) for s in stride)
    return Case(
        batch=draw(st.integers(1, 2)),
        groups=draw(st.sampled_from([1, 1, 2, 5])),
        per_group=draw(st.integers(1, 18)),
        out_per_group=draw(st.integers(1, 18)),
        size=size,
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        padding=padding,
        extra=extra,
        bias=draw(st.booleans()),
    )


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


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(cases(), min_size=3, max_size=5))
def test_transposed_convolution_equals_pytorch(drawn: list[Case]) -> None:
    model, inputs, want = build(drawn)
    got = run_model(model, inputs)
    for i, case in enumerate(drawn):
        assert_close(got[f"y{i}"], want[f"y{i}"], case.length, str(case))


AWKWARD = [
    Case(1, 1, 16, 24, (7, 9), (4, 4), (2, 2), (1, 1), (1, 1), (0, 0)),
    Case(2, 3, 5, 7, (4, 5), (3, 2), (2, 3), (1, 2), (1, 0), (1, 2)),
    Case(1, 8, 1, 1, (6, 6), (3, 3), (2, 2), (1, 1), (1, 1), (1, 1)),
    Case(1, 1, 3, 4, (5, 5), (2, 2), (3, 3), (1, 1), (0, 0), (0, 2)),
    Case(1, 1, 6, 5, (3, 4, 3), (3, 2, 2), (2, 2, 1), (1, 1, 2), (1, 0, 0), (1, 0, 0)),
    Case(1, 1, 4, 4, (9,), (5,), (1,), (2,), (3,), (0,)),
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

"""Convolutions of every family on a GPU's kernels, by this machine's OpenCL driver and oclgrind."""

from __future__ import annotations

import pytest
from gpu_checks import check_cases, find_no_fault
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_graphs import compile_for_gpu
from test_convolution import AWKWARD, Case, build

TARGETS = ("android-opencl", "mali-g52", "adreno-740")


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rank = draw(st.sampled_from([2, 2, 2, 1, 3]))
    kind = draw(st.sampled_from(["dense", "pointwise", "depthwise", "grouped"]))
    groups = draw(st.integers(2, 4)) if kind == "grouped" else 1
    channels = draw(st.integers(1, 6 if groups > 1 else 20)) * groups
    outs = draw(st.integers(1, 6 if groups > 1 else 40)) * groups
    if kind == "depthwise":
        groups = outs = channels = max(2, channels)
    sides = st.integers(1, 4 if rank == 3 else 20)
    kernel = (1,) * rank if kind == "pointwise" else draw(st.tuples(*[st.integers(1, 4)] * rank))
    plain = kind == "pointwise" and draw(st.booleans())
    ones = (1,) * rank
    stride = ones if plain else draw(st.tuples(*[st.integers(1, 2)] * rank))
    dilation = ones if plain else draw(st.tuples(*[st.integers(1, 2)] * rank))
    pads = (0,) * 2 * rank if plain else draw(st.tuples(*[st.integers(0, 2)] * 2 * rank))
    size = tuple(
        draw(sides) + max(0, d * (k - 1) - before - after)
        for k, d, before, after in zip(kernel, dilation, pads, pads[rank:], strict=False)
    )
    return Case(
        batch=draw(st.integers(1, 2)),
        channels=channels,
        out_channels=outs,
        groups=groups,
        size=size,
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        pads=pads,
        bias=draw(st.booleans()),
        activation=draw(st.sampled_from([None, "Relu"])),
    )


@pytest.mark.parametrize("target", TARGETS)
def test_awkward_convolutions(target: str) -> None:
    check_cases(build(AWKWARD), AWKWARD, target)


@settings(max_examples=3, deadline=None)
@given(st.lists(cases(), min_size=12, max_size=12), st.sampled_from(TARGETS))
def test_any_convolutions(drawn: list[Case], target: str) -> None:
    check_cases(build(drawn), drawn, target)


SMALL = [
    Case(1, 3, 6, 1, (5, 7), (3, 3), (2, 2), (1, 1), (1, 1, 1, 1), True, "Relu"),
    Case(1, 8, 9, 1, (4, 5), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), True),
    Case(1, 5, 8, 1, (3, 5), (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), True),
    Case(1, 6, 6, 6, (5, 8), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), False, "Relu"),
    Case(1, 6, 9, 3, (4, 4), (2, 2), (1, 1), (1, 1), (0, 1, 1, 0), True),
    Case(1, 8, 16, 2, (3, 4), (2, 2), (1, 1), (2, 2), (1, 1, 1, 1), True),
    Case(1, 4, 4, 1, (3, 4, 3), (2, 2, 2), (1, 1, 1), (1, 1, 1), (1, 0, 1, 0, 1, 0), True),
]


def test_kernels_stay_within_their_tensors() -> None:
    model, inputs, _ = build(SMALL)
    find_no_fault(compile_for_gpu(model, inputs, "android-opencl"))

"""Transposed convolutions on a GPU, whose phases one kernel computes."""

from __future__ import annotations

from math import prod

import pytest
from gpu_checks import check_cases, find_no_fault
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_graphs import compile_for_gpu
from test_transposed import AWKWARD, Case, build

TARGETS = ("android-opencl", "mali-g52", "adreno-740")
MANY_PHASES = Case(1, 1, 5, 6, (3, 2), (9, 6), (4, 3), (1, 1), (2, 1), (1, 0))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rank = draw(st.sampled_from([2, 2, 2, 1, 3]))
    groups = draw(st.sampled_from([1, 1, 2, 3, 8]))
    depthwise = groups == 8

    def axes(most: int, least: int = 0) -> st.SearchStrategy[tuple[int, ...]]:
        return st.tuples(*[st.integers(least, most)] * rank)

    kernel, stride, dilation = draw(axes(4, 1)), draw(axes(3, 1)), draw(axes(2, 1))
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    return Case(
        batch=draw(st.integers(1, 2)),
        groups=groups,
        per_group=1 if depthwise else draw(st.integers(1, 10)),
        out_per_group=1 if depthwise else draw(st.integers(1, 14)),
        size=draw(axes(4 if rank == 3 else 9, 2)),
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        padding=tuple(draw(st.integers(0, min(2, (r - 1) // 2))) for r in reach),
        # ONNX Runtime refuses more, which PyTorch takes where the dilation is larger.
        extra=tuple(draw(st.integers(0, s - 1)) for s in stride),
        bias=draw(st.booleans()),
    )


@pytest.mark.parametrize("target", TARGETS)
def test_awkward_cases(target: str) -> None:
    cases = [*AWKWARD, MANY_PHASES]
    check_cases(build(cases), cases, target)


@settings(max_examples=4, deadline=None)
@given(st.lists(cases(), min_size=8, max_size=8), st.sampled_from(TARGETS))
def test_any_cases(drawn: list[Case], target: str) -> None:
    check_cases(build(drawn), drawn, target)


@pytest.mark.parametrize("case", AWKWARD[:6], ids=str)
def test_one_kernel_multiplies_no_inserted_zeros(case: Case) -> None:
    model, inputs, _ = build([case])
    steps = compile_for_gpu(model, inputs, "mali-g610").plan.steps
    (step,) = (step for step in steps if step.family != "layout")
    per_input = case.out_per_group * prod(case.kernel)
    assert step.macs == case.batch * case.groups * case.per_group * prod(case.size) * per_input


def test_kernels_stay_within_their_tensors() -> None:
    model, inputs, _ = build([*AWKWARD[1:6], MANY_PHASES])
    find_no_fault(compile_for_gpu(model, inputs, "android-opencl"))
